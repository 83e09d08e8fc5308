//! A broker that has KIP-848 switched off: runners are members by the classic protocol, cooperative-sticky,
//! and keep what they promise by the other.

use tidemill_e2e::{
    bed::{Bed, numbered},
    runner::{Runner, exactly_once},
    scene::Scene,
    wait::{PATIENCE, until},
};
use tidemill_kafka::rdkafka::consumer::{BaseConsumer, Consumer};
use tidemill_testbed::kafka::{Cluster, Size};
use tokio::task::spawn_blocking;

const RECORDS: usize = 60_000;
const PARTITIONS: i32 = 4;
/// A fifth: the work is under way, and most of it is still to come.
const MIDDLE: u64 = RECORDS as u64 / 5;
/// So slow is the function that others join and leave before it is done.
const SLOW: &str = "200";

async fn scene(test: &str, sleep_ms: &str) -> Scene {
    let cluster = Cluster::new(Size::Classic).expect("the cache folder is known");
    let mut scene = Scene::on(Bed::start_on(cluster, test).await, PARTITIONS).await;
    scene.fill(&numbered(RECORDS, 100, PARTITIONS), sleep_ms).await;
    scene
}

/// Waits until the group has settled with so many members, as the broker says.
async fn settled(scene: &Scene, members: usize) {
    let (connection, group) = (scene.bed.connection.clone(), scene.input.clone());
    let settled = move || {
        let client: BaseConsumer = connection.client_config().create().expect("a client");
        let found = client.fetch_group_list(Some(&group), PATIENCE).expect("the broker answers");
        let mut groups = found.groups().iter();
        groups.any(|group| {
            let is = (group.protocol_type(), group.protocol(), group.state(), group.members().len());
            is == ("consumer", "cooperative-sticky", "Stable", members)
        })
    };
    until(&format!("a group of {members}"), PATIENCE, async || {
        let settled = settled.clone();
        spawn_blocking(settled).await.expect("asking does not panic").then_some(())
    })
    .await;
}

/// One more runner, with partitions of its own.
async fn one_more(scene: &Scene) -> Runner {
    let mut runner = Runner::start(&scene.config);
    runner.report("work after joining", |report| report.totals.r#in > 0).await;
    runner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_hears_that_there_is_no_other_protocol_and_works_by_the_classic_one() {
    let scene = scene("classic", "0").await;
    let runner = Runner::start(&scene.config);
    settled(&scene, 1).await;
    scene.tally_of_good(RECORDS).await.exactly_once();
    let log = runner.log();
    assert!(log.contains("the broker does not know KIP-848"), "{log}");
    assert!(log.contains(r#""protocol":"Classic""#), "{log}");
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out), (RECORDS as u64, RECORDS as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runners_join_and_leave_without_repeating() {
    let scene = scene("classic-orderly", SLOW).await;
    let first = scene.in_the_middle(MIDDLE).await;
    let second = one_more(&scene).await;
    settled(&scene, 2).await;
    scene.is_half_done().await;
    let first = first.stop().await;
    let third = one_more(&scene).await;
    settled(&scene, 2).await;
    scene.is_half_done().await;
    let second = second.stop().await;
    scene.is_half_done().await;
    scene.tally_of_good(RECORDS).await.exactly_once();
    let third = third.stop().await;
    assert_eq!(first.r#in + second.r#in + third.r#in, RECORDS as u64, "each did what no other did");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_runners_is_killed_and_nothing_is_lost() {
    let scene = scene("classic-killed", SLOW).await;
    let first = scene.in_the_middle(MIDDLE).await;
    let second = one_more(&scene).await;
    settled(&scene, 2).await;
    first.kill().await;
    scene.is_half_done().await;
    let tally = scene.tally_of_good(RECORDS).await;
    tally.none_lost();
    println!("kill -9 of one of two runners: {tally}");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_once_holds_where_runners_are_killed_and_join() {
    let mut scene = scene("classic-eos", SLOW).await;
    scene.config = exactly_once(scene.config);
    scene.in_the_middle(MIDDLE).await.kill().await;
    scene.is_half_done().await;
    let second = one_more(&scene).await;
    let third = one_more(&scene).await;
    settled(&scene, 2).await;
    scene.is_half_done().await;
    second.kill().await;
    scene.is_half_done().await;
    scene.tally_of_good(RECORDS).await.exactly_once();
    third.stop().await;
}
