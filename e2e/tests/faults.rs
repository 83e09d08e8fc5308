//! Every fault of the suite once, at its shortest, on three brokers: `make faults` has them for half
//! an hour and more.

use tidemill_e2e::faults::{self, Suite, plan::Fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_once_loses_nothing_and_repeats_only_what_may_be() {
    let suite = Suite { seed: rand::random(), faults: Fault::ALL.to_vec(), lasts: None, per_second: 100 };
    let table = faults::run(&suite).await;
    println!("{table}");
    assert!(table.is_good(), "seed {}:{table}", suite.seed);
}
