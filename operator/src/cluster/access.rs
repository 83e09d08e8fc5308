//! From a cluster's secrets to what the operator connects with and runners are told.
//!
//! Secrets are read when the cluster or one of them changes, are kept in the connection only,
//! and are never shown.

use super::Error;
use crate::{clusters::Unusable, context::Context};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tidemill_api::{KafkaCluster, KafkaClusterSpec, SecretKeyRef, Tls as TlsSpec, reasons};
use tidemill_kafka::{Sasl, Security, Tls};
use tidemill_runner::config::{Access, Login, RegistryAccess};

/// What a cluster's settings and secrets come to.
#[derive(Debug)]
pub struct Resolved {
    /// For the operator's own clients.
    pub security: Security,
    /// For runners, without secrets.
    pub access: Access,
    /// Changes when anything of it changes.
    pub version: String,
}

/// The secrets that a cluster names.
#[must_use]
pub fn secrets_of(spec: &KafkaClusterSpec) -> Vec<SecretKeyRef> {
    let sasl = spec.sasl.iter().map(|sasl| &sasl.password);
    let tls = spec.tls.iter().flat_map(tls_secrets);
    let registry = spec.schema_registry.iter().filter_map(|registry| registry.password.as_ref());
    sasl.chain(tls).chain(registry).cloned().collect()
}

fn tls_secrets(tls: &TlsSpec) -> impl Iterator<Item = &SecretKeyRef> {
    [&tls.ca, &tls.certificate, &tls.key].into_iter().flatten()
}

/// Reads the secrets and puts all together; what is missing makes the cluster unusable.
///
/// # Errors
/// When the API server does not answer.
pub async fn resolve(cluster: &KafkaCluster, context: &Context) -> Result<Result<Resolved, Unusable>, Error> {
    let namespace = cluster.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let mut values = BTreeMap::new();
    for reference in secrets_of(&cluster.spec) {
        let SecretKeyRef { name, key } = &reference;
        let secret =
            api.get_opt(name).await.map_err(|source| Error::Secret { name: format!("{namespace}/{name}"), source })?;
        let unusable = |message: String| Ok(Err(Unusable { reason: reasons::SECRET_NOT_FOUND, message }));
        let Some(secret) = secret else {
            return unusable(format!("Secret {namespace}/{name} is not there: create it with the key `{key}`"));
        };
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        let Some(text) = value.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()) else {
            return unusable(format!("Secret {namespace}/{name} has no text under `{key}`: add it"));
        };
        values.insert((reference.name, reference.key), text);
    }
    let value = |reference: &SecretKeyRef| {
        values.get(&(reference.name.clone(), reference.key.clone())).cloned().unwrap_or_default()
    };
    let spec = &cluster.spec;
    let sasl = spec.sasl.as_ref().map(|sasl| Sasl {
        mechanism: mechanism(sasl),
        username: sasl.username.clone(),
        password: value(&sasl.password),
    });
    let tls = spec.tls.as_ref().map(|tls| Tls {
        ca: tls.ca.as_ref().map(value),
        certificate: tls.certificate.as_ref().map(value),
        key: tls.key.as_ref().map(value),
    });
    let access = Access {
        sasl: sasl.as_ref().map(|sasl| Login { mechanism: sasl.mechanism.clone(), username: sasl.username.clone() }),
        tls: tls.is_some(),
        registry: spec
            .schema_registry
            .as_ref()
            .map(|registry| RegistryAccess { url: registry.url.clone(), username: registry.username.clone() }),
        fetch_wait_ms: None,
    };
    let settings = serde_json::to_vec(spec).expect("a spec is JSON");
    let mut hash = Sha256::new_with_prefix(settings);
    for ((name, key), value) in &values {
        for part in [name, key, value] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    let version = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(Ok(Resolved { security: Security { sasl, tls }, access, version }))
}

/// The mechanism as Kafka names it, which is as the manifest does.
fn mechanism(sasl: &tidemill_api::Sasl) -> String {
    serde_json::to_value(sasl.mechanism).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
