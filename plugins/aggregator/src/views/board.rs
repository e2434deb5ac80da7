//! What all views of a call are drawn from: every document read once, every list made once.

use std::collections::HashMap;

use serde_json::Value;

use super::BREAKDOWN;
use super::breadth::{self, Breadth};
use super::entry::{Card, Entry, Shown};
use super::facts::{self, BTC_DOMINANCE, Facts};
use super::movers::Movers;
use super::opportunity::{self, Opportunity};
use super::perps::Perps;
use super::section::{Fields, Opened, Section, Sections, Shelf, Source};
use crate::config::Config;
use crate::contract::{Document, Micros};
use crate::documents::{BREADTH, MOVERS, SIGNALS};
use crate::number;
use crate::observed::{DOMINANCE, OVERVIEW};
use crate::signal::Reader;

/// The canonical model of one call.
pub struct Board {
    /// The moment of the call.
    pub now: Micros,
    /// How each section stands.
    pub sections: Sections,
    /// The market in numbers.
    pub facts: Facts,
    /// Gainers and losers.
    pub movers: Movers,
    /// How many rose and fell.
    pub breadth: Breadth,
    /// The perpetuals.
    pub perps: Perps,
    /// Records that could not be shown (B34).
    pub left_out: usize,
    /// Which of the main documents exist, of whatever kind.
    pub found: [(&'static str, bool); 3],
    /// One for each symbol, best score first.
    entries: Vec<Entry>,
    opportunities: Vec<Opportunity>,
}

impl Board {
    /// Reads `documents`.
    pub fn of(config: &Config, now: Micros, documents: &[Document]) -> Self {
        let shelf = Shelf::of(documents);
        let overview = shelf.open(OVERVIEW);
        let mut signals = shelf.open(SIGNALS);
        let movers = shelf.open(MOVERS);
        let breadth = shelf.open(BREADTH).only_if(breadth::counts_something);
        let regime = shelf.open("analysis:market_regime").only_if(facts::names_a_regime);
        let dominance = shelf.open(DOMINANCE);
        let tickers = shelf.open("market:tickers");
        let derivatives = shelf.open("coingecko:derivatives");

        let records = take_records(&mut signals);
        let offered = records.len();
        let reader = Reader { config, now, received_at: signals.produced_at, seq: 0 };
        let mut newest = 0;
        let mut entries: Vec<Entry> = records
            .into_iter()
            .filter_map(|fields| {
                let record = reader.given(fields.into()).ok()?;
                newest = newest.max(record.timestamp);
                let breakdown = shelf.open(&format!("{BREAKDOWN}{}", record.symbol));
                let ticker = tickers.fields.as_ref().and_then(|all| all.get(&record.symbol)).and_then(Value::as_object);
                Some(Entry::join(record, breakdown, ticker))
            })
            .collect();
        let unreadable = offered - entries.len();
        // B64: a producer with a longer window mixes old scores with current symbols. Against the newest signal, and not
        // the clock, so that the last signals of a producer that died stay, as old.
        entries.retain(|entry| newest.saturating_sub(entry.record.timestamp) < config.window());
        let unshown = unreadable + entries.iter().filter(|entry| entry.shown().is_none()).count();
        let facts = Facts::of(
            overview.fields.as_ref(),
            regime.fields.as_ref(),
            dominance.fields.as_ref(),
            signals.fields.as_ref(),
        );
        let opportunities = opportunity::best(&entries);
        let entries = one_for_each_symbol(entries);
        let shown: Vec<Shown<'_>> = entries.iter().filter_map(Entry::shown).collect();
        let top_movers = Movers::of(movers.fields.as_ref(), &shown);
        let breadth_shown = Breadth::of(breadth.fields.as_ref(), &facts, &entries);
        // A section stands on the document that its numbers were taken from.
        let taken = |own: &Opened, found: bool, other: Section| match own.fields {
            None if found => other,
            _ => own.section,
        };
        let has_counts = overview.fields.as_ref().is_some_and(|all| number::first(all, &["gainers"]).is_some());
        let breadth_from = if has_counts { overview.section } else { signals.section };
        let has_dominance = overview.fields.as_ref().is_some_and(|all| number::first(all, BTC_DOMINANCE).is_some());
        Self {
            now,
            sections: Sections {
                overview: overview.section,
                signals: signals.section,
                movers: movers.section,
                breadth: taken(&breadth, breadth_shown.is_known(), breadth_from),
                regime: taken(&regime, !facts.get("market_regime").is_null(), overview.section),
                dominance: if has_dominance { overview.section } else { dominance.section },
                tickers: tickers.section,
            },
            breadth: breadth_shown,
            perps: Perps::of(derivatives.fields.as_ref()),
            left_out: unshown + top_movers.left_out,
            found: [OVERVIEW, SIGNALS, MOVERS].map(|key| (key, shelf.has(key))),
            facts,
            movers: top_movers,
            entries,
            opportunities,
        }
    }

    /// The entries that lists may show, best score first.
    pub fn shown(&self, limit: usize) -> impl Iterator<Item = Shown<'_>> {
        self.entries.iter().filter_map(Entry::shown).take(limit)
    }

    /// Their cards.
    pub fn cards(&self, limit: usize) -> Vec<Card<'_>> {
        self.shown(limit).map(|shown| shown.card()).collect()
    }

    /// The best opportunities.
    pub fn opportunities(&self, limit: usize) -> &[Opportunity] {
        self.opportunities.get(..limit.min(self.opportunities.len())).unwrap_or_default()
    }

    /// What the whole stands on.
    pub fn source(&self) -> Source {
        self.sections.source()
    }

    /// Seconds of the call.
    pub fn timestamp(&self) -> u64 {
        self.now / crate::time::SECOND
    }
}

/// Takes the records out of the signals, under either name of the list (B52). What is no object becomes an empty one, which
/// no reader accepts, so that it is counted.
fn take_records(signals: &mut Opened) -> Vec<Fields> {
    let Some(fields) = signals.fields.as_mut() else { return Vec::new() };
    let mut list = |name| match fields.remove(name) {
        Some(Value::Array(records)) => records,
        _ => Vec::new(),
    };
    let (records, alias) = (list("signals"), list("recent_signals"));
    let records = if records.is_empty() { alias } else { records };
    records.into_iter().map(|record| if let Value::Object(fields) = record { fields } else { Fields::new() }).collect()
}

/// The newest entry of each symbol, the higher score of equally new ones; best score first, then by symbol.
fn one_for_each_symbol(entries: Vec<Entry>) -> Vec<Entry> {
    let mut newest: HashMap<String, Entry> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let age = |entry: &Entry| (entry.record.timestamp, entry.record.score);
        if newest.get(&entry.record.symbol).is_none_or(|known| age(known) < age(&entry)) {
            newest.insert(entry.record.symbol.clone(), entry);
        }
    }
    let mut entries: Vec<Entry> = newest.into_values().collect();
    entries.sort_unstable_by(|a, b| {
        b.record.score.total_cmp(&a.record.score).then_with(|| a.record.symbol.cmp(&b.record.symbol))
    });
    entries
}
