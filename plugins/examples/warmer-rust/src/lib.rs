//! A warmer that never asks an origin: what a slower tier holds and memory lacks is copied up before readers ask for it.
//!
//! `{"watch": ["market:overview"]}` names keys to keep near whoever reads them. It needs no state: the host tells all.

use std::cell::RefCell;

use serde::Deserialize;
use tiergate::plugin::types::{Kind, PluginError};

use exports::tiergate::plugin::warmer::{Action, Guest, Holding, KeyState, Step};
use exports::tiergate::plugin::{lifecycle, state};

wit_bindgen::generate!({ path: "wit", world: "warmer-plugin" });

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    watch: Vec<String>,
}

thread_local! {
    static CONFIG: RefCell<Config> = RefCell::default();
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
        Ok(b"{}".to_vec())
    }

    fn restore(saved: Vec<u8>) -> Result<(), PluginError> {
        match &*saved {
            b"{}" => Ok(()),
            _ => Err(PluginError::InvalidInput("this warmer keeps no state".to_owned())),
        }
    }
}

impl Guest for Plugin {
    fn watches() -> Vec<String> {
        CONFIG.with_borrow(|config| config.watch.clone())
    }

    fn plan(now: u64, keys: Vec<KeyState>, _max_actions: u32) -> Result<Vec<Action>, PluginError> {
        Ok(keys.into_iter().map(|key| look(now, key)).collect())
    }
}

/// What to do with one key: the more readers miss it, the sooner it is copied.
fn look(now: u64, key: KeyState) -> Action {
    let below = |holding: &Holding| matches!(holding, Holding::Until(until) if *until > now);
    let (step, reason) = match () {
        () if key.in_memory => (Step::Leave, "memory has it"),
        () if key.kind != Some(Kind::Real) => (Step::Leave, "no real value is known"),
        () if !key.tiers.iter().any(below) => (Step::Leave, "no tier has it"),
        () => (Step::Promote, "a slower tier has it and memory does not"),
    };
    let missed = u8::try_from(key.misses).unwrap_or(u8::MAX);
    let priority = if step == Step::Leave { 0 } else { missed.max(1) };
    Action { key: key.key, step, body: Vec::new(), priority, next_at: None, reason: reason.to_owned() }
}

export!(Plugin);
