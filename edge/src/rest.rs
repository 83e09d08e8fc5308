//! Answers to single questions: articles, candles, latest prices.
//!
//! What Redis holds as JSON is passed on as it is.

use crate::{
    hub::Hub,
    params::{self, Interval, Invalid, Path, Query},
    store::{self, Store},
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use serde_json::{json, value::RawValue};
use std::sync::Arc;
use tracing::warn;

const MAX_PAGE: usize = 1_000_000;
const MAX_PAGE_SIZE: usize = 100;
/// `notify` keeps 2,000 candles.
const MAX_CANDLES: usize = 2000;

/// What the routes read.
#[derive(Clone)]
pub struct Rest {
    /// The latest prices.
    pub hub: Arc<Hub>,
    /// The rest.
    pub store: Store,
}

/// The routes.
pub fn routes(rest: Rest) -> Router {
    Router::new()
        .route("/api/articles", get(articles))
        .route("/api/articles/{id}", get(article))
        .route("/api/prices/historical", get(historical))
        .route("/api/prices/latest", get(latest))
        .with_state(rest)
}

/// Why a question isn't answered.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("there is no article of this id")]
    NoArticle,
    #[error("nothing was read from Redis yet: try again in a moment")]
    NotReady,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NoArticle => StatusCode::NOT_FOUND,
            Self::Store(store::Error::Redis(_)) | Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        match self {
            Self::Invalid(invalid) => return invalid.into_response(),
            Self::Store(ref error) => warn!(error = error as &dyn std::error::Error, "question not answered"),
            Self::NoArticle | Self::NotReady => {}
        }
        let body = Json(json!({"error": self.to_string()}));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, [(header::RETRY_AFTER, "1")], body).into_response();
        }
        (status, body).into_response()
    }
}

#[derive(Serialize)]
struct ArticlesPage {
    articles: Vec<Box<RawValue>>,
    page: usize,
    size: usize,
    total: usize,
    pages: usize,
}

async fn articles(State(rest): State<Rest>, query: Query) -> Result<Json<ArticlesPage>, Error> {
    let page = params::number(&query, "page", 1..=MAX_PAGE, 1)?;
    let size = params::number(&query, "size", 1..=MAX_PAGE_SIZE, 20)?;
    let store::Page { articles, total } = rest.store.articles(page, size).await?;
    Ok(Json(ArticlesPage { articles, page, size, total, pages: total.div_ceil(size) }))
}

async fn article(State(rest): State<Rest>, Path(id): Path<String>) -> Result<Json<Box<RawValue>>, Error> {
    rest.store.article(&id).await?.map(Json).ok_or(Error::NoArticle)
}

#[derive(Serialize)]
struct Historical {
    symbol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<String>,
    interval: &'static str,
    candles: Vec<Box<RawValue>>,
}

async fn historical(State(rest): State<Rest>, query: Query) -> Result<Json<Historical>, Error> {
    let symbol = params::symbol(params::required(&query, "symbol", "a symbol such as BTCUSDT")?)?;
    let interval = Interval::parse(query.0.get("interval").map_or("1m", String::as_str))?;
    let limit = params::number(&query, "limit", 1..=MAX_CANDLES, 200)?;
    let exchange = params::exchange(&query)?;
    let channel = params::candles(&symbol, exchange.as_deref(), interval);
    let candles = rest.store.candles(&channel, limit).await?;
    Ok(Json(Historical { symbol, exchange, interval: interval.name(), candles }))
}

async fn latest(State(rest): State<Rest>) -> Result<Response, Error> {
    let prices = rest.hub.latest_prices().ok_or(Error::NotReady)?;
    let body = [b"{\"prices\":[".as_slice(), &prices.join(&b','), b"]}"].concat();
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
