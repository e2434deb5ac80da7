//! One row of Binance, and the ticker that it becomes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::figure::Figure;

/// The fields of a row that readers of tickers use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row<'r> {
    #[serde(borrow)]
    pub(crate) symbol: Cow<'r, str>,
    last_price: Figure,
    price_change_percent: Figure,
    volume: Option<Figure>,
    quote_volume: Option<Figure>,
    high_price: Option<Figure>,
    low_price: Option<Figure>,
    bid_price: Option<Figure>,
    ask_price: Option<Figure>,
    count: Option<u64>,
    /// Unix milliseconds.
    pub(crate) close_time: Option<u64>,
}

/// A ticker of the canonical map. What Binance left out is left out.
#[derive(Serialize)]
pub(crate) struct Ticker {
    price: Figure,
    /// In percent.
    change_24h: Figure,
    /// In base units, coins.
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_24h: Option<Figure>,
    /// In quote units, dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    turnover_24h: Option<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bid: Option<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trades: Option<u64>,
}

impl Row<'_> {
    /// Whether the pair is traded: Binance goes on listing pairs that are not, with a price of zero.
    pub(crate) fn is_traded(&self) -> bool {
        self.last_price.0 > 0.0
    }
}

impl From<Row<'_>> for Ticker {
    fn from(row: Row<'_>) -> Self {
        Self {
            price: row.last_price,
            change_24h: row.price_change_percent,
            volume_24h: row.volume,
            turnover_24h: row.quote_volume,
            high: row.high_price,
            low: row.low_price,
            bid: row.bid_price,
            ask: row.ask_price,
            trades: row.count,
        }
    }
}
