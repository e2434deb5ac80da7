//! The default aggregator: adds the signals of many symbols up to the documents and views of the dashboard.
//!
//! The logic is plain Rust that runs anywhere; only `guest` knows that it lives in a WebAssembly component.
//!
//! ```text
//! signals ── ingest ──> table ──┐
//! foreign documents ─ observe ──┴─ documents ──> analysis:signals, market:overview, market:movers, market:breadth
//! documents of every producer ──── compose ────> the bodies of the views
//! ```
//!
//! What holds throughout:
//! - Nothing is invented. An unknown number is `null` or absent, an unknown list is empty, and no constant stands in for
//!   data. Placeholders are named as such and never shown as data.
//! - A bad record costs itself; a bad optional field costs that field.
//! - A call depends on its arguments and the state alone: no clock, no randomness, and no order that a hash table chose.

mod aggregator;
mod btc;
mod config;
mod contract;
mod documents;
mod given;
mod number;
mod observed;
mod parse;
mod regime;
mod signal;
mod size;
mod statistics;
mod table;
mod time;
mod views;
mod word;

#[cfg(target_arch = "wasm32")]
mod guest;

pub use aggregator::Aggregator;
pub use config::{Config, Dedupe};
pub use contract::{Document, Error, Freshness, Kind, Publication, Rejected, Signal, ViewRequest};

/// The name under which this plugin appears in logs and metrics.
pub const NAME: &str = "tiergate-aggregator";
/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
