//! The operator from start to end: lease, watches, controllers, admin listener.

use crate::{
    cluster,
    clusters::Clusters,
    context::{Context, Settings, Triggers, key_of},
    function::{self, apply::Applied, build::ADMIN_PORT, status::is_ready},
    joining::{self, Joins},
    journal,
    lease::{Contact, Lease},
    load::Loads,
    observer::describe,
    schedule::Firings,
    stores::{Own, Stores},
    topic,
};
use anyhow::{Context as _, Result, bail};
use backon::{ExponentialBuilder, Retryable};
use clap::Parser;
use futures::{Stream, StreamExt, future};
use http::{Method, Request};
use k8s_openapi::api::core::v1::LocalObjectReference;
use kube::{
    Api, Client, Resource,
    client::{Body, ClientBuilder},
    core::PartialObjectMeta,
    runtime::{
        Controller, WatchStreamExt,
        controller::{self, Action, Config},
        events::{Recorder, Reporter},
        reflector::{ObjectRef, store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use std::{collections::HashSet, fmt::Debug, net::SocketAddr, sync::Arc, time::Duration};
use tidemill_api::{Function, KafkaCluster, Topic};
use tidemill_runner::report::Report;
use tidemill_service::{
    admin::{self, Readiness},
    logging, shutdown,
};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tower::util::{MapRequestLayer, MapResponseLayer};
use tracing::{debug, info, warn};

/// How often runners are asked what they have done.
const REPORTS: Duration = Duration::from_secs(2);
/// Runners asked at the same time.
const ASKED: usize = 64;
/// Reconciles of one kind at the same time.
const CONCURRENCY: u16 = 8;

/// Where `kubectl apply` keeps what it has applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Reconcile Functions, KafkaClusters and Topics of the whole cluster.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  tidemill-operator --runner-image tidemill/runner:0.1.0\n  KUBECONFIG=admin.conf tidemill-operator --log-format text --identity me"
)]
pub struct Args {
    /// The runner's image, for the pods of functions.
    #[arg(long, env = "TIDEMILL_RUNNER_IMAGE", default_value = "tidemill/runner:0.1.0")]
    pub runner_image: String,
    /// When the runner's image is pulled: Always, IfNotPresent or Never.
    #[arg(long, env = "TIDEMILL_PULL_POLICY", default_value = "IfNotPresent")]
    pub pull_policy: String,
    /// Secrets to pull the runner's image with, in each function's namespace.
    #[arg(long, env = "TIDEMILL_PULL_SECRETS", value_delimiter = ',')]
    pub pull_secrets: Vec<String>,
    /// CPU that a runner asks for.
    #[arg(long, env = "TIDEMILL_RUNNER_CPU", default_value = "10m")]
    pub runner_cpu: String,
    /// Memory that a runner asks for.
    #[arg(long, env = "TIDEMILL_RUNNER_MEMORY", default_value = "32Mi")]
    pub runner_memory: String,
    /// The most memory that a runner may use.
    #[arg(long, env = "TIDEMILL_RUNNER_MEMORY_LIMIT", default_value = "512Mi")]
    pub runner_memory_limit: String,
    /// Where runners ask when to join their consumer group: /join of this operator.
    #[arg(long, env = "TIDEMILL_JOIN_URL", default_value = "")]
    pub join_url: String,
    /// The namespace of the Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Who holds the Lease: the pod's name.
    #[arg(long, env = "POD_NAME", default_value = "tidemill-operator")]
    pub identity: String,
    /// Where /live, /ready and /metrics are served.
    #[arg(long, env = "TIDEMILL_ADMIN_ADDR", default_value = "127.0.0.1:9464")]
    pub admin_addr: SocketAddr,
    /// json or text.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub log_format: logging::Format,
    /// error, warn, info, debug or trace.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Runs until a signal says to stop.
///
/// # Errors
/// When the API server can't be used, or the Lease is lost: then the process must start again.
pub async fn run(args: Args) -> Result<()> {
    logging::init(args.log_format, &args.log_level)?;
    let stop = shutdown::on_signal();
    let listener =
        TcpListener::bind(args.admin_addr).await.with_context(|| format!("failed to listen on {}", args.admin_addr))?;
    tidemill_service::metrics::describe(crate::metrics::ALL);
    let readiness = Readiness::default();
    let loads = Arc::new(Loads::default());
    let joins = Arc::new(Joins::default());
    let routes = admin::routes(readiness.clone())
        .merge(journal::route(loads.clone()))
        .merge(joining::route(joins.clone(), loads.clone()));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let contact = Contact::default();
    let client = client(&contact).await.context("no way to the API server: set KUBECONFIG, or run in a pod")?;
    let wait = ExponentialBuilder::default().with_max_delay(Duration::from_secs(5)).without_max_times();
    let lease = || async {
        has_crds(&client).await?;
        Lease::wait_for(client.clone(), &args.namespace, "tidemill-operator", &args.identity).await
    };
    let lease = lease.retry(wait).when(|error| error.downcast_ref::<NoCrds>().is_none()).notify(
        |error, pause| warn!(error = format!("{error:#}"), retry_in = ?pause, "the API server cannot be used yet"),
    );
    let mut lease = tokio::select! {
        lease = lease => lease?,
        () = stop.cancelled() => return Ok(()),
    };
    // A replica that waits for the Lease is as ready as it can be.
    readiness.set(true);
    info!(identity = args.identity, "waiting for the Lease");
    if lease.held(&stop).await? {
        joins.lead();
        metrics::gauge!("tidemill_operator_leader").set(1.0);
        tokio::select! {
            () = lead(client, &args, loads, stop.clone()) => {}
            () = lease.lost(&contact) => bail!("the Lease was lost: ending, so that only its new holder writes"),
        }
    }
    lease.give_back().await?;
    info!("operator stopped");
    Ok(())
}

/// A client that counts its requests: what a watch could have told must not be asked for.
async fn client(contact: &Contact) -> Result<Client> {
    let config = kube::Config::infer().await?;
    let builder = ClientBuilder::try_from(config)?.with_layer(&MapRequestLayer::new(counted));
    let contact = contact.clone();
    let heard = MapResponseLayer::new(move |response: http::Response<_>| {
        contact.heard(response.status());
        response
    });
    Ok(builder.with_layer(&heard).build())
}

fn counted(request: Request<Body>) -> Request<Body> {
    let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let verb = match *request.method() {
        Method::GET if watch => "watch",
        Method::GET => "get",
        Method::PATCH => "patch",
        Method::POST => "create",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "other",
    };
    // What is named after `/apis/<group>/<version>/namespaces/<namespace>` or right after the version.
    let resource = request.uri().path().split('/').rfind(|part| RESOURCES.contains(part)).unwrap_or("other").to_owned();
    metrics::counter!("tidemill_operator_api_requests_total", "verb" => verb, "resource" => resource).increment(1);
    request
}

/// The resources that the operator asks for.
const RESOURCES: [&str; 8] =
    ["functions", "kafkaclusters", "topics", "deployments", "pods", "secrets", "events", "leases"];

/// The cluster does not know our kinds.
#[derive(Debug, thiserror::Error)]
#[error("the CRDs are not installed: `helm install tidemill-crds charts/tidemill-crds`")]
struct NoCrds;

/// A cluster without the CRDs would only show endless watch errors.
async fn has_crds(client: &Client) -> Result<()> {
    let functions: Api<Function> = Api::all(client.clone());
    match functions.list_metadata(&kube::api::ListParams::default().limit(1)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(NoCrds.into()),
        Err(error) => Err(error).context("failed to list Functions"),
    }
}

/// Reconciles until `stop`.
async fn lead(client: Client, args: &Args, loads: Arc<Loads>, stop: CancellationToken) {
    let (functions_sender, functions_triggers) = unbounded_channel();
    let (clusters_sender, clusters_triggers) = unbounded_channel();
    let (topics_sender, topics_triggers) = unbounded_channel();
    let triggers = Triggers { functions: functions_sender, clusters: clusters_sender, topics: topics_sender };
    let functions = controller::<Function>(&client, functions_triggers, &stop);
    let clusters = controller::<KafkaCluster>(&client, clusters_triggers, &stop);
    let topics = controller::<Topic>(&client, topics_triggers, &stop);
    let own = Own { functions: functions.store(), clusters: clusters.store(), topics: topics.store() };
    let stores = Stores::watch(&client, own, &triggers, &stop);
    let reporter = Reporter { controller: "tidemill-operator".to_owned(), instance: Some(args.identity.clone()) };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        settings: settings(args),
        stores,
        clusters: Clusters::default(),
        loads,
        applied: Applied::default(),
        firings: Firings::default(),
        triggers,
        // Whoever does not answer holds up nobody for long; a firing has its own time.
        http: reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .build()
            .expect("the client's settings are valid"),
        client: client.clone(),
    });
    context.stores.ready().await;
    let shared = context.clone();
    let forgotten = gone::<Function>(&client, &stop, move |key| function::gone(key, &shared));
    let shared = context.clone();
    let cut_off = gone::<KafkaCluster>(&client, &stop, move |key| cluster::gone(key, &shared));
    let work = future::join5(
        drive(functions.run(function::reconcile, function::retry, context.clone())),
        drive(clusters.run(cluster::reconcile, cluster::retry, context.clone())),
        drive(topics.run(topic::reconcile, topic::retry, context.clone())),
        future::join(forgotten, cut_off),
        reports(context.clone(), stop.clone()),
    );
    work.await;
}

