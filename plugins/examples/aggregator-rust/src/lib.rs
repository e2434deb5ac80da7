//! An aggregator that keeps one list: the symbols with the highest scores, each with its latest signal.
//!
//! It publishes `strongest:symbols`, at most `{"count": 10}` of them, and answers every view with that list.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tiergate::plugin::types::{Document, Kind, PluginError};

use exports::tiergate::plugin::aggregator::{Guest, Publication, Rejected, Signal, ViewRequest};
use exports::tiergate::plugin::{lifecycle, state};

wit_bindgen::generate!({ path: "wit", world: "aggregator-plugin" });

const KEY: &str = "strongest:symbols";
const VIEWS: [&str; 6] = ["mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"];
/// Symbols that are remembered; a signal of one more is refused.
const SYMBOLS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    count: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { count: 10 }
    }
}

/// A signal, as far as it matters here.
#[derive(Deserialize)]
struct Scored {
    symbol: String,
    #[serde(alias = "confluence_score")]
    score: f64,
}

/// What is remembered.
#[derive(Default, Serialize, Deserialize)]
struct State {
    scores: BTreeMap<String, f64>,
    /// Whether there is something that was not published yet.
    changed: bool,
}

thread_local! {
    static CONFIG: RefCell<Config> = RefCell::default();
    static STATE: RefCell<State> = RefCell::default();
}

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn describe() -> lifecycle::Info {
        lifecycle::Info { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }

    fn init(config: Vec<u8>) -> Result<(), PluginError> {
        let config = serde_json::from_slice(&config).map_err(|error| PluginError::InvalidInput(error.to_string()))?;
        CONFIG.set(config);
        Ok(())
    }
}

impl state::Guest for Plugin {
    fn save() -> Result<Vec<u8>, PluginError> {
        STATE.with_borrow(serde_json::to_vec).map_err(|error| PluginError::Internal(error.to_string()))
    }

    fn restore(saved: Vec<u8>) -> Result<(), PluginError> {
        let state = serde_json::from_slice(&saved).map_err(|error| PluginError::InvalidInput(error.to_string()))?;
        STATE.set(state);
        Ok(())
    }
}

impl Guest for Plugin {
    fn ingest(_now: u64, batch: Vec<Signal>) -> Result<Vec<Rejected>, PluginError> {
        Ok(STATE.with_borrow_mut(|state| batch.into_iter().filter_map(|signal| take(state, &signal).err()).collect()))
    }

    fn observe(_now: u64, _changed: Vec<Document>) -> Result<(), PluginError> {
        Ok(())
    }

    fn documents(_now: u64) -> Result<Vec<Publication>, PluginError> {
        let body = STATE.with_borrow_mut(|state| std::mem::take(&mut state.changed).then(|| strongest(state)));
        let publication = |body: Value| Publication { key: KEY.into(), body: body.to_string().into(), ttl_seconds: 300 };
        Ok(body.map(publication).into_iter().collect())
    }

    fn inputs() -> Vec<String> {
        vec![KEY.to_owned()]
    }

    fn compose(_now: u64, views: Vec<ViewRequest>, documents: Vec<Document>) -> Result<Vec<Vec<u8>>, PluginError> {
        let document = documents.iter().find(|document| document.key == KEY && document.kind == Kind::Real);
        let strongest = document.and_then(|document| serde_json::from_slice::<Vec<Value>>(&document.body).ok());
        let status = if strongest.is_some() { "success" } else { "unavailable" };
        let strongest = strongest.unwrap_or_default();
        let compose = |view: ViewRequest| match VIEWS.contains(&&*view.name) {
            true => {
                let list: Vec<_> = strongest.iter().take(view.limit as usize).collect();
                Ok(json!({ "status": status, "symbols": list }).to_string().into_bytes())
            }
            false => Err(PluginError::Unsupported(format!("there is no view `{}`", view.name))),
        };
        views.into_iter().map(compose).collect()
    }
}

fn take(state: &mut State, signal: &Signal) -> Result<(), Rejected> {
    let refuse = |code: &str, message: String| Rejected { seq: signal.seq, code: code.to_owned(), message };
    let scored: Scored =
        serde_json::from_slice(&signal.body).map_err(|error| refuse("wrong-shape", format!("$: {error}")))?;
    if scored.symbol.is_empty() || scored.symbol.len() > 32 {
        return Err(refuse("bad-symbol", "$.symbol: 1 to 32 bytes are taken".to_owned()));
    }
    if !state.scores.contains_key(&scored.symbol) && state.scores.len() >= SYMBOLS_MAX {
        return Err(refuse("too-many-symbols", format!("$.symbol: more than {SYMBOLS_MAX}")));
    }
    state.scores.insert(scored.symbol, scored.score);
    state.changed = true;
    Ok(())
}

fn strongest(state: &State) -> Value {
    let mut symbols: Vec<_> = state.scores.iter().collect();
    symbols.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    symbols.truncate(CONFIG.with_borrow(|config| config.count));
    symbols.into_iter().map(|(symbol, score)| json!({ "symbol": symbol, "score": score })).collect()
}

export!(Plugin);
