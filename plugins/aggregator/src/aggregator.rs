//! The aggregator itself: its memory, and the calls of the interface.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::btc::{self, DailyPrices};
use crate::config::Config;
use crate::contract::{Document, Error, Micros, Publication, Rejected, Signal, ViewRequest};
use crate::documents::{self, Inputs, Scene};
use crate::number::round;
use crate::observed::Observed;
use crate::signal::Reader;
use crate::statistics::{Moves, mean};
use crate::table::Table;
use crate::time::SECOND;
use crate::views;

/// The version of the saved state.
const FORMAT: u32 = 1;
/// Dispersions that are remembered: with one a minute, a day.
const DISPERSIONS_MAX: usize = 1440;
/// How long a dispersion is the current one before the next is added.
const DISPERSION_STEP: Micros = 60 * SECOND;

/// Adds signals up. See the crate's documentation.
#[derive(Debug)]
pub struct Aggregator {
    config: Config,
    memory: Memory,
}

/// Everything that outlives an instance.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    format: u32,
    table: Table,
    btc: DailyPrices,
    dispersions: VecDeque<(Micros, f64)>,
    observed: Observed,
    /// Whether something was ingested or observed since the documents were last made.
    changed: bool,
    /// The timestamp of the documents, by which the cache tells a newer one from an older: it moves with every signal and with
    /// every change of what others know, and never back. None in a state that was saved before there was a stamp.
    #[serde(default)]
    stamp: Micros,
    /// The digest of each document as it was last published.
    published: BTreeMap<String, u64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            format: FORMAT,
            table: Table::default(),
            btc: DailyPrices::default(),
            dispersions: VecDeque::new(),
            observed: Observed::default(),
            changed: false,
            stamp: 0,
            published: BTreeMap::new(),
        }
    }
}

impl Memory {
    /// Moves the stamp: documents that are made from now on may differ from those before, and are of `made` at least.
    ///
    /// It looks at no clock, and does not depend on how often documents are asked for, nor on which of several signals counts:
    /// aggregators that are given the same in the same order come to the same stamp, even if their rules differ.
    fn step(&mut self, made: Micros) {
        self.stamp = self.stamp.saturating_add(1).max(made);
    }
}

impl Aggregator {
    /// An aggregator that has ingested nothing. `config` is the operator's JSON.
    pub fn new(config: &[u8]) -> Result<Self, Error> {
        Ok(Self { config: Config::from_json(config)?, memory: Memory::default() })
    }

    /// Takes a batch of signals in the order in which they were accepted; answers those that it refused.
    pub fn ingest(&mut self, now: Micros, batch: Vec<Signal>) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for signal in batch {
            let reader = Reader { config: &self.config, now, received_at: signal.received_at, seq: signal.seq };
            match reader.body(&signal.body) {
                Ok(record) => {
                    let btc = record.price.filter(|_| record.symbol == btc::SYMBOL);
                    self.memory.step(record.timestamp);
                    if self.memory.table.offer(record, now, &self.config) {
                        self.memory.changed = true;
                        if let Some(price) = btc {
                            self.memory.btc.note(now, price);
                        }
                    }
                }
                Err(fault) => rejected.push(Rejected { seq: signal.seq, code: fault.code, message: fault.message }),
            }
        }
        rejected
    }

    /// Takes note of documents that other producers changed. What this plugin published itself changes nothing.
    pub fn observe(&mut self, changed: &[Document]) {
        for document in changed {
            if self.memory.observed.note(document) {
                self.memory.changed = true;
                // However new it is, the signals become no newer by it.
                self.memory.step(0);
            }
        }
    }

    /// The documents that changed since they were last published. Without a signal in the window there are none: an empty
    /// document would replace what is known by what is not.
    pub fn documents(&mut self, now: Micros) -> Result<Vec<Publication>, Error> {
        if !self.memory.changed {
            return Ok(Vec::new());
        }
        let held = self.memory.table.current(now, self.config.window());
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let changes: Vec<f64> = held.iter().filter_map(|held| held.record.change_24h).collect();
        let moves = Moves::of(&changes);
        remember(&mut self.memory.dispersions, now, moves.dispersion);
        let inputs = Inputs {
            now,
            observed: &self.memory.observed,
            avg_dispersion: mean(self.memory.dispersions.iter().map(|(_, dispersion)| *dispersion))
                .map(|dispersion| round(dispersion, 2)),
            btc: self.memory.btc.volatility(),
        };
        let newest = held.iter().map(|held| held.record.timestamp).max();
        let scene = Scene { config: &self.config, stamp: self.memory.stamp, held: &held, moves };
        let mut documents = documents::all(&scene, &inputs)?;
        self.memory.changed = false;
        let published = &mut self.memory.published;
        documents.retain(|document| {
            let digest = digest(newest, &document.body);
            published.insert(document.key.to_owned(), digest) != Some(digest)
        });
        Ok(documents)
    }

    /// The keys that views are composed from.
    pub fn inputs() -> Vec<String> {
        views::INPUTS.iter().map(|key| (*key).to_owned()).collect()
    }

    /// The bodies of the views, in the order of `views`, from the documents that exist. Changes nothing.
    pub fn compose(&self, now: Micros, views: &[ViewRequest], documents: &[Document]) -> Result<Vec<Vec<u8>>, Error> {
        views::compose(&self.config, now, views, documents)
    }

    /// How many symbols are remembered.
    pub fn symbols(&self) -> usize {
        self.memory.table.len()
    }

    /// Everything that is remembered. Equal memories give equal bytes.
    pub fn save(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(&self.memory).map_err(|error| Error::Internal(format!("state: {error}")))
    }

    /// Replaces the memory. On an error it is as before.
    pub fn restore(&mut self, saved: &[u8]) -> Result<(), Error> {
        let mut memory: Memory =
            serde_json::from_slice(saved).map_err(|error| Error::InvalidInput(format!("saved state: {error}")))?;
        if memory.format != FORMAT {
            return Err(Error::InvalidInput(format!(
                "saved state: format {}; this version reads format {FORMAT}",
                memory.format
            )));
        }
        // Where no stamp was saved it begins at the newest record; what was saved with one is never behind it.
        memory.stamp = memory.stamp.max(memory.table.newest());
        memory.table.forget_over(&self.config);
        self.memory = memory;
        Ok(())
    }
}

/// Adds a dispersion, or replaces the current one while it is younger than a step, so that the mean does not depend on how
/// often documents are asked for.
fn remember(dispersions: &mut VecDeque<(Micros, f64)>, now: Micros, dispersion: Option<f64>) {
    let Some(dispersion) = dispersion else { return };
    match dispersions.back_mut() {
        Some((at, current)) if now < at.saturating_add(DISPERSION_STEP) => *current = dispersion,
        _ => dispersions.push_back((now, dispersion)),
    }
    while dispersions.len() > DISPERSIONS_MAX {
        dispersions.pop_front();
    }
}

/// The digest of a document: of how new its newest record is and of all that follows its stamp, because a stamp that moved is
/// no news by itself.
fn digest(newest: Option<Micros>, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    // The stamp is a document's first field, and a number holds no comma.
    let content = body.iter().position(|byte| *byte == b',').map_or(body, |comma| &body[comma..]);
    (newest, content).hash(&mut hasher);
    hasher.finish()
}
