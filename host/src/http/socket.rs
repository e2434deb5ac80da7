//! `/ws`: what pages of the system before this one understand (contract, 5.7), made live.
//!
//! | the page sends | it gets |
//! | --- | --- |
//! | `{"type": "ping"}` | `{"type": "pong", "timestamp"}` |
//! | `{"type": "subscribe", "channel"}` | `{"type": "subscribed", "channel", "timestamp"}` |
//! | nothing for [`QUIET_MAX`] | `{"type": "heartbeat", "timestamp"}` |
//! | what is no JSON | the end of the connection |
//!
//! Whenever the views change, and at most once per [`UPDATE_EVERY`], it is told `{"type": "price_update", "timestamp"}`, upon
//! which that page fetches its symbols again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_tungstenite::tungstenite::Message;
use hyper_tungstenite::tungstenite::error::ProtocolError;
use hyper_tungstenite::tungstenite::protocol::WebSocketConfig;
use hyper_tungstenite::{HyperWebsocket, WebSocketStream};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::App;
use super::listen::told;
use super::live::Place;
use super::respond::{Answer, Refusal};
use crate::market::Market;
use crate::record::Time;

/// After so long without a word from the page it gets a heartbeat.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// The page fetches a whole list at every update.
const UPDATE_EVERY: Duration = Duration::from_secs(1);

/// How long a page may take to read what it is sent.
const SEND_MAX: Duration = Duration::from_secs(10);

/// Bytes of a message from the page, far more than it has to say.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Bytes that wait to be sent to one page.
const WRITE_BUFFER_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type", default)]
    what: String,
    #[serde(default)]
    channel: Value,
}

/// Answers the handshake; the connection goes on by itself until it ends or `stop` is told.
pub(super) fn upgrade(
    app: &App,
    mut request: Request<Incoming>,
    stop: watch::Receiver<bool>,
) -> Result<Answer, Refusal> {
    if !hyper_tungstenite::is_upgrade_request(&request) {
        let message = "`/ws` speaks WebSocket; events over plain HTTP are at `/api/dashboard/stream`".to_owned();
        return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "no-upgrade", message));
    }
    let place = Place::take(app)?;
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MESSAGE_BYTES_MAX);
    config.max_frame_size = Some(MESSAGE_BYTES_MAX);
    config.read_buffer_size = MESSAGE_BYTES_MAX;
    config.write_buffer_size = 0;
    config.max_write_buffer_size = WRITE_BUFFER_BYTES_MAX;
    let (answer, socket) = hyper_tungstenite::upgrade(&mut request, Some(config))
        .map_err(|error: ProtocolError| Refusal::new(StatusCode::BAD_REQUEST, "bad-handshake", error.to_string()))?;
    let market = app.market.clone();
    tokio::spawn(async move {
        let _place = place;
        if let Err(error) = serve(socket, &market, stop).await {
            tracing::debug!(%error, "a WebSocket ended early");
        }
    });
    Ok(answer.map(|_| Full::default()))
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Socket(#[from] hyper_tungstenite::tungstenite::Error),
    #[error("the page did not read for {SEND_MAX:?}")]
    NotRead,
}

async fn serve(socket: HyperWebsocket, market: &Arc<Market>, mut stop: watch::Receiver<bool>) -> Result<(), Ended> {
    let mut socket = socket.await?;
    let mut composed = market.compositions();
    let (mut heard, mut told_at) = (Instant::now(), Instant::now());
    loop {
        let answer = tokio::select! {
            () = told(&mut stop) => break,
            said = socket.next() => {
                heard = Instant::now();
                match said {
                    None | Some(Ok(Message::Close(_))) => break,
                    Some(Ok(Message::Text(text))) => match reply(text.as_bytes()) {
                        Ok(Some(answer)) => answer,
                        Ok(None) => continue,
                        Err(error) => {
                            tracing::debug!(%error, "a page said what is no JSON");
                            break;
                        }
                    },
                    // The library answers pings.
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(error.into()),
                }
            }
            () = update(&mut composed, told_at + UPDATE_EVERY) => {
                told_at = Instant::now();
                stamped("price_update")
            }
            () = sleep_until(heard + QUIET_MAX) => {
                heard = Instant::now();
                stamped("heartbeat")
            }
        };
        send(&mut socket, Message::text(answer.to_string())).await?;
    }
    send(&mut socket, Message::Close(None)).await
}

/// Ends when the views have changed and the page may be told again.
async fn update(composed: &mut watch::Receiver<u64>, not_before: Instant) {
    sleep_until(not_before).await;
    if composed.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn send(socket: &mut WebSocketStream<TokioIo<Upgraded>>, message: Message) -> Result<(), Ended> {
    Ok(timeout(SEND_MAX, socket.send(message)).await.map_err(|_| Ended::NotRead)??)
}

/// What is answered to a message; nothing to what means nothing.
fn reply(message: &[u8]) -> serde_json::Result<Option<Value>> {
    let value: Value = serde_json::from_slice(message)?;
    let Ok(Said { what, channel }) = Said::deserialize(value) else { return Ok(None) };
    Ok(match what.as_str() {
        "ping" => Some(stamped("pong")),
        "subscribe" => {
            let mut answer = stamped("subscribed");
            answer["channel"] = channel;
            Some(answer)
        }
        _ => None,
    })
}

fn stamped(what: &str) -> Value {
    json!({ "type": what, "timestamp": Time::now().seconds_f64() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_answered_as_it_was_before() {
        let answered =
            |said: &str| reply(said.as_bytes()).ok().map(|answer| answer.map(|answer| answer["type"].clone()));
        assert_eq!(answered(r#"{"type":"ping"}"#), Some(Some("pong".into())));
        assert_eq!(answered(r#"{"type":"subscribe","channel":"signals"}"#), Some(Some("subscribed".into())));
        for nothing in ["[]", "1", "{}", r#"{"type":1}"#, r#"{"type":"other"}"#] {
            assert_eq!(answered(nothing), Some(None), "{nothing}");
        }
        assert_eq!(answered("no json"), None);
        let subscribed = reply(br#"{"type":"subscribe","channel":"signals"}"#).unwrap().unwrap();
        assert_eq!(subscribed["channel"], "signals");
        assert!(subscribed["timestamp"].is_number());
    }
}
