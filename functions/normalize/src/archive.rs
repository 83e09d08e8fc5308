//! Raw pages in S3, compressed, one object an article and day. Writing one again replaces it
//! by the same, so an archive needs no fence.

use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flate2::{Compression, write::GzEncoder};
use http::{Request, StatusCode};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, ReqwestConnector};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Attribute, Attributes, ClientOptions, ObjectStore, PutOptions, RetryConfig};

/// The archive cannot be reached or refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment does not describe an S3 server.
    #[error("S3 is not configured; set AWS_ENDPOINT_URL_S3, AWS_REGION and AWS_ACCESS_KEY_ID")]
    Configuration(#[source] object_store::Error),
    /// An object was not written.
    #[error("failed to archive {path}")]
    Put {
        /// The object.
        path: Path,
        /// Why.
        source: object_store::Error,
    },
    /// The bucket does not exist and could not be created.
    #[error("failed to create bucket {bucket}; create it or set ARCHIVE_BUCKET")]
    Sign {
        /// The bucket.
        bucket: String,
        /// Why.
        source: object_store::Error,
    },
    /// The bucket does not exist and the server was not reached.
    #[error("failed to create bucket {bucket}; create it or set ARCHIVE_BUCKET")]
    Reach {
        /// The bucket.
        bucket: String,
        /// Why.
        source: object_store::client::HttpError,
    },
    /// The bucket does not exist and the server refuses to create it.
    #[error("failed to create bucket {bucket}: status {status}; create it or set ARCHIVE_BUCKET")]
    Refused {
        /// The bucket.
        bucket: String,
        /// The server's answer.
        status: StatusCode,
    },
    /// The page was not compressed.
    #[error("failed to compress {path}")]
    Compress {
        /// The object.
        path: Path,
        /// Why.
        source: std::io::Error,
    },
}

/// Where raw pages go.
#[derive(Debug)]
pub struct Archive {
    store: AmazonS3,
    http: HttpClient,
    bucket: String,
    region: String,
}

const TIMEOUT: Duration = Duration::from_secs(10);

impl Archive {
    /// The archive that the usual AWS variables describe; nothing is contacted yet.
    ///
    /// # Errors
    /// The variables are not usable.
    pub fn from_env(bucket: &str) -> Result<Self, Error> {
        let mut builder = AmazonS3Builder::from_env();
        if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL_S3") {
            builder = builder.with_endpoint(endpoint);
        }
        let region = std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned());
        Self::new(builder.with_region(region.clone()), bucket, region)
    }

    /// An archive at `endpoint`, http or https.
    ///
    /// # Errors
    /// The endpoint is not usable.
    pub fn at(endpoint: &str, key: &str, secret: &str, bucket: &str) -> Result<Self, Error> {
        let region = "us-east-1".to_owned();
        let builder = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_access_key_id(key)
            .with_secret_access_key(secret)
            .with_region(region.clone());
        Self::new(builder, bucket, region)
    }

    fn new(builder: AmazonS3Builder, bucket: &str, region: String) -> Result<Self, Error> {
        let options = ClientOptions::new().with_allow_http(true).with_timeout(TIMEOUT).with_http1_only();
        let http = ReqwestConnector::default().connect(&options).map_err(Error::Configuration)?;
        let retries = RetryConfig { max_retries: 2, retry_timeout: TIMEOUT, ..Default::default() };
        let store = builder
            .with_bucket_name(bucket)
            .with_virtual_hosted_style_request(false)
            .with_client_options(options)
            .with_retry(retries)
            .build()
            .map_err(Error::Configuration)?;
        Ok(Self { store, http, bucket: bucket.to_owned(), region })
    }

    /// Writes a page; creates the bucket if that is what is missing.
    ///
    /// # Errors
    /// S3 does not answer or refuses.
    pub async fn put(&self, path: &Path, html: &str) -> Result<(), Error> {
        let bytes = compress(html).map_err(|source| Error::Compress { path: path.clone(), source })?;
        match self.write(path, bytes.clone()).await {
            Err(object_store::Error::NotFound { .. }) => {
                self.create_bucket().await?;
                self.write(path, bytes).await
            }
            result => result,
        }
        .map_err(|source| Error::Put { path: path.clone(), source })
    }

    async fn write(&self, path: &Path, bytes: Vec<u8>) -> Result<(), object_store::Error> {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, "application/gzip".into());
        let options = PutOptions { attributes, ..Default::default() };
        self.store.put_opts(path, bytes.into(), options).await.map(|_| ())
    }

    /// `object_store` creates no buckets but signs any address of one: the empty path's is the
    /// bucket's own.
    async fn create_bucket(&self) -> Result<(), Error> {
        let bucket = || self.bucket.clone();
        let url = self
            .store
            .signed_url(http::Method::PUT, &Path::default(), TIMEOUT)
            .await
            .map_err(|source| Error::Sign { bucket: bucket(), source })?;
        let body = match self.region.as_str() {
            "us-east-1" => HttpRequestBody::empty(),
            region => format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            )
            .into(),
        };
        let request = Request::put(url.as_str()).body(body).expect("a signed URL is a URI");
        let response = self.http.execute(request).await.map_err(|source| Error::Reach { bucket: bucket(), source })?;
        // A conflict is another pod that was faster.
        match response.status() {
            status if status.is_success() || status == StatusCode::CONFLICT => Ok(()),
            status => Err(Error::Refused { bucket: bucket(), status }),
        }
    }
}

/// `raw/<yyyy>/<mm>/<dd>/<articleId>.html.gz`, by the day of the crawl.
pub fn path(crawled_at: DateTime<Utc>, article_id: &str) -> Path {
    Path::from(format!("raw/{}/{article_id}.html.gz", crawled_at.format("%Y/%m/%d")))
}

fn compress(html: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(html.as_bytes())?;
    encoder.finish()
}
