//! What 100 resting Functions cost: the operator's memory, its CPU, and its requests to the API
//! server, over five minutes on a real cluster.
//!
//! `cargo bench --profile release -p tidemill-e2e --bench operator [-- SECONDS]`

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};
use tidemill_e2e::kube::{Kube, OPERATOR, echo, kubectl};

const FUNCTIONS: usize = 100;
const TOPICS: usize = 10;
/// The kernel's clock ticks in a second, as in /proc/PID/stat.
const TICKS: f64 = 100.0;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(300_u64);
    let kube = Kube::start("operator-bench").await;
    let mut inputs = Vec::new();
    for number in 0..TOPICS {
        inputs.push(kube.bed.topic(&format!("in{number}"), 3, &[]).await);
    }
    let output = kube.bed.topic("out", 3, &[]).await;
    let manifests: Vec<String> = (0..FUNCTIONS)
        .map(|number| {
            let input = &inputs[number % TOPICS];
            let function = echo(&format!("f{number}"), input, &output, "");
            function.replace(&format!("group: \"{input}\""), &format!("group: \"{input}.{number}\""))
        })
        .collect();
    let applied = Instant::now();
    kube.apply(&manifests.join("---\n")).expect("they are accepted");
    for number in 0..FUNCTIONS {
        kube.condition("fn", &format!("f{number}"), "Ready", "True").await;
    }
    println!("{FUNCTIONS} Functions applied and ready after {:.1} s", applied.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(20)).await;

    let leader = kubectl(
        kube.cluster,
        &["-n", OPERATOR, "get", "lease", "tidemill-operator", "-o=jsonpath={.spec.holderIdentity}"],
    );
    let leader = leader.expect("a leader");
    let get =
        |path: &str| kubectl(kube.cluster, &["-n", OPERATOR, "get", "pod", &leader, path]).expect("the leader's pod");
    let container = get("-o=jsonpath={.status.containerStatuses[0].containerID}");
    let address = get("-o=jsonpath={.status.podIP}");
    let pid = process_in(container.trim_start_matches("containerd://")).expect("the operator's process");
    let (cpu, requests) = (ticks(pid), requests(&address).await);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (cpu_after, requests_after) = (ticks(pid), self::requests(&address).await);
    let percent = (cpu_after - cpu) / TICKS / seconds as f64 * 100.0;
    println!("operator over {seconds} s with {FUNCTIONS} resting Functions:");
    println!("  RSS {} MiB (at most {} MiB), {percent:.2} % of a core", field(pid, "VmRSS"), field(pid, "VmHWM"));
    for (what, count) in &requests_after {
        let more = count - requests.get(what).copied().unwrap_or_default();
        if more > 0.0 {
            println!("  {more:4} requests: {what}");
        }
    }
}

fn process_in(container: &str) -> Option<i32> {
    fs::read_dir("/proc").expect("/proc").flatten().find_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        (read("cgroup").contains(container) && read("cmdline").contains("tidemill-operator")).then_some(pid)
    })
}

/// User and system time of a process, in clock ticks.
fn ticks(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum()
}

/// A size of a process, in MiB.
fn field(pid: i32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the field");
    line.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).next().unwrap_or_default() >> 10
}

async fn requests(address: &str) -> BTreeMap<String, f64> {
    let text =
        reqwest::get(format!("http://{address}:9464/metrics")).await.expect("metrics").text().await.expect("text");
    let lines = text.lines().filter(|line| line.starts_with("tidemill_operator_api_requests_total"));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(what, count)| Some((what.to_owned(), count.parse().ok()?)))
        .collect()
}
