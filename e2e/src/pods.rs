//! What a function's pods tell of themselves, and what befalls them.

use crate::kube::Kube;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

/// The pods of a function that have an address: name and address.
///
/// # Panics
/// When kubectl fails.
#[must_use]
pub fn addresses(kube: &Kube, function: &str) -> Vec<(String, String)> {
    let label = format!("tidemill.dev/function={function}");
    let text = kube.run(&["get", "pods", "-l", &label, "-o", "json"]);
    let list: Value = serde_json::from_str(&text).expect("kubectl writes JSON");
    let pods = list["items"].as_array().into_iter().flatten();
    pods.filter_map(|pod| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some((text(&pod["metadata"]["name"])?, text(&pod["status"]["podIP"])?))
    })
    .collect()
}

/// The sum of a metric over its labels, as the process at `address` tells it.
pub async fn metric(address: &str, name: &str) -> Option<f64> {
    let text = reqwest::get(format!("http://{address}:9464/metrics")).await.ok()?.text().await.ok()?;
    let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values: Vec<f64> = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Follows how many replicas of a function are ready, with the time at which each count was told.
pub struct Ready {
    kubectl: Child,
    counts: Receiver<(Instant, u64)>,
}

impl Ready {
    /// Begins to follow.
    ///
    /// # Panics
    /// When kubectl cannot be started.
    #[must_use]
    pub fn follow(kube: &Kube, function: &str) -> Self {
        let mut command = kube.cluster.kubectl();
        let path = "-o=jsonpath={.status.readyReplicas}{\"\\n\"}";
        command.args(["-n", &kube.namespace, "get", "deployment", function, "--watch", path]);
        let mut kubectl = command.stdout(Stdio::piped()).spawn().expect("kubectl can be started");
        let lines = BufReader::new(kubectl.stdout.take().expect("it is piped")).lines();
        let (sender, counts) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send((Instant::now(), line.trim().parse().unwrap_or(0))).is_err() {
                    return;
                }
            }
        });
        Self { kubectl, counts }
    }

    /// When so many were ready first from now on.
    ///
    /// # Panics
    /// When they were not within two minutes.
    #[must_use]
    pub fn reached(&self, count: u64) -> Instant {
        let deadline = Instant::now() + crate::kube::PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (at, now) = self.counts.recv_timeout(left).expect("the count is reached in time");
            if now == count {
                return at;
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        drop(self.kubectl.kill());
        drop(self.kubectl.wait());
    }
}

/// The processes of a pod that run a program of that name.
///
/// # Panics
/// When kubectl fails.
#[must_use]
pub fn processes(kube: &Kube, pod: &str, program: &str) -> Vec<i32> {
    let uid = kube.run(&["get", "pod", pod, "-o=jsonpath={.metadata.uid}"]);
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_string_lossy().parse().ok()?;
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let own = read("cgroup").replace('_', "-").contains(&uid);
            (own && read("cmdline").split('\0').next()?.ends_with(program)).then_some(pid)
        })
        .collect()
}
