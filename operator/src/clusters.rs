//! The Kafka clusters that the operator has clients for, by `namespace/name`.
//!
//! A cluster gets new clients when its resource or one of its secrets has changed, and only then.

use crate::observer::Observer;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tidemill_api::KafkaClusterSpec;
use tidemill_kafka::Connection;
use tidemill_runner::config::Access;

/// A cluster as functions and topics use it.
#[derive(Debug)]
pub struct Cluster {
    /// `namespace/name`.
    pub key: String,
    /// What its resource says.
    pub spec: KafkaClusterSpec,
    /// How the operator reaches it.
    pub connection: Connection,
    /// How runners are told to speak to it.
    pub access: Access,
    /// Changes when the settings or a secret change: pods with another one are replaced.
    pub version: String,
    /// Looks at its groups and topics.
    pub observer: Observer,
}

/// Why a cluster cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// From `reasons`.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
}

/// The clusters there are.
#[derive(Default)]
pub struct Clusters(Mutex<HashMap<String, Result<Arc<Cluster>, Unusable>>>);

impl Clusters {
    /// The cluster of that name, where its resource is there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Result<Arc<Cluster>, Unusable>> {
        self.0.lock().get(key).cloned()
    }

    /// Those that can be used.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Cluster>> {
        self.0.lock().values().filter_map(|found| found.clone().ok()).collect()
    }

    /// Keeps what was found; answers whether that is news.
    pub fn put(&self, key: &str, found: Result<Arc<Cluster>, Unusable>) -> bool {
        let mut all = self.0.lock();
        let before = all.insert(key.to_owned(), found.clone());
        match (before, found) {
            (Some(Ok(before)), Ok(now)) => before.version != now.version,
            (Some(Err(before)), Err(now)) => before != now,
            _ => true,
        }
    }

    /// Forgets a cluster whose resource is gone.
    pub fn remove(&self, key: &str) {
        self.0.lock().remove(key);
    }
}