fn settings(args: &Args) -> Settings {
    let secret = |name: &String| LocalObjectReference { name: name.clone() };
    Settings {
        runner_image: args.runner_image.clone(),
        pull_policy: args.pull_policy.clone(),
        pull_secrets: args.pull_secrets.iter().filter(|name| !name.is_empty()).map(secret).collect(),
        runner_requests: (args.runner_cpu.clone(), args.runner_memory.clone()),
        runner_memory: args.runner_memory_limit.clone(),
        join_url: args.join_url.clone(),
    }
}

fn controller<K>(client: &Client, triggers: UnboundedReceiver<ObjectRef<K>>, stop: &CancellationToken) -> Controller<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let triggers = futures::stream::unfold(triggers, |mut triggers| async {
        triggers.recv().await.map(|reference| (reference, triggers))
    });
    let (store, writer) = store();
    let changes = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .modify(|resource| {
            // Nobody asks who set which field; it is the largest part of a resource.
            resource.meta_mut().managed_fields = None;
            if let Some(annotations) = &mut resource.meta_mut().annotations {
                annotations.remove(LAST_APPLIED);
            }
        })
        .reflect(writer)
        .applied_objects();
    Controller::for_stream(changes, store)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(triggers)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
}

async fn drive<K, E>(results: impl Stream<Item = Result<(ObjectRef<K>, Action), controller::Error<E, watcher::Error>>>)
where
    K: Resource<DynamicType = ()>,
    E: std::error::Error + 'static,
{
    // A reconcile that failed was logged by its error policy; what is left is an object that went
    // meanwhile, or a watch that is taken up again.
    let mut results = std::pin::pin!(results);
    while let Some(result) = results.next().await {
        match result {
            Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
            Err(error) => warn!(error = describe(&error), kind = %K::kind(&()), "a watch is interrupted"),
        }
    }
}

