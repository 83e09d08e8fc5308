//! Log set-up: JSON for machines, text for people, always on standard error.
//!
//! Standard output belongs to a program's result, so that `--output json` can be piped.

use std::{fmt, str::FromStr};
use tracing_subscriber::{EnvFilter, fmt::time::ChronoUtc, layer::SubscriberExt, util::SubscriberInitExt};

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// Coloured text for a terminal.
    Text,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(Error::Format(other.to_owned())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `json` nor `text`.
    #[error("log format `{0}` is unknown: use `json` or `text`")]
    Format(String),
    /// The level is not a filter that `tracing` understands.
    #[error("log level `{level}` is not understood: use error, warn, info, debug or trace, or `module=level,…`")]
    Level {
        /// What was given.
        level: String,
        /// The parser's reason.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Another subscriber was installed before.
    #[error("logging is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Installs the process's log subscriber.
///
/// # Errors
/// When `level` is not a filter, or logging was set up before.
pub fn init(format: Format, level: &str) -> Result<(), Error> {
    let filter = EnvFilter::try_new(level).map_err(|source| Error::Level { level: level.to_owned(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_timer(ChronoUtc::rfc_3339());
    match format {
        Format::Json => {
            registry.with(layer.json().flatten_event(true).with_current_span(true).with_span_list(false)).try_init()?
        }
        Format::Text => registry.with(layer.with_target(false)).try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn a_format_reads_back_as_written_and_others_are_refused() {
        for format in [Format::Json, Format::Text] {
            assert_eq!(format.to_string().parse::<Format>().expect("own text parses"), format);
        }
        let error = "xml".parse::<Format>().expect_err("xml is no log format");
        assert!(error.to_string().contains("`json` or `text`"), "{error}");
    }
}
