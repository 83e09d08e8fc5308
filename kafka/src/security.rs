//! Who a client says it is, and how its connection is encrypted.
//!
//! Secrets are never shown: `Debug` leaves them out, and nothing here is serialised.

use rdkafka::ClientConfig;
use std::fmt;

/// Authentication and encryption; neither by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// SASL, where the brokers ask for it.
    pub sasl: Option<Sasl>,
    /// TLS, where the brokers speak it.
    pub tls: Option<Tls>,
}

/// A user of the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: String,
}

/// PEM texts; what is not set is the system's (authorities) or not sent (certificate).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that sign the brokers' certificates.
    pub ca: Option<String>,
    /// The client's certificate.
    pub certificate: Option<String>,
    /// The client's key.
    pub key: Option<String>,
}

impl Security {
    pub(crate) fn apply(&self, config: &mut ClientConfig) {
        let protocol = match (&self.sasl, &self.tls) {
            (None, None) => return,
            (Some(_), None) => "sasl_plaintext",
            (None, Some(_)) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(Sasl { mechanism, username, password }) = &self.sasl {
            config.set("sasl.mechanism", mechanism).set("sasl.username", username).set("sasl.password", password);
        }
        let Some(tls) = &self.tls else { return };
        for (name, text) in
            [("ssl.ca.pem", &tls.ca), ("ssl.certificate.pem", &tls.certificate), ("ssl.key.pem", &tls.key)]
        {
            if let Some(text) = text {
                config.set(name, text);
            }
        }
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Sasl, Security, Tls};
    use rdkafka::ClientConfig;

    fn check(security: &Security, protocol: Option<&str>) {
        let mut config = ClientConfig::new();
        security.apply(&mut config);
        assert_eq!(config.get("security.protocol"), protocol);
        let shown = format!("{security:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("PRIVATE"), "{shown}");
    }

    #[test]
    fn the_protocol_follows_from_what_is_set_and_secrets_are_not_shown() {
        let sasl = || Sasl { mechanism: "PLAIN".into(), username: "ann".into(), password: "s3cret".into() };
        let tls = || Tls { key: Some("PRIVATE".to_owned()), ..Tls::default() };
        check(&Security::default(), None);
        check(&Security { sasl: Some(sasl()), tls: None }, Some("sasl_plaintext"));
        check(&Security { sasl: None, tls: Some(tls()) }, Some("ssl"));
        check(&Security { sasl: Some(sasl()), tls: Some(tls()) }, Some("sasl_ssl"));
    }
}
