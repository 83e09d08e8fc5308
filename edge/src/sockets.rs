//! The WebSocket endpoints: what each listens to, and which requests it takes.

use crate::{
    admission::Admission,
    candle_loader::CandleLoader,
    hub::{ALL_PRICES, ARTICLES_CHANNEL, Client, Hub, Topic},
    mailbox::Close,
    message::Kind,
    params::{self, Interval, Path, Query},
    request::{Reply, Request},
    session::{self, Endpoint},
    stats::Stats,
    upgrade::Handshake,
};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use std::sync::Arc;
use tokio_util::task::TaskTracker;
use tokio_websockets::CloseCode;
use tracing::debug;

/// Channels that one client may listen to beside [`ALL_PRICES`].
const MAX_CHANNELS: usize = 1000;

/// Clients of an edge that ends come back over this time, in ms.
const RETURN_WINDOW_MS: u64 = 5000;

/// What the endpoints share.
#[derive(Clone)]
pub struct Sockets {
    /// Where sessions listen.
    pub hub: Arc<Hub>,
    /// Who reads candles that nobody listened to before.
    pub loader: CandleLoader,
    /// How many sessions there may be.
    pub admission: Admission,
    /// Figures.
    pub stats: Arc<Stats>,
    /// The sessions' tasks.
    pub tasks: TaskTracker,
}

/// The endpoints.
pub fn routes(sockets: Sockets) -> Router {
    Router::new()
        .route("/ws/prices", get(prices))
        .route("/ws/articles", get(articles))
        .route("/ws/candles/{symbol}/{interval}", get(candles))
        .with_state(sockets)
}

/// How clients are closed when the edge ends; they come back one after the other.
pub fn restart(client: u64) -> Close {
    // Consecutive clients land far apart: 2654435761 is Knuth's multiplicative hash.
    let spread = client.wrapping_mul(2_654_435_761) % RETURN_WINDOW_MS;
    Close {
        code: CloseCode::SERVICE_RESTART,
        reason: "the edge restarts; reconnect to go on",
        retry_after_ms: u32::try_from(spread).unwrap_or(0),
    }
}

async fn prices(State(sockets): State<Sockets>, request: axum::extract::Request) -> Response {
    sockets.open(request, None, Prices)
}

async fn articles(State(sockets): State<Sockets>, request: axum::extract::Request) -> Response {
    sockets.open(request, Some(Topic::Channel(Kind::Article, ARTICLES_CHANNEL.into())), Fixed)
}

async fn candles(
    State(sockets): State<Sockets>,
    Path((symbol, interval)): Path<(String, String)>,
    query: Query,
    request: axum::extract::Request,
) -> Response {
    let topic = params::symbol(&symbol).and_then(|symbol| {
        let interval = Interval::parse(&interval)?;
        let exchange = params::exchange(&query)?;
        Ok(Topic::Channel(Kind::Candle, params::candles(&symbol, exchange.as_deref(), interval).into()))
    });
    match topic {
        Ok(topic) => sockets.open(request, Some(topic), Fixed),
        Err(invalid) => invalid.into_response(),
    }
}

impl Sockets {
    fn open(
        self,
        request: axum::extract::Request,
        topic: Option<Topic>,
        endpoint: impl Endpoint + Send + 'static,
    ) -> Response {
        let handshake = match Handshake::parse(request) {
            Ok(handshake) => handshake,
            Err(error) => return error.into_response(),
        };
        let place = match self.admission.take() {
            Ok(place) => place,
            Err(full) => return full.into_response(),
        };
        let (response, socket) = handshake.complete();
        let Self { hub, loader, stats, tasks, .. } = self;
        tasks.spawn(async move {
            let socket = match socket.await {
                Ok(socket) => socket,
                Err(error) => {
                    debug!(%error, "upgrade failed");
                    return;
                }
            };
            let mut client = Client::new(hub);
            if let Some(ticket) = topic.and_then(|topic| client.subscribe(topic)) {
                loader.start(ticket);
            }
            // Whoever comes after all were closed closes by itself.
            if stats.is_draining() {
                client.mailbox().close(restart(0));
            }
            drop(loader);
            session::run(socket, client, endpoint, &stats).await;
            drop(place);
        });
        response
    }
}

/// An endpoint that listens to what its path says.
struct Fixed;

impl Endpoint for Fixed {
    fn handle(&self, _: Request, client: &mut Client) {
        error(client, r#"this endpoint sends its channel unasked: only {"type":"ping"} is expected"#);
    }
}

/// The endpoint where clients choose symbols.
struct Prices;

impl Prices {
    fn topic(channel: &str) -> Result<Topic, params::Invalid> {
        match channel {
            ALL_PRICES | "all" => Ok(Topic::AllPrices),
            symbol => Ok(Topic::Channel(Kind::Price, params::symbol(symbol)?.to_ascii_lowercase().into())),
        }
    }

    fn subscribe(channel: &str, client: &mut Client) -> Result<(), String> {
        let topic =
            Self::topic(channel).map_err(|invalid| format!("channel: expected {}, or `*`", invalid.expected))?;
        if client.topics().contains(&Topic::AllPrices) {
            return Err("all prices are sent already: unsubscribe from `*` first".to_owned());
        }
        if client.topics().contains(&topic) {
            return Err(format!("`{channel}` is sent already"));
        }
        if topic == Topic::AllPrices {
            // Otherwise these would be sent twice.
            for held in client.topics().to_vec() {
                client.unsubscribe(&held);
            }
        } else if client.topics().len() >= MAX_CHANNELS {
            return Err(format!("a socket may listen to {MAX_CHANNELS} channels: use `*`"));
        }
        let ticket = client.subscribe(topic);
        debug_assert!(ticket.is_none(), "prices are never loaded one by one");
        Ok(())
    }

    fn unsubscribe(channel: &str, client: &mut Client) -> Result<(), String> {
        let held = Self::topic(channel).is_ok_and(|topic| client.unsubscribe(&topic));
        if !held {
            return Err(format!("`{channel}` is not subscribed to"));
        }
        client.mailbox().push_text(Reply::Unsubscribed { channel }.encode());
        Ok(())
    }
}

impl Endpoint for Prices {
    fn handle(&self, request: Request, client: &mut Client) {
        let done = match request {
            Request::Subscribe(channel) => Self::subscribe(&channel, client),
            Request::Unsubscribe(channel) => Self::unsubscribe(&channel, client),
            Request::Ping => Ok(()),
        };
        if let Err(message) = done {
            error(client, &message);
        }
    }
}

fn error(client: &Client, message: &str) {
    client.mailbox().push_text(Reply::Error { message }.encode());
}
