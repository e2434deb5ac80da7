//! One record of the movers, under the four names for the change that readers ask for.

use serde::Serialize;

/// A symbol that moved, or whose volume is large.
#[derive(Clone, Debug, Serialize)]
pub struct Mover {
    symbol: String,
    display_symbol: String,
    /// Known, because the page formats it without asking (B56).
    price: f64,
    change: Option<f64>,
    change_24h: Option<f64>,
    price_change_percent: Option<f64>,
    percentage: Option<f64>,
    /// Quote units.
    volume: Option<f64>,
    volume_24h: Option<f64>,
    timestamp: Option<f64>,
}

impl Mover {
    /// A record whose change and volume stand under all their names.
    pub fn new(symbol: &str, price: f64, change: Option<f64>, turnover: Option<f64>, timestamp: Option<f64>) -> Self {
        Self {
            symbol: symbol.to_owned(),
            display_symbol: symbol.to_owned(),
            price,
            change,
            change_24h: change,
            price_change_percent: change,
            percentage: change,
            volume: turnover,
            volume_24h: turnover,
            timestamp,
        }
    }

    /// The same under another name for people.
    pub fn displayed_as(mut self, name: &str) -> Self {
        name.clone_into(&mut self.display_symbol);
        self
    }

    /// The change in percent.
    pub fn change(&self) -> Option<f64> {
        self.change
    }
}
