//! A namespace of one test on a real cluster, with the operator installed by its chart.
//!
//! What a user types is what a test runs: `kubectl` and `helm`. Where a test fails, the namespace's
//! resources, events and logs are shown.

use crate::{bed::Bed, wait::until};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};
use tidemill_testbed::{
    kafka::{Cluster as Kafka, Size},
    kubernetes::{self, Cluster},
    programs,
};

/// The namespace of the operator.
pub const OPERATOR: &str = "tidemill";
/// How long anything on the cluster may take.
pub const PATIENCE: Duration = Duration::from_secs(90);

static INSTALLED: OnceLock<Cluster> = OnceLock::new();
static TURN: Mutex<()> = Mutex::new(());

/// The workspace's folder, asked when a program runs: another clone with the same cache may have built it.
///
/// # Panics
/// Outside `cargo test`.
#[must_use]
pub fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for a test");
    PathBuf::from(own).parent().expect("the workspace's folder").to_owned()
}

/// The cluster, with images loaded and both charts installed.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn installed() -> &'static Cluster {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    INSTALLED.get_or_init(|| {
        let cluster = ready();
        install(&cluster);
        cluster
    })
}

/// The cluster, with images loaded and nothing installed by us.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn ready() -> Cluster {
    let cluster = kubernetes::cluster_for_tests().expect("the cluster starts");
    if std::env::var_os(kubernetes::TEST_KUBECONFIG).is_none() {
        let images = root().join("target/images");
        let mut xtask = Command::new(programs::own("xtask").expect("xtask is built"));
        programs::run(xtask.arg("images").arg("--out").arg(&images).env("CARGO_MANIFEST_DIR", root().join("xtask")))
            .expect("images can be written");
        let mut archives: Vec<_> = std::fs::read_dir(images).expect("the images are there").flatten().collect();
        archives.sort_by_key(std::fs::DirEntry::path);
        archives.iter().for_each(|image| cluster.load_image(&image.path()).expect("an image can be loaded"));
    }
    cluster
}

/// Installs or upgrades both charts, and waits until the operator is ready.
///
/// # Panics
/// When Helm refuses.
pub fn install(cluster: &Cluster) {
    let there = kubectl(cluster, &["-n", OPERATOR, "get", "deployment", "tidemill-operator"]).is_ok();
    for (release, chart) in [("tidemill-crds", "charts/tidemill-crds"), ("tidemill", "charts/tidemill")] {
        let chart = root().join(chart).display().to_string();
        let arguments = [
            "upgrade",
            "--install",
            release,
            &chart,
            "-n",
            OPERATOR,
            "--create-namespace",
            "--wait",
            "--timeout",
            "60s",
        ];
        helm(cluster, &arguments).expect("the chart can be installed");
    }
    if there {
        // The image may be another one under the same tag.
        for action in ["restart", "status"] {
            kubectl(cluster, &["-n", OPERATOR, "rollout", action, "deployment/tidemill-operator"]).expect("a rollout");
        }
    }
}

/// What Helm answers; an error is what it wrote.
///
/// # Errors
/// When Helm ends with another exit code than 0.
pub fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    answer(cluster.helm().expect("helm is installed").args(arguments))
}

/// What kubectl answers; an error is what it wrote.
///
/// # Errors
/// When kubectl ends with another exit code than 0.
pub fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    answer(cluster.kubectl().args(arguments))
}

