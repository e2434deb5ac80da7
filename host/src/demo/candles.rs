//! [`Candles`]: the recorded prices, embedded and checked once.

use std::collections::BTreeMap;
use std::io;

use flate2::read::GzDecoder;
use serde::Deserialize;

/// Five-minute candles in a day.
pub const DAY: usize = 288;

/// Milliseconds between two candles of a symbol.
const STEP_MS: u64 = 5 * 60 * 1000;

static RECORDED: &[u8] = include_bytes!("candles-5m-2024-08-03_05.csv.gz");

/// Every symbol's candles. All series start at the same moment, are equally long and longer than a day.
#[derive(Debug)]
pub struct Candles {
    series: Vec<Series>,
}

/// One symbol's candles, oldest first and without gaps.
#[derive(Debug)]
pub struct Series {
    /// As the exchange names it: `BTCUSDT`.
    pub symbol: String,
    /// One for each five minutes.
    pub candles: Vec<Candle>,
}

/// Five minutes of trading.
#[derive(Clone, Copy, Debug)]
pub struct Candle {
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// In coins, not in dollars.
    pub volume: f64,
}

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum CandlesError {
    /// Not gzip, not CSV, or a column is missing.
    #[error("the candles cannot be read: {0}")]
    Unreadable(#[from] csv::Error),
    /// A step is missing, doubled or out of order.
    #[error("the candles of {symbol} have a gap before {open_time_ms}")]
    Gap {
        /// Whose series it is.
        symbol: String,
        /// The candle that does not follow the one before it.
        open_time_ms: u64,
    },
    /// The series differ in length, or none is longer than a day.
    #[error("the candles of {symbol} do not cover the same span as the others, or not more than a day")]
    Uneven {
        /// The first such symbol.
        symbol: String,
    },
    /// No candle at all.
    #[error("there are no candles")]
    Empty,
}

#[derive(Deserialize)]
struct Row {
    open_time_ms: u64,
    symbol: String,
    high: f64,
    low: f64,
    close: f64,
    base_volume: f64,
}

// === impl Candles ===

impl Candles {
    /// The recording that is part of this program.
    pub fn load() -> Result<Self, CandlesError> {
        Self::read(GzDecoder::new(RECORDED))
    }

    fn read(source: impl io::Read) -> Result<Self, CandlesError> {
        let mut by_symbol: BTreeMap<String, (u64, Vec<Candle>)> = BTreeMap::new();
        let mut start = None;
        for row in csv::Reader::from_reader(source).into_deserialize() {
            let Row { open_time_ms, symbol, high, low, close, base_volume: volume } = row?;
            let start = *start.get_or_insert(open_time_ms);
            let (due, candles) = by_symbol.entry(symbol.clone()).or_insert((start, Vec::new()));
            if *due != open_time_ms {
                return Err(CandlesError::Gap { symbol, open_time_ms });
            }
            *due += STEP_MS;
            candles.push(Candle { high, low, close, volume });
        }
        let series: Vec<_> = by_symbol.into_iter().map(|(symbol, (_, candles))| Series { symbol, candles }).collect();
        let steps = series.first().ok_or(CandlesError::Empty)?.candles.len();
        match series.iter().find(|s| s.candles.len() != steps || steps <= DAY) {
            Some(odd) => Err(CandlesError::Uneven { symbol: odd.symbol.clone() }),
            None => Ok(Self { series }),
        }
    }

    /// One series for each symbol, by name.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// How many candles each series has.
    pub fn steps(&self) -> usize {
        self.series.first().map_or(0, |s| s.candles.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "open_time_ms,symbol,open,high,low,close,base_volume\n";

    #[test]
    fn the_recording_holds_three_days_of_31_symbols() {
        let candles = Candles::load().unwrap();
        assert_eq!(candles.series().len(), 31);
        assert_eq!(candles.steps(), 3 * DAY);
        assert!(candles.series().iter().flat_map(|s| &s.candles).all(|c| c.low > 0.0 && c.low <= c.high));
    }

    #[test]
    fn a_recording_with_a_gap_is_refused_by_name() {
        let text = format!("{HEADER}0,BTCUSDT,1,1,1,1,1\n600000,BTCUSDT,1,1,1,1,1\n");
        let error = Candles::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "the candles of BTCUSDT have a gap before 600000");
    }

    #[test]
    fn a_recording_of_a_day_or_less_is_refused() {
        let text = format!("{HEADER}0,BTCUSDT,1,1,1,1,1\n");
        assert!(matches!(Candles::read(text.as_bytes()), Err(CandlesError::Uneven { .. })));
        assert!(matches!(Candles::read(HEADER.as_bytes()), Err(CandlesError::Empty)));
    }
}
