//! Many rows become one map, and each bad row costs itself.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::answer::Repair;
use crate::ticker::{Row, Ticker};

/// The greatest number of repairs that one answer lists; the rest is counted.
const MAX_REPAIRS: usize = 64;

/// What the rows of an answer add up to.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) tickers: BTreeMap<String, Ticker>,
    /// The greatest close time, in Unix milliseconds.
    pub(crate) closed_at: Option<u64>,
    untraded: usize,
    repeated: usize,
    unlisted: usize,
    repairs: Vec<Repair>,
}

impl Rows {
    pub(crate) fn add(&mut self, path: impl Fn() -> String, row: &RawValue) {
        match serde_json::from_str::<Row<'_>>(row.get()) {
            Ok(row) if row.symbol.is_empty() => self.dropped(path, "the symbol is empty".to_owned()),
            Ok(row) if !row.is_traded() => self.untraded += 1,
            Ok(row) => {
                self.closed_at = self.closed_at.max(row.close_time);
                let symbol = row.symbol.clone().into_owned();
                if self.tickers.insert(symbol, row.into()).is_some() {
                    self.repeated += 1;
                }
            }
            Err(error) => self.dropped(path, error.to_string()),
        }
    }

    fn dropped(&mut self, path: impl Fn() -> String, message: String) {
        if self.repairs.len() < MAX_REPAIRS {
            self.repairs.push(Repair { code: "dropped-record", path: path(), message });
        } else {
            self.unlisted += 1;
        }
    }

    /// The repairs; what is many and alike is counted.
    pub(crate) fn into_repairs(mut self) -> Vec<Repair> {
        for (code, count, what) in [
            ("dropped-record", self.untraded, "pairs are not traded: their price is zero"),
            ("dropped-record", self.repeated, "rows are of a symbol that comes again later"),
            ("more-repairs", self.unlisted, "more repairs are not listed"),
        ] {
            if count > 0 {
                self.repairs.push(Repair { code, path: "$".to_owned(), message: format!("{count} {what}") });
            }
        }
        self.repairs
    }
}
