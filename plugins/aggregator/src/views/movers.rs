//! The movers that a view shows: those of the document, or those that follow from the signals.

use serde_json::Value;

use super::entry::Shown;
use super::section::Fields;
use crate::documents::Mover;
use crate::number;
use crate::time::{instant, seconds};

/// Movers in each list of a view.
pub const TOP: usize = 5;

/// Gainers and losers.
pub struct Movers {
    /// Best first.
    pub gainers: Vec<Mover>,
    /// Worst first.
    pub losers: Vec<Mover>,
    /// Records of the document that could not be shown (B34).
    pub left_out: usize,
}

impl Movers {
    /// The movers of the document; when it has none, those among `shown`.
    pub fn of(document: Option<&Fields>, shown: &[Shown<'_>]) -> Self {
        let mut movers = Self { gainers: Vec::new(), losers: Vec::new(), left_out: 0 };
        if let Some(document) = document {
            movers.gainers = movers.read(document, ["gainers", "top_gainers"], |change| change > 0.0);
            movers.losers = movers.read(document, ["losers", "top_losers"], |change| change < 0.0);
        }
        if movers.gainers.is_empty() && movers.losers.is_empty() {
            movers.gainers = derived(shown, |change| change);
            movers.losers = derived(shown, |change| -change);
        }
        movers
    }

    /// The first `top` of a list.
    pub fn first(list: &[Mover], top: usize) -> &[Mover] {
        list.get(..top.min(list.len())).unwrap_or_default()
    }

    /// Reads one list. A loser among the gainers is left out (B3), and so is a record without symbol, price or change.
    fn read(&mut self, document: &Fields, names: [&str; 2], belongs: fn(f64) -> bool) -> Vec<Mover> {
        let lists = names.iter().filter_map(|name| document.get(*name)?.as_array());
        let Some(records) = lists.into_iter().find(|records| !records.is_empty()) else { return Vec::new() };
        let movers: Vec<Mover> = records
            .iter()
            .filter_map(|record| mover(record).filter(|mover| mover.change().is_some_and(belongs)))
            .collect();
        self.left_out += records.len() - movers.len();
        movers
    }
}

fn mover(record: &Value) -> Option<Mover> {
    let record = record.as_object()?;
    let symbol = record.get("symbol")?.as_str()?;
    let price = number::first(record, &["price", "last"]).filter(number::positive)?;
    let change = number::first(record, &["change", "change_24h", "price_change_percent", "percentage"]);
    let at = number::first(record, &["timestamp"]).and_then(instant).map(seconds);
    let mover = Mover::new(symbol, price, change, turnover(record, price), at);
    Some(match record.get("display_symbol").and_then(Value::as_str) {
        Some(name) => mover.displayed_as(name),
        None => mover,
    })
}

/// The day's volume of a record in quote units (B51): those are under `volume`. A record without that name comes from a
/// producer without tickers, which has coins under `volume_24h`.
fn turnover(record: &Fields, price: f64) -> Option<f64> {
    match record.get("volume") {
        Some(volume) => number::read(volume),
        None => number::first(record, &["volume_24h"]).map(|coins| coins * price),
    }
    .filter(|turnover| turnover.is_finite())
}

/// The records whose change points the way of `sign`, the greatest first.
fn derived(shown: &[Shown<'_>], sign: fn(f64) -> f64) -> Vec<Mover> {
    let mut moved: Vec<&Shown<'_>> = shown.iter().filter(|shown| sign(shown.change) > 0.0).collect();
    moved.sort_by(|a, b| sign(b.change).total_cmp(&sign(a.change)));
    moved
        .into_iter()
        .take(2 * TOP)
        .map(|shown| {
            let record = &shown.entry.record;
            let at = Some(seconds(record.timestamp));
            Mover::new(&record.symbol, shown.price, Some(shown.change), record.quote_turnover(), at)
                .displayed_as(&record.symbol.replace("USDT", ""))
        })
        .collect()
}
