//! What a runner is told: one JSON file, written by whoever starts it.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tidemill_api::{S3Object, plan::Plan};
use tidemill_kafka::{Connection, Sasl, Security, Tls};
use tidemill_schemas::{Invalid, Registry};

/// What a runner is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The function as it runs.
    pub plan: Plan,
    /// `host:port,…` of the trigger's cluster; of the output's under a schedule.
    pub bootstrap_servers: String,
    /// How the cluster wants to be spoken to; secrets come by the environment.
    #[serde(default)]
    pub access: Access,
    /// The output's cluster, where it is another one.
    #[serde(default)]
    pub output: Option<OtherCluster>,
    /// What the function is.
    pub code: Code,
    /// The environment of its processes.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Whether its processes also get the runner's own environment.
    #[serde(default)]
    pub inherit: bool,
}

/// What the function is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Code {
    /// A program: the runner starts it, once for each invocation that may be in flight.
    Program {
        /// The program and its arguments.
        command: Vec<String>,
        /// Where it runs.
        directory: Option<PathBuf>,
    },
    /// A zip with a `bootstrap`: fetched, checked, unpacked, and then a program.
    Package(S3Object),
    /// A container beside the runner's: others start it, and it calls the Runtime API here.
    Image {
        /// Where the Runtime API is served.
        api: SocketAddr,
    },
}

/// A cluster that is not the trigger's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherCluster {
    /// `host:port,…`.
    pub bootstrap_servers: String,
    /// How it wants to be spoken to.
    #[serde(default)]
    pub access: Access,
}

/// How a cluster wants to be spoken to, without the secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The mechanism and the user's name, where it asks for one.
    #[serde(default)]
    pub sasl: Option<Login>,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: bool,
    /// Its schema registry.
    #[serde(default)]
    pub registry: Option<RegistryAccess>,
    /// How long a fetch waits there for records, in milliseconds; left out, as clients usually have it.
    #[serde(default)]
    pub fetch_wait_ms: Option<u64>,
}

/// A schema registry, without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryAccess {
    /// Its base URL.
    pub url: String,
    /// The user's name, where it asks for one.
    #[serde(default)]
    pub username: Option<String>,
}

/// A user, without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// As Kafka names it.
    pub mechanism: String,
    /// The user's name.
    pub username: String,
}

/// The environment variables that carry a cluster's secrets begin with one of these.
pub mod prefixes {
    /// The trigger's cluster: `TIDEMILL_KAFKA_PASSWORD`, `…_CA`, `…_CERTIFICATE`, `…_KEY`,
    /// `…_REGISTRY_PASSWORD`.
    pub const TRIGGER: &str = "TIDEMILL_KAFKA_";
    /// The output's cluster.
    pub const OUTPUT: &str = "TIDEMILL_OUTPUT_KAFKA_";
}

impl Access {
    /// The connection, with the secrets that the environment holds under `prefix`.
    ///
    /// # Errors
    /// When the password is not there.
    pub fn connect(&self, bootstrap: &str, prefix: &str) -> Result<Connection, MissingSecret> {
        let read = |name: &str| secret(prefix, name);
        let sasl = match &self.sasl {
            None => None,
            Some(Login { mechanism, username }) => Some(Sasl {
                mechanism: mechanism.clone(),
                username: username.clone(),
                password: read("PASSWORD").ok_or_else(|| MissingSecret(format!("{prefix}PASSWORD")))?,
            }),
        };
        let tls = self.tls.then(|| Tls { ca: read("CA"), certificate: read("CERTIFICATE"), key: read("KEY") });
        let connection = Connection::secured(bootstrap, Security { sasl, tls });
        Ok(match self.fetch_wait_ms {
            Some(millis) => connection.with_fetch_wait(Duration::from_millis(millis)),
            None => connection,
        })
    }

    /// Its schema registry, with the password that the environment holds under `prefix`.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn registry(&self, prefix: &str) -> Result<Option<Arc<Registry>>, Invalid> {
        let Some(RegistryAccess { url, username }) = &self.registry else { return Ok(None) };
        let password = secret(prefix, "REGISTRY_PASSWORD");
        let user = username.as_deref().map(|name| (name, password.as_deref()));
        Registry::new(url, user).map(Arc::new).map(Some)
    }
}

fn secret(prefix: &str, name: &str) -> Option<String> {
    std::env::var(format!("{prefix}{name}")).ok().filter(|text| !text.is_empty())
}

/// The environment lacks a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not set: it carries the password of the Kafka user")]
pub struct MissingSecret(String);

/// A field that this runner cannot carry out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is not supported by this version: {remedy}")]
pub struct Unsupported {
    /// The manifest's field.
    pub field: &'static str,
    /// What to do instead.
    pub remedy: &'static str,
}

/// Whether the runner can do all that the plan asks for.
///
/// # Errors
/// Names the first field that it cannot: refusing is better than leaving a promise out.
pub fn supported(plan: &Plan) -> Result<(), Unsupported> {
    let exactly = plan.output.as_ref().filter(|_| plan.exactly_once());
    if let (Some(output), Some(kafka)) = (exactly, plan.kafka())
        && output.cluster != kafka.cluster
    {
        return Err(Unsupported {
            field: "spec.output.cluster",
            remedy: "delivery: exactlyOnce is a transaction of one cluster: leave output.cluster out, or use atLeastOnce",
        });
    }
    Ok(())
}
