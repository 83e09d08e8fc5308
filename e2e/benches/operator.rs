//! What resting Functions cost: the operator's memory, its CPU, and its requests to the API server
//! and to Kafka, on a real cluster; and how soon a change to one of them is acted on.
//!
//! `cargo bench --profile release -p tidemill-e2e --bench operator [-- SECONDS [FUNCTIONS…]]`: 300
//! seconds each with 100 and with 3,000 Functions where nothing is said.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};
use tidemill_e2e::{
    figures::{Figure, write},
    kube::{Kube, OPERATOR, echo, kubectl},
    pods::metric,
    process,
    wait::until,
};

const TOPICS: usize = 10;
/// Functions are applied so many at a time.
const APPLIED: usize = 250;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let seconds = numbers.next().unwrap_or(300);
    let mut counts: Vec<usize> = numbers.collect();
    if counts.is_empty() {
        counts = vec![100, 3_000];
    }
    let mut figures = Vec::new();
    for count in counts {
        figures.extend(measure(count, seconds).await);
    }
    write(&figures);
}

async fn measure(functions: usize, seconds: usize) -> Vec<Figure> {
    let kube = Kube::start("operator-bench").await;
    // What an operator has seen before is not what is measured.
    kubectl(kube.cluster, &["-n", OPERATOR, "rollout", "restart", "deployment/tidemill-operator"]).expect("a restart");
    kubectl(kube.cluster, &["-n", OPERATOR, "rollout", "status", "deployment/tidemill-operator"]).expect("it ends");
    let mut inputs = Vec::new();
    for number in 0..TOPICS {
        inputs.push(kube.bed.topic(&format!("in{number}"), 3, &[]).await);
    }
    let output = kube.bed.topic("out", 3, &[]).await;
    let manifests: Vec<String> = (0..functions)
        .map(|number| {
            let input = &inputs[number % TOPICS];
            let function = echo(&format!("f{number}"), input, &output, "");
            function.replace(&format!("group: \"{input}\""), &format!("group: \"{input}.{number}\""))
        })
        .collect();
    let applied = Instant::now();
    for some in manifests.chunks(APPLIED) {
        kube.apply(&some.join("---\n")).expect("they are accepted");
    }
    let asked = applied.elapsed();
    until("all to be ready", Duration::from_secs(600), async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let path = "-o=jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status}{\"\\n\"}{end}";
        let all = kube.run(&["get", "fn", path]);
        (all.lines().filter(|status| *status == "True").count() == functions).then_some(())
    })
    .await;
    println!(
        "{functions} Functions: applied in {:.1} s, ready after {:.1} s",
        asked.as_secs_f64(),
        applied.elapsed().as_secs_f64()
    );
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
    let looks = async || metric(&address, "tidemill_operator_kafka_requests_total").await.unwrap_or_default();
    let (cpu, requests, kafka) = (process::cpu_seconds(pid), requests(&address).await, looks().await);
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let (cpu_after, requests_after, kafka_after) =
        (process::cpu_seconds(pid), self::requests(&address).await, looks().await);
    let percent = (cpu_after - cpu) / seconds as f64 * 100.0;
    let asked = (kafka_after - kafka) / seconds as f64;
    let memory = process::memory(pid, "VmRSS");
    println!("operator over {seconds} s with {functions} resting Functions:");
    println!("  RSS {memory} MiB (at most {} MiB), {percent:.2} % of a core", process::memory(pid, "VmHWM"));
    println!("  {asked:.2} requests a second to Kafka, and a held fetch of a second");
    for (what, count) in &requests_after {
        let more = count - requests.get(what).copied().unwrap_or_default();
        if more > 0.0 {
            println!("  {more:4} requests: {what}");
        }
    }
    let acted = acted_on(&kube).await;
    println!("  a change to one of them is acted on after {:.2} s", acted.as_secs_f64());
    let figure =
        |name: &str, value: f64, unit, reference| (format!("operator.{name}_at_{functions}"), value, unit, reference);
    vec![
        figure("rss_mib", memory as f64, "MiB", None),
        figure("cpu_percent", percent, "% of a core", None),
        figure("kafka_requests_per_second", asked, "1/s", None),
        figure("change_seconds", acted.as_secs_f64(), "s", None),
    ]
}

/// How long it takes from a changed manifest to the changed Deployment.
async fn acted_on(kube: &Kube) -> Duration {
    let generation = || kube.get("deployment", "f7")["metadata"]["generation"].as_i64();
    let before = generation();
    let patch = r#"{"spec":{"trigger":{"kafka":{"batch":{"maxRecords":37}}}}}"#;
    kube.run(&["patch", "fn", "f7", "--type=merge", "-p", patch]);
    let patched = Instant::now();
    until("the Deployment to change", Duration::from_secs(60), async || (generation() != before).then_some(())).await;
    patched.elapsed()
}

fn process_in(container: &str) -> Option<i32> {
    fs::read_dir("/proc").expect("/proc").flatten().find_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        (read("cgroup").contains(container) && read("cmdline").contains("tidemill-operator")).then_some(pid)
    })
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
