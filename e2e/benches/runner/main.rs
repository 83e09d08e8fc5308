//! What a runner does: records a second beside a bare consumer, how long a record takes from topic
//! to topic, lanes in order of keys, and what poison costs.
//!
//! `make bench ONLY=runner`; a word after `--` chooses one: throughput, latency, lanes or poison; retry, which
//! takes ten minutes, and profile, which `scripts/flamegraph.sh` looks at, run only when they are named.

mod lanes;
mod latency;
mod poison;
mod programs;
mod retry;
mod throughput;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    let mut figures = Vec::new();
    if wanted("throughput") {
        figures.extend(throughput::measure().await);
    }
    if wanted("latency") {
        figures.extend(latency::measure().await);
    }
    if wanted("lanes") {
        figures.extend(lanes::measure().await);
    }
    if wanted("poison") {
        figures.extend(poison::measure().await);
    }
    if chosen.iter().any(|word| word == "profile") {
        throughput::profile().await;
    }
    if chosen.iter().any(|word| word == "retry") {
        figures.extend(retry::measure().await);
    }
    tidemill_e2e::figures::write(&figures);
}
