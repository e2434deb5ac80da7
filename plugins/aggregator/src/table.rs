//! What is remembered of each symbol: its current record and its latest scores.
//!
//! The cost of a signal does not depend on how many symbols there are: one look-up, and one step in the order of arrival
//! by which the symbol that was silent longest is found when the table is full (B61).

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{Config, Dedupe};
use crate::contract::Micros;
use crate::number::round;
use crate::signal::Record;
use crate::size;

/// Scores that are remembered for each symbol.
const HISTORY_MAX: usize = 24;

/// A symbol's current record, and its scores rounded to one decimal, oldest first, one for each change.
#[derive(Debug, Serialize, Deserialize)]
pub struct Held {
    /// The current record.
    pub record: Record,
    /// The latest scores.
    pub history: Vec<f64>,
    #[serde(skip)]
    arrival: u64,
    /// What the record takes where it is saved and published.
    #[serde(skip)]
    bytes: usize,
}

/// All symbols.
#[derive(Debug, Default)]
pub struct Table {
    symbols: HashMap<String, Held>,
    order: BTreeMap<u64, String>,
    arrivals: u64,
    /// The sum over all symbols.
    bytes: usize,
}

impl Table {
    /// Offers a record; answers whether it became its symbol's current one.
    pub fn offer(&mut self, mut record: Record, now: Micros, config: &Config) -> bool {
        record.score_history.clear();
        let Some(held) = self.symbols.get_mut(&record.symbol) else {
            self.insert(record, Vec::new());
            self.forget_over(config);
            return true;
        };
        if !replaces(&record, &held.record, now, config) {
            return false;
        }
        if let Some(symbol) = self.order.remove(&held.arrival) {
            self.arrivals += 1;
            held.arrival = self.arrivals;
            self.order.insert(held.arrival, symbol);
        }
        self.bytes -= held.bytes;
        held.replace(record);
        self.bytes += held.bytes;
        self.forget_over(config);
        true
    }

    /// The records younger than the window: score descending, then by symbol.
    pub fn current(&self, now: Micros, window: Micros) -> Vec<&Held> {
        let mut current: Vec<&Held> = self.symbols.values().filter(|held| within(&held.record, now, window)).collect();
        current.sort_unstable_by(|a, b| {
            b.record.score.total_cmp(&a.record.score).then_with(|| a.record.symbol.cmp(&b.record.symbol))
        });
        current
    }

    /// The newest record's timestamp, in the window or not; 0 without a record.
    pub fn newest(&self) -> Micros {
        self.symbols.values().map(|held| held.record.timestamp).max().unwrap_or_default()
    }

    /// How many symbols are remembered.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Forgets the symbols that were silent longest until the others are within the bounds. One is always kept.
    pub fn forget_over(&mut self, config: &Config) {
        while self.symbols.len() > config.symbols_max || (self.bytes > config.bytes_max && self.symbols.len() > 1) {
            let Some((_, symbol)) = self.order.pop_first() else { return };
            self.forget(&symbol);
        }
    }

    fn forget(&mut self, symbol: &str) -> Option<Held> {
        let held = self.symbols.remove(symbol)?;
        self.bytes -= held.bytes;
        Some(held)
    }

    fn insert(&mut self, record: Record, history: Vec<f64>) {
        self.arrivals += 1;
        self.order.insert(self.arrivals, record.symbol.clone());
        let mut held = Held { bytes: size::of_record(&record), record, history, arrival: self.arrivals };
        held.remember_score();
        self.bytes += held.bytes;
        self.symbols.insert(held.record.symbol.clone(), held);
    }
}

impl Held {
    fn replace(&mut self, record: Record) {
        let same_score = self.record.score == record.score;
        self.bytes = size::of_record(&record);
        self.record = record;
        if !same_score {
            self.remember_score();
        }
    }

    fn remember_score(&mut self) {
        let rounded = round(self.record.score, 1);
        if self.history.last() == Some(&rounded) {
            return;
        }
        if self.history.len() >= HISTORY_MAX {
            self.history.drain(..=self.history.len() - HISTORY_MAX);
        }
        self.history.push(rounded);
    }
}

/// Whether `new` takes the place of `old`.
fn replaces(new: &Record, old: &Record, now: Micros, config: &Config) -> bool {
    let counts = |record| within(record, now, config.window());
    match config.dedupe {
        Dedupe::Highest if counts(old) => counts(new) && new.score > old.score,
        Dedupe::Newest | Dedupe::Highest => new.is_newer_than(old),
    }
}

fn within(record: &Record, now: Micros, window: Micros) -> bool {
    now.saturating_sub(record.timestamp) < window
}

/// Saved as the list of symbols in the order of arrival, so that equal tables give equal bytes.
impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.order.values().filter_map(|symbol| self.symbols.get(symbol)))
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Self::default();
        for held in Vec::<Held>::deserialize(deserializer)? {
            if let Some(twice) = table.forget(&held.record.symbol) {
                table.order.remove(&twice.arrival);
            }
            table.insert(held.record, held.history);
        }
        Ok(table)
    }
}
