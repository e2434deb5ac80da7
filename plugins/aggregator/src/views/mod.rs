//! The views: bodies of the dashboard's routes, composed from the documents of every producer.
//!
//! What every view keeps to:
//! - Sections are independent: one that is missing empties its own fields and nothing else, and the set of fields is the
//!   same in every state (B38). Unknown numbers are `null`, unknown lists are empty (B37).
//! - `status` is `success` when any section has real data, fresh or stale; else `unavailable` (B39).
//! - A document is read once for all views of a call.

mod board;
mod breadth;
mod entry;
mod facts;
mod market_overview;
mod mobile;
mod movers;
mod opportunity;
mod overview;
mod perps;
mod section;
mod signals;
mod symbols;

use serde::Serialize;

use crate::config::Config;
use crate::contract::{Document, Error, Micros, ViewRequest};
use board::Board;

/// The `source` of every view.
const SOURCE: &str = "tiergate";

/// The prefix of the keys of one symbol's breakdown.
const BREAKDOWN: &str = "confluence:breakdown:";

/// The keys that views are composed from.
pub const INPUTS: [&str; 9] = [
    "analysis:signals",
    "market:overview",
    "market:movers",
    "market:breadth",
    "market:tickers",
    "analysis:market_regime",
    "market:btc_dominance",
    "coingecko:derivatives",
    "confluence:breakdown:*",
];

/// The bodies of `views`, in their order.
pub fn compose(
    config: &Config,
    now: Micros,
    views: &[ViewRequest],
    documents: &[Document],
) -> Result<Vec<Vec<u8>>, Error> {
    let board = Board::of(config, now, documents);
    views.iter().map(|view| body(&board, &view.name, view.limit as usize)).collect()
}

fn body(board: &Board, name: &str, limit: usize) -> Result<Vec<u8>, Error> {
    match name {
        "mobile-data" => encode(name, &mobile::of(board, &board.cards(limit), limit)),
        "overview" => encode(name, &overview::of(board, limit)),
        "symbols" => encode(name, &symbols::of(board, limit)),
        "signals" => encode(name, &signals::of(board, limit)),
        "opportunities" => encode(name, &board.opportunities(limit.min(opportunity::TOP))),
        "market-overview" => encode(name, &market_overview::of(board)),
        _ => Err(Error::Unsupported(format!("there is no view `{name}`"))),
    }
}

fn encode(name: &str, view: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(view).map_err(|error| Error::Internal(format!("view `{name}`: {error}")))
}
