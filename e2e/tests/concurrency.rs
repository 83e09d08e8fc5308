//! A function in a container beside the runner, with several invocations in flight in its one
//! process: AWS's clients take as many at once as `AWS_LAMBDA_MAX_CONCURRENCY` says. The container
//! is a process here; that it is one in a pod is for the tests on Kubernetes.

use nix::sys::signal::Signal;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};
use tidemill_api::Ordering;
use tidemill_e2e::{
    bed::numbered,
    failing, go,
    language::Language,
    letter::headers,
    process::signal,
    python,
    runner::{Runner, trigger},
    scene::Scene,
    tally::Tally,
    wait::{PATIENCE, until},
};
use tidemill_runner::{config::Code, record::Record};
use tidemill_testbed::programs;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::spawn_blocking,
};

const CONCURRENCY: u32 = 4;
const RECORDS: usize = 60;

/// The function's container, beside the runner.
struct Container {
    api: SocketAddr,
    command: Vec<String>,
    folder: PathBuf,
}

/// Each record is an invocation of its own, and takes a while.
async fn set(test: &str, command: Vec<String>) -> (Scene, Container) {
    set_with(test, command, &numbered(RECORDS, 50, 1)).await
}

async fn set_with(test: &str, command: Vec<String>, records: &[Record]) -> (Scene, Container) {
    let mut scene = Scene::set(test, 1).await;
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let api = free.local_addr().expect("an address");
    scene.config.code = Code::Image { api };
    scene.config.plan.concurrency = CONCURRENCY;
    let kafka = trigger(&mut scene.config);
    kafka.ordering = Ordering::None;
    kafka.batch.max_records = 1;
    scene.bed.produce(&scene.input, records).await;
    let container = Container { api, command, folder: scene.folder.path().to_owned() };
    (scene, container)
}

impl Container {
    /// The function's process.
    async fn start(&self) -> Child {
        self.start_with(CONCURRENCY).await
    }

