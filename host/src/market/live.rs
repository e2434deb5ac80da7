//! The live document: all that the mobile page shows, told once in full and from then on by what changed.
//!
//! It is made of two views: `mobile-data` without its lists of symbols, and `symbols` up to [`SYMBOLS_MAX`]. It is one object
//! whose `symbols` are an object too, by name, so that an RFC 7396 merge patch says exactly what changed, and nothing else.
//! It is made at most once for each change, only while somebody asks or listens, and all clients share the same bytes.

mod document;
mod message;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};

pub use message::{GZIP_HEAD, Message};

use self::document::{LiveDocument, merge_patch};
use super::views::{OTHER_LIMITS_KEPT_MAX, ViewError, limits};
use super::{AggregatorError, Market, Snapshot, ViewRequest};
use crate::record::Time;

/// Symbols in the live document; of more the best scores are shown.
const SYMBOLS_MAX: u32 = 1_000;

/// Symbols asked for with the rest of the document: no fewer than the longest of its other lists.
const OTHERS_MAX: u32 = 10;

/// Changes that a client which comes back may have missed; after more it fetches the document again.
const PATCHES_KEPT_MAX: usize = 256;

/// The same in bytes.
const PATCHES_KEPT_BYTES_MAX: usize = 4 << 20;

/// Messages that may wait for a slow client; one that is further behind fetches the document again.
const BEHIND_MAX: usize = 64;

/// How often listeners are told that there is nothing to tell.
const BEAT_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Live {
    /// Counts the times that the views were composed.
    composed: watch::Sender<u64>,
    messages: broadcast::Sender<Arc<Message>>,
    state: Mutex<State>,
}

struct State {
    /// Tells this process's versions from those of another.
    epoch: String,
    number: u64,
    /// What `composed` was when the document was made.
    made_of: Option<u64>,
    document: LiveDocument,
    as_of: Option<Time>,
    fresh_until: Option<Time>,
    patches: VecDeque<Patch>,
    patches_bytes: usize,
    /// The document with so many symbols; at most [`OTHER_LIMITS_KEPT_MAX`], until the next change.
    snapshots: HashMap<usize, Arc<Snapshot>>,
}

struct Patch {
    /// The number of the document that it changes.
    from: u64,
    message: Arc<Message>,
}

/// What a listener gets: first `backlog`, then what `messages` tells.
pub struct Subscription {
    /// What it missed, or that it must fetch the document again.
    pub backlog: Vec<Arc<Message>>,
    /// Whatever comes.
    pub messages: broadcast::Receiver<Arc<Message>>,
}

// === impl Live ===

impl Default for Live {
    fn default() -> Self {
        let state = State {
            epoch: format!("{:x}", Time::now().micros()),
            number: 0,
            made_of: None,
            document: LiveDocument::default(),
            as_of: None,
            fresh_until: None,
            patches: VecDeque::new(),
            patches_bytes: 0,
            snapshots: HashMap::new(),
        };
        Self { composed: watch::channel(0).0, messages: broadcast::channel(BEHIND_MAX).0, state: Mutex::new(state) }
    }
}

impl Live {
    /// The views were composed anew.
    pub fn composed(&self) {
        self.composed.send_modify(|times| *times += 1);
    }
}

// === impl State ===

impl State {
    fn version(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// The number in a version of this process.
    fn number(&self, version: &str) -> Option<u64> {
        version.strip_prefix(&self.epoch)?.strip_prefix('-')?.parse().ok()
    }

    /// What a client that has `since` missed.
    fn missed(&self, since: Option<u64>) -> Option<Vec<Arc<Message>>> {
        let since = since?;
        if since == self.number {
            return Some(Vec::new());
        }
        let first = self.patches.iter().position(|patch| patch.from == since)?;
        Some(self.patches.range(first..).map(|patch| patch.message.clone()).collect())
    }

    /// Takes the next document; answers the message that tells of it, if it differs.
    fn advance(&mut self, next: LiveDocument) -> std::io::Result<Option<Arc<Message>>> {
        let Some(patch) = merge_patch(self.document.as_value(), next.as_value()) else {
            self.document = next; // The order may be another one.
            return Ok(None);
        };
        let (from, to) = (self.version(self.number), self.version(self.number + 1));
        let data = json!({ "from": from, "to": to, "patch": patch });
        let message = Arc::new(Message::new("patch", Some(&to), &data)?);
        self.document = next;
        self.patches.push_back(Patch { from: self.number, message: message.clone() });
        self.patches_bytes += message.bytes();
        while self.patches.len() > PATCHES_KEPT_MAX || self.patches_bytes > PATCHES_KEPT_BYTES_MAX {
            let Some(oldest) = self.patches.pop_front() else { break };
            self.patches_bytes -= oldest.message.bytes();
        }
        self.number += 1;
        Ok(Some(message))
    }
}

// === impl Market ===

impl Market {
    /// The live document with the `limit` best symbols, and how many there are.
    ///
    /// # Errors
    ///
    /// When the aggregator fails.
    pub async fn live(&self, limit: u32) -> Result<Arc<Snapshot>, ViewError> {
        let mut state = self.live.state.lock().await;
        self.bring_up_to_date(&mut state).await?;
        // Whoever asks for more than there is asks for all.
        let limit = state.document.symbols().min(limit as usize);
        if let Some(known) = state.snapshots.get(&limit) {
            return Ok(known.clone());
        }
        let body = state.document.first(limit, &state.version(state.number));
        let snapshot = Snapshot::new(body, state.as_of, state.fresh_until).map(Arc::new).map_err(encoding)?;
        if state.snapshots.len() < OTHER_LIMITS_KEPT_MAX {
            state.snapshots.insert(limit, snapshot.clone());
        }
        Ok(snapshot)
    }