fn answer(command: &mut Command) -> Result<String, String> {
    let output = command.output().expect("the command can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(text + String::from_utf8_lossy(&output.stderr).as_ref()) }
}

/// A namespace of one test; deleted with it.
pub struct Kube {
    /// The cluster.
    pub cluster: &'static Cluster,
    /// The test's topics.
    pub bed: Bed,
    /// Its name.
    pub namespace: String,
}

impl Kube {
    /// A namespace with the KafkaCluster `main`.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(test: &str) -> Self {
        Self::start_on(everybodys(), test).await
    }

    /// The same on another of the testbed's Kafkas.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start_on(kafka: Kafka, test: &str) -> Self {
        let manifest = manifest("main", &kafka);
        let kube = Self::bare_on(kafka, test).await;
        kube.apply(&manifest).expect("a KafkaCluster");
        kube
    }

    /// A namespace with nothing in it.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn bare(test: &str) -> Self {
        Self::bare_on(everybodys(), test).await
    }

    /// A namespace with nothing in it, and topics on another of the testbed's Kafkas.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn bare_on(kafka: Kafka, test: &str) -> Self {
        let bed = Bed::start_on(kafka, test).await;
        let cluster = tokio::task::spawn_blocking(installed).await.expect("installing does not panic");
        let namespace = bed.unique("ns").replace('.', "-").trim_end_matches("-ns").to_owned();
        let kube = Self { cluster, bed, namespace };
        kubectl(cluster, &["create", "namespace", &kube.namespace]).expect("a namespace");
        kube
    }

    /// `kubectl apply` of manifests.
    ///
    /// # Errors
    /// When it is refused: what kubectl wrote.
    ///
    /// # Panics
    /// When kubectl cannot be started.
    pub fn apply(&self, yaml: &str) -> Result<String, String> {
        use std::io::Write;
        let mut command = self.cluster.kubectl();
        command.args(["apply", "-n", &self.namespace, "-f", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl can be started");
        child.stdin.take().expect("it is piped").write_all(yaml.as_bytes()).expect("kubectl reads");
        let output = child.wait_with_output().expect("kubectl ends");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + String::from_utf8_lossy(&output.stderr).as_ref();
        if output.status.success() { Ok(text) } else { Err(text) }
    }

    /// `kubectl` in the namespace.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let all: Vec<&str> = ["-n", self.namespace.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        kubectl(self.cluster, &all).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// A resource as JSON; `null` where it is not there.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> Value {
        let arguments = ["-n", &self.namespace, "get", kind, name, "-o", "json", "--ignore-not-found"];
        let text = kubectl(self.cluster, &arguments).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits until a condition has that status; answers its reason and message.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn condition(&self, kind: &str, name: &str, condition: &str, status: &str) -> (String, String) {
        let what = format!("{kind} {name} to be {condition}={status}");
        until(&what, PATIENCE, async || {
            let resource = self.get(kind, name);
            let all = resource["status"]["conditions"].as_array()?;
            let found = all.iter().find(|one| one["type"] == condition)?;
            let current = found["observedGeneration"] == resource["metadata"]["generation"];
            let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
            (current && found["status"] == status).then(|| (text("reason"), text("message")))
        })
        .await
    }

    /// Waits until a condition has that reason; answers its message.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn because(&self, kind: &str, name: &str, condition: &str, reason: &str) -> String {
        let what = format!("{kind} {name}: {condition} because of {reason}");
        until(&what, PATIENCE, async || {
            let resource = self.get(kind, name);
            let all = resource["status"]["conditions"].as_array()?;
            let found = all.iter().find(|one| one["type"] == condition && one["reason"] == reason)?;
            found["message"].as_str().map(str::to_owned)
        })
        .await
    }

    /// Waits until a function has so many replicas that are ready.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn replicas(&self, function: &str, count: u64) {
        until(&format!("{count} replicas of {function}"), PATIENCE, async || {
            let status = &self.get("deployment", function)["status"];
            let number = |field: &str| status[field].as_u64().unwrap_or(0);
            (number("replicas") == count && number("readyReplicas") == count).then_some(())
        })
        .await;
    }

    /// The names of the function's pods that are not about to end.
    #[must_use]
    pub fn pods(&self, function: &str) -> Vec<String> {
        let label = format!("tidemill.dev/function={function}");
        let text = self.run(&["get", "pods", "-l", &label, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("kubectl writes JSON");
        let alive = list["items"].as_array().into_iter().flatten();
        let alive = alive.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        alive.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    /// How long it took until the function's pods were all others than `before`.
    ///
    /// # Panics
    /// When they were not in time.
    pub async fn replaced(&self, function: &str, before: &[String]) -> Duration {
        let since = Instant::now();
        until("a new pod", PATIENCE, async || {
            self.pods(function).iter().any(|pod| !before.contains(pod)).then_some(())
        })
        .await;
        since.elapsed()
    }
}

impl Drop for Kube {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let show = |arguments: &[&str]| match kubectl(self.cluster, arguments) {
                Ok(text) | Err(text) => eprintln!("kubectl {}\n{text}", arguments.join(" ")),
            };
            let namespace = self.namespace.as_str();
            show(&["-n", namespace, "get", "fn,kc,kt,deployments,pods", "-o", "wide"]);
            show(&["-n", namespace, "get", "events", "--sort-by=.metadata.creationTimestamp"]);
            show(&[
                "-n",
                namespace,
                "logs",
                "-l",
                "app.kubernetes.io/managed-by=tidemill",
                "--all-containers",
                "--tail=30",
            ]);
            show(&["-n", OPERATOR, "logs", "-l", "app.kubernetes.io/name=tidemill-operator", "--tail=30"]);
        }
        drop(kubectl(self.cluster, &["delete", "namespace", &self.namespace, "--wait=false"]));
    }
}

/// A KafkaCluster that is the testbed's.
///
/// # Panics
/// When the testbed's place is unknown.
#[must_use]
pub fn kafka_cluster(name: &str) -> String {
    manifest(name, &everybodys())
}

/// The Kafka that tests share.
fn everybodys() -> Kafka {
    Kafka::new(Size::One).expect("the testbed's Kafka")
}

fn manifest(name: &str, kafka: &Kafka) -> String {
    let servers = kafka.bootstrap_for_pods();
    format!(
        "apiVersion: tidemill.dev/v1alpha1\nkind: KafkaCluster\nmetadata: {{name: {name}}}\nspec: {{bootstrapServers: [\"{servers}\"]}}\n"
    )
}

/// The `echo` function; `more` are further lines of its spec, indented by two.
#[must_use]
pub fn echo(name: &str, topic: &str, output: &str, more: &str) -> String {
    format!(
        r#"apiVersion: tidemill.dev/v1alpha1
kind: Function
metadata: {{name: {name}}}
spec:
  image: tidemill/echo:0.1.0
  trigger: {{kafka: {{cluster: main, topics: ["{topic}"], group: "{topic}"}}}}
  output: {{topic: "{output}"}}
{more}"#
    )
}