    /// One that takes so many invocations at once.
    async fn start_with(&self, concurrency: u32) -> Child {
        let open = async || TcpStream::connect(self.api).await.ok();
        drop(until("the runner to listen", PATIENCE, open).await);
        Command::new(&self.command[0])
            .args(&self.command[1..])
            .current_dir(&self.folder)
            .env("LAMBDA_TASK_ROOT", &self.folder)
            .env("AWS_LAMBDA_RUNTIME_API", self.api.to_string())
            .env("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "e2e")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("SLEEP_MS", "200")
            .env("TELL_CONTEXT", "true")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the function starts")
    }
}

fn rust() -> Vec<String> {
    vec![programs::own("echo").expect("it is built with the tests").display().to_string()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_has_as_many_invocations_in_flight_as_it_may() {
    let go = spawn_blocking(go::function).await.expect("building does not panic").display().to_string();
    for (name, command) in [("rust", rust()), ("go", vec![go])] {
        let (scene, container) = set(&format!("at-once-{name}"), command).await;
        let runner = Runner::start(&scene.config);
        let process = container.start().await;
        let pid = process.id().expect("it runs").to_string();
        let outputs = scene.outputs().await;
        Tally::of(&outputs, RECORDS).exactly_once();
        let told = |name: &str| outputs.iter().map(|output| headers(output)[name].clone()).collect::<BTreeSet<_>>();
        assert_eq!(told("process"), BTreeSet::from([pid]), "{name}");
        let expected = (1..=CONCURRENCY).map(|count| count.to_string()).collect::<BTreeSet<_>>();
        assert_eq!(told("in-flight"), expected, "{name}: up to {CONCURRENCY} at once, and never more");
        assert_eq!(told("request").len(), RECORDS, "{name}: each invocation has an id of its own");
        assert!(!runner.log().contains("is not known"), "{name}: the runner knows the process");
        let totals = runner.stop().await;
        assert_eq!((totals.r#in, totals.out, totals.invocations), (60, 60, 60), "{name}");
        drop(process);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_a_process_for_each_is_served_as_well() {
    let python = spawn_blocking(python::with_client).await.expect("installing does not panic").display().to_string();
    let command = [python.as_str(), "-m", "awslambdaric", "app.answer"].map(str::to_owned).to_vec();
    let (scene, container) = set("at-once-python", command).await;
    Language::Python.write(scene.folder.path());
    let runner = Runner::start(&scene.config);
    // Its children end by themselves when nobody serves them any more.
    let _process = container.start().await;
    let outputs = scene.outputs().await;
    Tally::of(&outputs, RECORDS).exactly_once();
    let processes: BTreeSet<_> = outputs.iter().map(|output| headers(output)["process"].clone()).collect();
    assert_eq!(processes.len(), CONCURRENCY as usize);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_processes_that_ends_or_is_late_costs_only_its_own_record() {
    let python = spawn_blocking(python::with_client).await.expect("installing does not panic").display().to_string();
    let command = [python.as_str(), "-m", "awslambdaric", "app.answer"].map(str::to_owned).to_vec();
    let words = [("exit", "Crash", "ended before it answered"), ("sleep", "Timeout", "5s")];
    let mut records = numbered(RECORDS + words.len(), 50, 1);
    for (record, (word, ..)) in records.iter_mut().skip(RECORDS / 2).zip(&words) {
        record.value = Some(format!("9999999 {word}").into());
    }
    let (mut scene, container) = set_with("several-end", command, &records).await;
    scene.config.plan.timeout = Duration::from_secs(5);
    Language::Python.write(scene.folder.path());
    let runner = Runner::start(&scene.config);
    // As the kubelet would.
    let kubelet = async {
        loop {
            let mut process = container.start().await;
            process.wait().await.expect("it was started here");
        }
    };
    tokio::select! {
        () = kubelet => {}
        tally = scene.tally(records.len()) => assert_eq!(tally, Tally { lost: 2, repeated: 0, records: RECORDS }),
    }
    failing::check(&scene.letters().await, &words, "python");
    let totals = runner.stop().await;
    let attempts = u64::from(scene.config.plan.retry.attempts) * words.len() as u64;
    assert_eq!(totals.invocations, RECORDS as u64 + attempts, "nobody else's was for nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_in_flight_is_tried_again_when_the_process_ends() {
    let (scene, container) = set("at-once-killed", rust()).await;
    let runner = Runner::start(&scene.config);
    let mut process = container.start().await;
    drop(scene.bed.records_when(&scene.output, 10).await);
    signal(process.id().expect("it runs") as i32, Signal::SIGKILL);
    process.wait().await.expect("it has ended");
    let _next = container.start().await;
    scene.tally(RECORDS).await.exactly_once();
    assert_eq!(scene.letters().await, [], "one end is not the last attempt");
    let totals = runner.stop().await;
    let again = totals.invocations - RECORDS as u64;
    assert!((1..=u64::from(CONCURRENCY)).contains(&again), "{again} were in flight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_one_ends_the_process_and_no_other_record() {
    let (mut scene, container) = set("at-once-late", rust()).await;
    scene.config.plan.timeout = Duration::from_millis(500);
    let runner = Runner::start(&scene.config);
    let mut process = container.start().await;
    drop(scene.bed.records_when(&scene.output, 4).await);
    // It does not answer any more, and has not ended.
    signal(process.id().expect("it runs") as i32, Signal::SIGSTOP);
    let status = tokio::time::timeout(PATIENCE, process.wait()).await.expect("it is killed").expect("it has ended");
    assert!(!status.success(), "{status}");
    let _next = container.start().await;
    scene.tally(RECORDS).await.exactly_once();
    assert_eq!(scene.letters().await, []);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_could_not_start_and_is_gone_costs_no_other_a_record() {
    let (scene, container) = set("at-once-refused", rust()).await;
    let runner = Runner::start(&scene.config);
    let mut process = container.start_with(CONCURRENCY / 2).await;
    drop(scene.bed.records_when(&scene.output, 4).await);
    // It goes as soon as it is heard: before anybody can see who called, or as one of several that has ended.
    let call = format!("exec 3<>/dev/tcp/{}/{}", container.api.ip(), container.api.port());
    let said = "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let script = format!("{call}; printf '{}' >&3; read -r status <&3", said.escape_default());
    assert!(Command::new("bash").args(["-c", &script]).status().await.expect("bash runs").success());
    let kubelet = async {
        loop {
            process.wait().await.expect("it was started here");
            process = container.start_with(CONCURRENCY / 2).await;
        }
    };
    tokio::select! {
        () = kubelet => {}
        tally = scene.tally(RECORDS) => tally.exactly_once(),
    }
    let log = runner.log();
    assert!(log.contains("could not start") || log.contains("failed to start"), "{log}");
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.invocations), (60, 60));
}
