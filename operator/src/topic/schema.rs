//! Registers a topic's value schema, with its compatibility, as `<topic>-value`.
//!
//! The registry's API is Confluent's:
//! <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>.

use crate::{clusters::Cluster, conditions::Say, context::Context, observer::describe};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidemill_api::{SchemaRegistry, Topic, reasons};
use tidemill_schemas::Subject;

/// Registers the schema; one that is registered already costs a request and changes nothing.
pub async fn register(topic: &Topic, cluster: &Cluster, context: &Context) -> Result<(), Say> {
    let Some(schema) = &topic.spec.value_schema else { return Ok(()) };
    let Some(registry) = &cluster.spec.schema_registry else {
        let message = format!("KafkaCluster {} names no schema registry: set its spec.schemaRegistry.url", cluster.key);
        return Err(Say::no(reasons::READY, reasons::REGISTRY_UNREACHABLE, message));
    };
    let password = password(registry, cluster, context).await?;
    let call = |method: Method, path: String| {
        let request = context.http.request(method, format!("{}{path}", registry.url.trim_end_matches('/')));
        match &registry.username {
            Some(name) => request.basic_auth(name, password.as_ref()),
            None => request,
        }
    };
    let subject = Subject::Value(topic.topic_name().into());
    let compatibility = json!({"compatibility": schema.compatibility});
    send(call(Method::PUT, format!("/config/{subject}")), &compatibility, registry).await?;
    let version = json!({"schema": schema.schema, "schemaType": schema.schema_type});
    send(call(Method::POST, format!("/subjects/{subject}/versions")), &version, registry).await
}

async fn send(request: RequestBuilder, body: &Value, registry: &SchemaRegistry) -> Result<(), Say> {
    let unreachable = |error: String| {
        let message = format!("the schema registry {} does not answer: {error}", registry.url);
        Say::no(reasons::READY, reasons::REGISTRY_UNREACHABLE, message)
    };
    let answer = request.json(body).send().await.map_err(|error| unreachable(describe(&error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text: String = answer.text().await.unwrap_or_default().chars().take(400).collect();
    if status.is_server_error() {
        return Err(unreachable(format!("{status}: {text}")));
    }
    let said = serde_json::from_str::<Value>(&text).ok();
    let said = said.as_ref().and_then(|said| said.get("message")?.as_str()).unwrap_or(&text).to_owned();
    let message = format!("the schema registry refuses spec.valueSchema ({status}): {said}");
    Err(Say::no(reasons::READY, reasons::SCHEMA_REFUSED, message))
}

async fn password(registry: &SchemaRegistry, cluster: &Cluster, context: &Context) -> Result<Option<String>, Say> {
    let Some(reference) = &registry.password else { return Ok(None) };
    let namespace = cluster.key.split_once('/').map_or("", |(namespace, _)| namespace);
    let secret = Api::<Secret>::namespaced(context.client.clone(), namespace).get_opt(&reference.name).await;
    let value = secret.ok().flatten().and_then(|secret| secret.data?.remove(&reference.key));
    let text = value.and_then(|bytes| String::from_utf8(bytes.0).ok());
    text.map(Some).ok_or_else(|| {
        let message = format!("Secret {namespace}/{} has no text under `{}`: add it", reference.name, reference.key);
        Say::no(reasons::READY, reasons::SECRET_NOT_FOUND, message)
    })
}
