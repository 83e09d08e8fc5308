//! Which sites are crawled and how: the sources in `CRAWL_SOURCES`. A configuration that
//! passes here has valid addresses and selectors.

use std::time::Duration;

use scraper::Selector;
use serde::Deserialize;
use url::Url;

/// The configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable is missing.
    #[error("CRAWL_SOURCES is not set; set it to the sources as JSON or to a file's path")]
    Missing,
    /// The file is not readable.
    #[error("CRAWL_SOURCES names {path}, which is not readable")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The JSON is not a list of sources.
    #[error("CRAWL_SOURCES is not {{\"sources\": [{{\"name\", \"baseUrl\", \"start\", \"article\"}}, …]}}")]
    Json(#[from] serde_json::Error),
    /// There is nothing to crawl.
    #[error("CRAWL_SOURCES has no source; name at least one")]
    Empty,
    /// An address is not one.
    #[error("{field} of source {name} is not an http address: {value}")]
    Address {
        /// The source.
        name: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A selector is not CSS.
    #[error("{field} of source {name} is not a CSS selector: {reason}")]
    Selector {
        /// The source.
        name: String,
        /// The field.
        field: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// The address that replaces a source's does not say which source's.
    #[error("CRAWL_BASE_URL replaces the address of the only source, and there are {0}")]
    Ambiguous(usize),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    sources: Vec<RawSource>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawSource {
    name: String,
    base_url: String,
    start: Vec<String>,
    article: String,
    title: Option<String>,
    body: Option<String>,
    date: Option<String>,
    #[serde(default = "default_delay")]
    delay_ms: u64,
}

fn default_delay() -> u64 {
    1000
}

/// One site.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, as articles carry it.
    pub name: String,
    /// The pages that list articles.
    pub start: Vec<Url>,
    /// Finds the links to articles.
    pub article: Selector,
    /// Finds an article's title.
    pub title: Option<Selector>,
    /// Finds an article's text.
    pub body: Option<Selector>,
    /// Finds an article's date: a `datetime` or `content` attribute, or text.
    pub date: Option<Selector>,
    /// Least time between two requests to one host.
    pub delay: Duration,
}

/// The sources of `CRAWL_SOURCES`; `CRAWL_BASE_URL` replaces the address of the only one.
///
/// # Errors
/// Names what is wrong and where.
pub fn from_env() -> Result<Vec<Source>, Error> {
    let text = std::env::var("CRAWL_SOURCES").map_err(|_| Error::Missing)?;
    let text = if text.trim_start().starts_with('{') {
        text
    } else {
        std::fs::read_to_string(&text).map_err(|source| Error::Read { path: text, source })?
    };
    parse(&text, std::env::var("CRAWL_BASE_URL").ok().as_deref())
}

/// The sources of a configuration.
///
/// # Errors
/// Names what is wrong and where.
pub fn parse(json: &str, base_url: Option<&str>) -> Result<Vec<Source>, Error> {
    let mut sources = serde_json::from_str::<File>(json)?.sources;
    match (base_url, sources.as_mut_slice()) {
        (_, []) => return Err(Error::Empty),
        (Some(url), [only]) => url.clone_into(&mut only.base_url),
        (Some(_), several) => return Err(Error::Ambiguous(several.len())),
        (None, _) => {}
    }
    sources.into_iter().map(RawSource::validate).collect()
}

impl RawSource {
    fn validate(self) -> Result<Source, Error> {
        let name = &self.name;
        let address = |field, value: &str, url: Result<Url, _>| {
            url.ok().filter(|url: &Url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| Error::Address {
                name: name.clone(),
                field,
                value: value.to_owned(),
            })
        };
        let selector = |field, css: &str| {
            Selector::parse(css).map_err(|error| Error::Selector {
                name: name.clone(),
                field,
                reason: error.to_string(),
            })
        };
        let optional = |field, css: &Option<String>| css.as_deref().map(|css| selector(field, css)).transpose();
        let base = address("baseUrl", &self.base_url, Url::parse(&self.base_url))?;
        let start = self.start.iter().map(|path| address("start", path, base.join(path)));
        Ok(Source {
            start: start.collect::<Result<_, _>>()?,
            article: selector("article", &self.article)?,
            title: optional("title", &self.title)?,
            body: optional("body", &self.body)?,
            date: optional("date", &self.date)?,
            delay: Duration::from_millis(self.delay_ms),
            name: self.name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"sources":[{"name":"demo","baseUrl":"http://a.example/x/","start":["/","m"],"article":"h2 a"}]}"#;

    fn check(json: &str, base_url: Option<&str>, expected: &str) {
        let error = parse(json, base_url).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn reads_sources() {
        let sources = parse(GOOD, None).expect("good");
        let start: Vec<_> = sources[0].start.iter().map(Url::as_str).collect();
        assert_eq!(start, ["http://a.example/", "http://a.example/x/m"]);
        assert_eq!(sources[0].delay, Duration::from_secs(1));
        let moved = parse(GOOD, Some("http://127.0.0.1:8099")).expect("good");
        assert_eq!(moved[0].start[1].as_str(), "http://127.0.0.1:8099/m");
    }

    #[test]
    fn says_what_is_wrong() {
        check("{\"sources\":[]}", None, "no source");
        check("[]", None, "CRAWL_SOURCES is not");
        check(&GOOD.replace("http:", "gopher:"), None, "baseUrl of source demo");
        check(&GOOD.replace("h2 a", "h2 >> ("), None, "article of source demo");
        check(&GOOD.replace("h2 a\"", "h2 a\",\"colour\":1"), None, "CRAWL_SOURCES");
    }
}