    /// Listens to the changes of the live document after the version `since`.
    ///
    /// # Errors
    ///
    /// When the aggregator fails.
    pub async fn listen(&self, since: Option<&str>) -> Result<Subscription, ViewError> {
        let mut state = self.live.state.lock().await;
        self.bring_up_to_date(&mut state).await?;
        let backlog = match state.missed(since.and_then(|version| state.number(version))) {
            Some(missed) => missed,
            None => vec![Arc::new(Message::reset().map_err(encoding)?)],
        };
        // Under the lock, so that no change falls between the backlog and what is listened to.
        Ok(Subscription { backlog, messages: self.live.messages.subscribe() })
    }

    /// Counts the times that the views were composed.
    pub fn compositions(&self) -> watch::Receiver<u64> {
        self.live.composed.subscribe()
    }

    /// Tells listeners of every change, and now and then that there is none.
    pub(super) async fn tell(&self) {
        let mut composed = self.live.composed.subscribe();
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let beat = tokio::select! {
                // The sender lives as long as the market.
                changed = composed.changed() => { if changed.is_err() { return; } false }
                _ = beats.tick() => true,
            };
            if self.live.messages.receiver_count() == 0 {
                continue;
            }
            let mut state = self.live.state.lock().await;
            let told = match self.bring_up_to_date(&mut state).await {
                Ok(()) if beat => self.beat(&state),
                told => told,
            };
            if let Err(error) = told {
                tracing::error!(%error, "the live document could not be made; the last one stays");
            }
        }
    }

    async fn bring_up_to_date(&self, state: &mut State) -> Result<(), ViewError> {
        let composed = *self.live.composed.borrow();
        if state.made_of == Some(composed) {
            return Ok(());
        }
        let now = Time::now();
        let documents = self.documents.live(now);
        let request = |name: &str, limit| ViewRequest { name: name.to_owned(), limit };
        let requests = vec![request("mobile-data", OTHERS_MAX), request("symbols", SYMBOLS_MAX)];
        let bodies = self.aggregator.compose(now, requests, documents.clone()).await?;
        let unread = |error: String| AggregatorError::Plugin(format!("the views cannot be read: {error}"));
        let [mobile, symbols] = bodies.as_slice() else { return Err(unread("two were asked for".to_owned()).into()) };
        let next = LiveDocument::of(mobile, symbols).map_err(|error| unread(error.to_string()))?;
        (state.as_of, state.fresh_until) = limits(&documents);
        let message = state.advance(next).map_err(encoding)?;
        state.made_of = Some(composed);
        state.snapshots.clear();
        if let Some(message) = message {
            self.send(message);
        }
        Ok(())
    }

    fn beat(&self, state: &State) -> Result<(), ViewError> {
        let now = Time::now().micros() / 1_000;
        let data: Value = json!({ "version": state.version(state.number), "now_ms": now });
        self.send(Arc::new(Message::new("beat", None, &data).map_err(encoding)?));
        Ok(())
    }

    fn send(&self, message: Arc<Message>) {
        if self.live.messages.send(message).is_err() {
            tracing::trace!("nobody listens");
        }
    }
}

fn encoding(error: std::io::Error) -> ViewError {
    ViewError::Encode(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(score: u32) -> LiveDocument {
        let symbols = json!({ "symbols": [{ "symbol": "BTCUSDT", "score": score }] });
        LiveDocument::of(b"{\"status\":\"success\"}", symbols.to_string().as_bytes()).unwrap()
    }

    fn state() -> State {
        Live::default().state.into_inner()
    }

    #[test]
    fn a_client_that_comes_back_gets_what_it_missed_or_is_told_to_fetch_the_whole() {
        let mut state = state();
        for score in 0..3 {
            assert!(state.advance(document(score)).unwrap().is_some());
        }
        assert!(state.advance(document(2)).unwrap().is_none(), "nothing changed, nothing is told");
        let missed = |state: &State, since: &str| state.missed(state.number(since)).map(|missed| missed.len());
        let version = |number| state.version(number);
        assert_eq!(missed(&state, &version(3)), Some(0));
        assert_eq!(missed(&state, &version(1)), Some(2));
        assert_eq!(missed(&state, &version(4)), None, "of the future");
        for foreign in ["0-1", "", "x", &format!("{}-x", state.epoch)] {
            assert_eq!(missed(&state, foreign), None, "{foreign}");
        }
        assert!(state.missed(None).is_none());
    }

    #[test]
    fn as_many_changes_are_kept_as_allowed_and_not_one_more() {
        let mut state = state();
        for score in 0..=PATCHES_KEPT_MAX as u32 {
            state.advance(document(score)).unwrap();
        }
        assert_eq!(state.patches.len(), PATCHES_KEPT_MAX);
        assert!(state.missed(Some(0)).is_none());
        assert_eq!(state.missed(Some(1)).unwrap().len(), PATCHES_KEPT_MAX);
        assert_eq!(state.patches_bytes, state.patches.iter().map(|patch| patch.message.bytes()).sum::<usize>());
    }
}
