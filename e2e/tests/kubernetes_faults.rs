//! The cluster's own faults: operators, the kubelet and the API server go away and come back,
//! and records go on. One test, since each fault is everybody's.

use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use tidemill_e2e::{
    bed::numbered,
    kube::{Kube, OPERATOR, PATIENCE, echo, kubectl},
    tally::Tally,
    wait::until,
};

const PARTITIONS: i32 = 3;

fn holder(kube: &Kube) -> Option<String> {
    let path = "-o=jsonpath={.spec.holderIdentity}";
    let name = kubectl(kube.cluster, &["-n", OPERATOR, "get", "lease", "tidemill-operator", path]).ok()?;
    (!name.is_empty()).then_some(name)
}

async fn handed_over(kube: &Kube, before: &str) -> Duration {
    let since = Instant::now();
    until("another holder of the Lease", PATIENCE, async || holder(kube).filter(|name| name != before)).await;
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_go_on_while_parts_of_the_cluster_go_away() {
    let kube = Kube::start("faults").await;
    let input = kube.bed.topic("in", PARTITIONS, &[]).await;
    let output = kube.bed.topic("out", PARTITIONS, &[]).await;
    kube.apply(&echo("echo", &input, &output, "  scaling: {min: 1, max: 2, cooldown: 3s}\n")).expect("it is accepted");
    kube.replicas("echo", 1).await;
    let records = numbered(600, 100, PARTITIONS);
    let (first, rest) = records.split_at(200);
    let (second, third) = rest.split_at(200);

    // A leader that is stopped gives the Lease back; one that is killed lets it run out.
    let leader = until("a leader", PATIENCE, async || holder(&kube)).await;
    kubectl(kube.cluster, &["-n", OPERATOR, "delete", "pod", &leader, "--wait=false"]).expect("a pod is deleted");
    let took = handed_over(&kube, &leader).await;
    println!("leader stopped: handed over after {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(15), "{took:?}");
    let leader = until("a leader", PATIENCE, async || holder(&kube)).await;
    kill(&kube, &leader);
    let took = handed_over(&kube, &leader).await;
    println!("leader killed: handed over after {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(15), "{took:?}");
    kube.run(&["scale", "fn", "echo", "--replicas=2"]);
    kube.replicas("echo", 2).await;
    kube.run(&["patch", "fn", "echo", "--type=json", "-p", r#"[{"op":"remove","path":"/spec/replicas"}]"#]);

    kube.bed.produce(&input, first).await;
    kube.cluster.restart_kubelet().expect("the kubelet is started again");
    kube.bed.produce(&input, second).await;
    kube.bed.drained(&input, &input).await;

    // Without the API server nothing can be changed, and what runs goes on.
    kube.cluster.stop_apiserver().expect("the API server can be stopped");
    kube.bed.produce(&input, third).await;
    kube.bed.drained(&input, &input).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    kube.cluster.start_apiserver().expect("the API server is started again");
    Tally::of(&kube.bed.records(&output).await, 600).exactly_once();
    let since = Instant::now();
    until("the operator to write again", PATIENCE, async || {
        let applied = kube.apply(&echo("again", &input, &output, "  scaling: {min: 0, max: 1}\n"));
        applied.is_ok().then_some(())
    })
    .await;
    kube.condition("fn", "again", "Accepted", "True").await;
    println!("API server back after 60 s: a new function was reconciled after {:.1} s", since.elapsed().as_secs_f64());
}

/// SIGKILL to the operator's process, in a pod that is not started again: nothing is given back.
fn kill(kube: &Kube, pod: &str) {
    let path = "-o=jsonpath={.status.containerStatuses[0].containerID}";
    let id = kubectl(kube.cluster, &["-n", OPERATOR, "get", "pod", pod, path]).expect("the pod is there");
    let id = id.trim_start_matches("containerd://");
    let pid = process_in(id).expect("the operator's process is found");
    // Frozen first: it cannot answer the deletion by giving the Lease back.
    tidemill_e2e::process::signal(pid, Signal::SIGSTOP);
    kubectl(kube.cluster, &["-n", OPERATOR, "delete", "pod", pod, "--wait=false"]).expect("a pod is deleted");
    tidemill_e2e::process::signal(pid, Signal::SIGKILL);
}

fn process_in(container: &str) -> Option<i32> {
    std::fs::read_dir("/proc").expect("/proc").flatten().find_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        (read("cgroup").contains(container) && read("cmdline").contains("tidemill-operator")).then_some(pid)
    })
}
