//! A registry with Confluent's API: schemas by their id, and a subject's latest.
//!
//! An id is never used for another schema, so what was fetched once is kept; what a subject's
//! latest version is, is asked for again after a while, and where the registry does not answer then
//! the one that is known stays. The API:
//! <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>.

use crate::schema::{Format, Invalid, Reference, Schema};
use schema_registry_converter::{
    async_impl::schema_registry::{
        SrSettings, get_referenced_schema, get_schema_by_id, get_schema_by_subject_and_version,
    },
    error::SRCError,
    schema_registry_common::{RawError, RegisteredSchema, SchemaType},
};
use std::{
    collections::{HashMap, HashSet},
    error::Error as _,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long the registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a subject's latest version is taken for that.
const FRESH: Duration = Duration::from_secs(60);
/// How long an id that was given up is not asked for.
const ABSENT: Duration = Duration::from_secs(30);
/// How long after a request that failed the next one fails at once: each may take its time to.
const SILENT: Duration = Duration::from_secs(1);
/// How many schemas one may refer to.
const REFERENCES: usize = 200;

/// A registry and what it has said.
pub struct Registry {
    url: String,
    settings: SrSettings,
    known: Mutex<Known>,
    /// One asks at a time: all want to know the same.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    schemas: HashMap<u32, Result<Arc<Schema>, Invalid>>,
    subjects: HashMap<Subject, (Instant, Option<Arc<Schema>>)>,
    absent: HashMap<u32, Instant>,
    /// When the registry did not answer, and what came of it.
    silent: Option<(Instant, NoSchema)>,
}

/// Where a topic's schema is: `<topic>-key` or `<topic>-value`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Of its keys.
    Key(Arc<str>),
    /// Of its values.
    Value(Arc<str>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(topic) => write!(f, "{topic}-key"),
            Self::Value(topic) => write!(f, "{topic}-value"),
        }
    }
}

/// Why there is no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSchema {
    /// The registry does not have it.
    #[error("the schema registry {url} has no schema with the id {id}")]
    Unknown {
        /// The registry.
        url: String,
        /// The id.
        id: u32,
        /// Whether that was so often enough that it is not asked again for a while.
        given_up: bool,
    },
    /// It cannot be used.
    #[error("schema {id} cannot be used: {reason}")]
    Unusable {
        /// Its id.
        id: u32,
        /// What is wrong with it.
        reason: Invalid,
    },
    /// The registry does not answer, or not with a schema.
    #[error("the schema registry {url} does not answer: {reason}")]
    Unavailable {
        /// The registry.
        url: String,
        /// What it or the network says.
        reason: String,
    },
}

