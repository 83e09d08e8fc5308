//! Polite HTTP: waits between requests to a host, obeys robots.txt at every hop of a redirect,
//! bounds time and size. Each host is asked by one request at a time per delay.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use reqwest::{Client, Response, StatusCode, redirect};
use texting_robots::{Robot, get_robots_url};
use tokio::time::Instant;
use url::Url;

use crate::memory::Validators;

/// How the crawler calls itself.
pub const AGENT: &str = "tidemill-crawl";
const USER_AGENT: &str = concat!("tidemill-crawl/", env!("CARGO_PKG_VERSION"), " (+https://tidemill.dev)");
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest page, in bytes.
pub const LARGEST: usize = 2 * 1024 * 1024;
const REDIRECTS: usize = 10;

/// A page was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server was not reached or broke off.
    #[error("failed to fetch")]
    Http(#[from] reqwest::Error),
    /// The site asks not to.
    #[error("robots.txt disallows {0}")]
    Disallowed(Url),
    /// Redirects without end, or to no address.
    #[error("redirected to nowhere")]
    Redirect,
    /// The page is larger than [`LARGEST`].
    #[error("larger than {LARGEST} bytes")]
    TooLarge,
    /// The server answered with an error.
    #[error("status {0}")]
    Status(StatusCode),
}

/// What a request gave.
#[derive(Debug)]
pub enum Fetched {
    /// A page.
    Page(Page),
    /// The page is as it was.
    NotModified,
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// The address that answered, after redirects.
    pub url: Url,
    /// The page's bytes.
    pub bytes: Vec<u8>,
    /// What the server calls them.
    pub content_type: Option<String>,
    /// For asking next time whether the page has changed.
    pub validators: Validators,
}

impl Error {
    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            Self::Disallowed(_) | Self::Redirect | Self::TooLarge => false,
        }
    }
}

/// Fetches pages; keeps when each host was asked last.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    next: Mutex<HashMap<String, Instant>>,
}

/// The robots.txt of each site asked in one crawl; none means that the site did not answer.
#[derive(Debug, Default)]
pub struct Robots {
    sites: HashMap<String, Option<Robot>>,
}

impl Fetcher {
    /// A fetcher.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new() -> Result<Self, Error> {
        let client =
            Client::builder().user_agent(USER_AGENT).timeout(TIMEOUT).redirect(redirect::Policy::none()).build()?;
        Ok(Self { client, next: Mutex::default() })
    }

    /// Fetches a page, following redirects; with validators, only if it has changed.
    ///
    /// # Errors
    /// No page came, for whatever reason.
    pub async fn fetch(
        &self,
        url: &Url,
        delay: Duration,
        known: &Validators,
        robots: &mut Robots,
    ) -> Result<Fetched, Error> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let delay = self.allowed(&url, delay, robots).await?;
            let response = self.request(&url, delay, known).await?;
            match response.status() {
                StatusCode::NOT_MODIFIED => return Ok(Fetched::NotModified),
                status if status.is_redirection() => url = location(&response, &url)?,
                status if status.is_success() => return read(response, url).await.map(Fetched::Page),
                status => return Err(Error::Status(status)),
            }
        }
        Err(Error::Redirect)
    }

    async fn request(&self, url: &Url, delay: Duration, known: &Validators) -> Result<Response, reqwest::Error> {
        let slot = {
            let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let host = url.host_str().unwrap_or_default().to_owned();
            let free = next.entry(host).or_insert_with(Instant::now);
            let slot = (*free).max(Instant::now());
            *free = slot + delay;
            slot
        };
        tokio::time::sleep_until(slot).await;
        let mut request = self.client.get(url.clone());
        if let Some(etag) = &known.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(date) = &known.last_modified {
            request = request.header(IF_MODIFIED_SINCE, date);
        }
        request.send().await
    }

    /// The delay that both the source and its site's robots.txt ask for.
    async fn allowed(&self, url: &Url, delay: Duration, robots: &mut Robots) -> Result<Duration, Error> {
        let site = url.origin().ascii_serialization();
        if !robots.sites.contains_key(&site) {
            let robot = self.robot(url, delay).await;
            robots.sites.insert(site.clone(), robot);
        }
        match robots.sites.get(&site).and_then(Option::as_ref) {
            Some(robot) if robot.allowed(url.as_str()) => {
                let asked = robot.delay.and_then(|s| Duration::try_from_secs_f32(s).ok());
                Ok(delay.max(asked.unwrap_or_default()))
            }
            Some(_) => Err(Error::Disallowed(url.clone())),
            // RFC 9309: a site whose robots.txt cannot be had is not crawled for now.
            None => Err(Error::Status(StatusCode::SERVICE_UNAVAILABLE)),
        }
    }

    async fn robot(&self, url: &Url, delay: Duration) -> Option<Robot> {
        let mut robots_url = Url::parse(&get_robots_url(url.as_str()).ok()?).ok()?;
        for _ in 0..=REDIRECTS {
            let response = self
                .request(&robots_url, delay, &Validators::default())
                .await
                .inspect_err(|error| tracing::warn!(%robots_url, %error, "robots.txt not reached"))
                .ok()?;
            let text = match response.status() {
                status if status.is_success() => read(response, robots_url).await.ok()?.bytes,
                status if status.is_redirection() => {
                    robots_url = location(&response, &robots_url).ok()?;
                    continue;
                }
                status if status.is_client_error() => Vec::new(),
                _ => return None,
            };
            return Robot::new(AGENT, &text).ok();
        }
        None
    }
}

fn location(response: &Response, at: &Url) -> Result<Url, Error> {
    let location = text(response.headers(), &LOCATION).ok_or(Error::Redirect)?;
    let url = at.join(&location).map_err(|_| Error::Redirect)?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(Error::Redirect) }
}

async fn read(mut response: Response, url: Url) -> Result<Page, Error> {
    let content_type = text(response.headers(), &CONTENT_TYPE);
    let validators =
        Validators { etag: text(response.headers(), &ETAG), last_modified: text(response.headers(), &LAST_MODIFIED) };
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(Error::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Page { url, bytes, content_type, validators })
}

fn text(headers: &HeaderMap, name: &reqwest::header::HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
