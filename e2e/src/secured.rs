//! The testbed's Kafka that asks who comes, and what a runner is told to get in.

use crate::bed::Bed;
use std::sync::Mutex;
use tidemill_kafka::{Connection, Sasl, Security, Tls};
use tidemill_runner::config::{Access, Login};
use tidemill_testbed::kafka::{
    PASSWORD, USER,
    secured::{Listener, Secured},
};

/// Starts it where it does not run.
///
/// # Panics
/// When it cannot be started.
pub async fn start() -> Secured {
    let start = || {
        // Two tests of one program may come here at once, and only one may start it.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().expect("starting Kafka has not panicked");
        let kafka = Secured::new().expect("the cache folder is known");
        kafka.start().expect("the secured Kafka starts");
        kafka
    };
    tokio::task::spawn_blocking(start).await.expect("starting Kafka does not panic")
}

/// One way in.
#[derive(Clone, Debug)]
pub struct Way {
    /// `host:port`.
    pub bootstrap: String,
    /// Who comes, and with which certificates.
    pub security: Security,
}

impl Way {
    /// By that listener, with all that it asks for. `mechanism` is SASL's, where it asks for one.
    ///
    /// # Panics
    /// When Kafka has not been started.
    #[must_use]
    pub fn into(kafka: &Secured, listener: Listener, mechanism: Option<&str>) -> Self {
        let pem = |name| Some(kafka.pem(name).expect("the testbed has made certificates"));
        let tls = match listener {
            Listener::SaslPlaintext => None,
            Listener::SaslTls | Listener::Tls => Some(Tls { ca: pem("ca.crt"), ..Tls::default() }),
            Listener::Mutual => Some(Tls { ca: pem("ca.crt"), certificate: pem("client.crt"), key: pem("client.key") }),
        };
        let sasl =
            mechanism.map(|name| Sasl { mechanism: name.into(), username: USER.into(), password: PASSWORD.into() });
        Self { bootstrap: kafka.bootstrap(listener), security: Security { sasl, tls } }
    }

    /// The same with another password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.security.sasl.iter_mut().for_each(|sasl| password.clone_into(&mut sasl.password));
        self
    }

    /// The same with other certificates, or without TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.security.tls = tls;
        self
    }

    /// A test's part of the Kafka that it leads to.
    #[must_use]
    pub fn bed(&self, test: &str) -> Bed {
        Bed::on(Connection::secured(&self.bootstrap, self.security.clone()), test)
    }

    /// What a runner's configuration says of it.
    #[must_use]
    pub fn access(&self) -> Access {
        let login = |sasl: &Sasl| Login { mechanism: sasl.mechanism.clone(), username: sasl.username.clone() };
        let sasl = self.security.sasl.as_ref().map(login);
        Access { sasl, tls: self.security.tls.is_some(), ..Access::default() }
    }

    /// What a runner's environment says of it, in variables that begin with `prefix`.
    #[must_use]
    pub fn secrets(&self, prefix: &str) -> Vec<(String, String)> {
        let tls = self.security.tls.clone().unwrap_or_default();
        let password = self.security.sasl.as_ref().map(|sasl| sasl.password.clone());
        let all = [("PASSWORD", password), ("CA", tls.ca), ("CERTIFICATE", tls.certificate), ("KEY", tls.key)];
        all.into_iter().filter_map(|(name, value)| Some((format!("{prefix}{name}"), value?))).collect()
    }
}