impl NoSchema {
    /// The kind of failure, as failure destinations are told.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "SchemaNotFound",
            Self::Unusable { .. } => "SchemaUnusable",
            Self::Unavailable { .. } => "SchemaRegistryUnavailable",
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Registry {
    /// The registry at `url`, with a user's name and password where it asks for one.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(url: &str, user: Option<(&str, Option<&str>)>) -> Result<Self, Invalid> {
        let url = url.trim_end_matches('/').to_owned();
        let mut settings = SrSettings::new_builder(url.clone());
        settings.set_timeout(PATIENCE);
        if let Some((name, password)) = user {
            settings.set_basic_authorization(name, password);
        }
        let settings = settings.build().map_err(Invalid::new)?;
        Ok(Self { url, settings, known: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    /// The schema of an id.
    ///
    /// # Errors
    /// When the registry has none, or does not answer.
    pub async fn by_id(&self, id: u32) -> Result<Arc<Schema>, NoSchema> {
        let known = || self.kept(id).or_else(|| self.given_up(id).map(Err));
        if let Some(known) = known() {
            return known;
        }
        let _turn = self.asking.lock().await;
        if let Some(known) = known() {
            return known;
        }
        self.silent()?;
        match get_schema_by_id(id, &self.settings).await {
            Ok(registered) => self.keep(registered).await,
            Err(error) if is_absent(&error) => Err(NoSchema::Unknown { url: self.url.clone(), id, given_up: false }),
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    /// Does not ask for that id for a while.
    pub fn give_up(&self, id: u32) {
        let absent = &mut self.known().absent;
        absent.retain(|_, since| since.elapsed() < ABSENT);
        absent.insert(id, Instant::now());
    }

    /// The latest schema of a subject; `None` where there is no such subject.
    ///
    /// # Errors
    /// When the registry does not answer and none is known.
    pub async fn latest(&self, subject: &Subject) -> Result<Option<Arc<Schema>>, NoSchema> {
        let fresh = |seen: &Instant| seen.elapsed() < FRESH;
        let known = || self.known().subjects.get(subject).cloned();
        if let Some((_, schema)) = known().filter(|(seen, _)| fresh(seen)) {
            return Ok(schema);
        }
        let _turn = self.asking.lock().await;
        let before = known();
        if let Some((_, schema)) = before.clone().filter(|(seen, _)| fresh(seen)) {
            return Ok(schema);
        }
        let latest = match (self.ask_latest(subject).await, before) {
            // A subject that is deleted does not make what is in its topic another thing.
            (Ok(None), Some((_, Some(schema)))) => {
                tracing::warn!(%subject, "the schema registry has no such subject any more: its last schema stays");
                Some(schema)
            }
            (Ok(latest), _) => latest,
            (Err(NoSchema::Unavailable { reason, .. }), Some((_, schema))) => {
                tracing::warn!(%subject, reason, "the schema registry does not answer: its last word stays");
                schema
            }
            (Err(error), _) => return Err(error),
        };
        self.known().subjects.insert(subject.clone(), (Instant::now(), latest.clone()));
        Ok(latest)
    }

    async fn ask_latest(&self, subject: &Subject) -> Result<Option<Arc<Schema>>, NoSchema> {
        self.silent()?;
        match get_schema_by_subject_and_version(&self.settings, &subject.to_string(), None).await {
            Ok(registered) => match self.kept(registered.id) {
                Some(known) => known.map(Some),
                None => self.keep(registered).await.map(Some),
            },
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was made of an id's schema.
    fn kept(&self, id: u32) -> Option<Result<Arc<Schema>, NoSchema>> {
        let schema = self.known().schemas.get(&id)?.clone();
        Some(schema.map_err(|reason| NoSchema::Unusable { id, reason }))
    }

    /// That the registry did not have an id a while ago.
    fn given_up(&self, id: u32) -> Option<NoSchema> {
        let absent = self.known().absent.get(&id).is_some_and(|since| since.elapsed() < ABSENT);
        absent.then(|| NoSchema::Unknown { url: self.url.clone(), id, given_up: true })
    }

    /// Fetches what a schema refers to, and keeps what comes of it.
    async fn keep(&self, registered: RegisteredSchema) -> Result<Arc<Schema>, NoSchema> {
        let id = registered.id;
        let references = self.references(&registered).await?;
        let schema = match registered.schema_type {
            SchemaType::Avro => Schema::compile(id, Format::Avro, &registered.schema, &references),
            SchemaType::Protobuf => Schema::compile(id, Format::Protobuf, &registered.schema, &references),
            SchemaType::Json => Schema::compile(id, Format::Json, &registered.schema, &references),
            other => Err(Invalid(format!("schemas of the type {other:?} are not understood"))),
        };
        let schema = schema.map(Arc::new);
        self.known().schemas.insert(id, schema.clone());
        self.known().absent.remove(&id);
        schema.map_err(|reason| NoSchema::Unusable { id, reason })
    }

    /// What a schema refers to, and what that refers to.
    async fn references(&self, registered: &RegisteredSchema) -> Result<Vec<Reference>, NoSchema> {
        let mut open = registered.references.clone();
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        while let Some(reference) = open.pop() {
            if !seen.insert(reference.name.clone()) {
                continue;
            }
            if seen.len() > REFERENCES {
                let reason = Invalid(format!("it refers to more than {REFERENCES} others"));
                return Err(NoSchema::Unusable { id: registered.id, reason });
            }
            let referenced = get_referenced_schema(&self.settings, &reference).await.map_err(|error| {
                if !is_absent(&error) {
                    return self.unavailable(&error);
                }
                let reason = Invalid(format!("it refers to `{}`, which the registry does not have", reference.name));
                NoSchema::Unusable { id: registered.id, reason }
            })?;
            open.extend(referenced.references);
            found.push(Reference { name: reference.name, text: referenced.schema });
        }
        Ok(found)
    }

    fn unavailable(&self, error: &SRCError) -> NoSchema {
        let reason = match &error.cause {
            Some(cause) => format!("{}: {cause}", error.error),
            None => error.error.clone(),
        };
        let silent = NoSchema::Unavailable { url: self.url.clone(), reason };
        self.known().silent = Some((Instant::now(), silent.clone()));
        silent
    }

    /// What came of a request a moment ago, where nothing did.
    fn silent(&self) -> Result<(), NoSchema> {
        match &self.known().silent {
            Some((since, silent)) if since.elapsed() < SILENT => Err(silent.clone()),
            _ => Ok(()),
        }
    }
}

/// Whether the registry has answered that it has no such thing: codes 40401 to 40403.
fn is_absent(error: &SRCError) -> bool {
    let said = error.source().and_then(|source| source.downcast_ref::<RawError>());
    said.is_some_and(|said| (40_400..40_500).contains(&said.error_code))
}
