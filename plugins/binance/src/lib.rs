//! The codec plugin that reads the answer of Binance's `GET /api/v3/ticker/24hr` into the map that `market:tickers` holds.
//!
//! It claims one key, [`PATTERN`], under which the gateway keeps the answer of that source. The answer is a list of objects,
//! or one object, whose numbers are strings; its canonical form is `{"BTCUSDT": {"price": 70766.63, ...}, ...}` with
//! numbers, sorted by symbol. A row that cannot be read costs itself; an error that Binance reports is a rejection, so the
//! last good tickers stay. Decoding a canonical map changes nothing.

mod answer;
mod config;
mod decode;
mod figure;
mod rows;
mod ticker;

#[cfg(target_arch = "wasm32")]
mod guest;

pub use answer::{Claim, Decoded, Kind, Rejection, Repair};
pub use config::check as check_config;
pub use decode::decode;

/// The name under which the plugin appears in logs and metrics.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The key of this codec.
pub const PATTERN: &str = "binance:ticker-24hr";

/// The keys of this codec.
pub fn claims() -> Vec<Claim> {
    vec![Claim { pattern: PATTERN, schema: "market-tickers", schema_version: "1.0" }]
}