/// Calls `forget` for each resource that goes: a controller only reconciles what is there.
async fn gone<K>(client: &Client, stop: &CancellationToken, forget: impl Fn(&str) + Send)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher(Api::<PartialObjectMeta<K>>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .take_until(stop.clone().cancelled_owned());
    // What went while the watch was interrupted is missing from the list that comes after.
    let (mut known, mut listed) = (HashSet::new(), HashSet::new());
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(resource)) => drop(listed.insert(key_of(&resource))),
            Ok(Event::InitDone) => {
                known.difference(&listed).for_each(|key: &String| forget(key));
                known = std::mem::take(&mut listed);
            }
            Ok(Event::Apply(resource)) => drop(known.insert(key_of(&resource))),
            Ok(Event::Delete(resource)) => {
                let key = key_of(&resource);
                known.remove(&key);
                forget(&key);
            }
            Err(error) => debug!(%error, "a watch is interrupted"),
        }
    }
}

/// Asks the runners of functions that have replicas what they have done.
async fn reports(context: Arc<Context>, stop: CancellationToken) {
    let mut ticks = interval(REPORTS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let mut asked = Vec::new();
        for key in context.loads.active() {
            let Some((namespace, name)) = key.split_once('/') else { continue };
            let pods = context.stores.pods_of(namespace, name);
            let ready = pods.iter().filter(|pod| is_ready(pod));
            asked.extend(ready.filter_map(|pod| {
                Some((key.clone(), pod.metadata.name.clone()?, pod.status.as_ref()?.pod_ip.clone()?))
            }));
        }
        // All together: pods that cannot be reached hold up no others.
        let answers = asked.into_iter().map(|(key, pod, address)| {
            let request = context.http.get(format!("http://{address}:{ADMIN_PORT}/report")).timeout(REPORTS);
            async move {
                let answer = async { request.send().await?.json::<Report>().await };
                (key, pod, answer.await)
            }
        });
        let mut answers = std::pin::pin!(futures::stream::iter(answers).buffer_unordered(ASKED));
        while let Some((key, pod, answer)) = answers.next().await {
            match answer {
                Ok(report) => context.loads.reported(&key, &pod, report.totals, report.held),
                Err(error) => debug!(%error, pod, "a runner gives no report"),
            }
        }
    }
}
