//! One signal, read once: as a producer posts it, and as it stands in `analysis:signals` whoever wrote that.
//!
//! `symbol` and the score are required; a signal without them is refused with a code and a JSON path (B32, B33). Every
//! other field is optional, and one that cannot be read is absent (B34): absent and not null, because readers of the
//! documents supply a default for a missing field and stumble over a null. Fields that this plugin does not know are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Config;
use crate::contract::Micros;
use crate::given::{Field, Given};
use crate::number;
use crate::parse::{self, NotAnObject};
use crate::time::{self, CLOCK_SKEW};
use crate::word::Word;

/// A symbol becomes part of a cache key.
const SYMBOL_BYTES_MAX: usize = 64;

/// A signal that was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Upper-case, without `/` and `-`.
    pub symbol: String,
    /// 0 to 100.
    pub score: f64,
    /// The direction that the producer named, or that follows from the score.
    pub signal_type: Word,
    /// The mood that the producer named, or else the direction.
    pub sentiment: Word,
    /// 0 to 1.
    pub reliability: Option<f64>,
    /// The component scores that the producer gave, and no others.
    pub components: BTreeMap<String, f64>,
    /// Over 0.
    pub price: Option<f64>,
    /// Percent.
    pub change_24h: Option<f64>,
    /// Base units.
    pub volume_24h: Option<f64>,
    /// Quote units.
    pub turnover_24h: Option<f64>,
    /// Over 0.
    pub high_24h: Option<f64>,
    /// Over 0.
    pub low_24h: Option<f64>,
    /// Free form.
    pub sub_components: Option<Map<String, Value>>,
    /// Component to prose.
    pub interpretations: Option<Map<String, Value>>,
    /// Earlier scores, oldest first; filled only where a document carried them.
    pub score_history: Vec<f64>,
    /// When the producer made it.
    pub timestamp: Micros,
    /// When several are equally old, the greater is the newer.
    pub seq: u64,
    /// Fields that this plugin does not know.
    pub extra: Map<String, Value>,
}

/// Why a signal was refused.
#[derive(Debug)]
pub struct Fault {
    /// Lower-case words joined by `-`.
    pub code: &'static str,
    /// What is wrong, with the JSON path.
    pub message: String,
}

impl Fault {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What a signal is read against.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Thresholds for signals that name no direction.
    pub config: &'a Config,
    /// A timestamp further ahead than the clock skew is not believed.
    pub now: Micros,
    /// The timestamp of a signal that has none.
    pub received_at: Micros,
    /// The order of acceptance.
    pub seq: u64,
}

impl Reader<'_> {
    /// Reads one posted body.
    pub fn body(&self, body: &[u8]) -> Result<Record, Fault> {
        let given = parse::given(body).map_err(|error| match error {
            NotAnObject::NotJson(why) => Fault::new("not-json", format!("$: {why}")),
            NotAnObject::OtherJson => Fault::new("not-an-object", "$: a signal is one JSON object"),
        })?;
        self.given(given)
    }

    /// Reads fields that are parsed already.
    pub fn given(&self, mut given: Given) -> Result<Record, Fault> {
        let symbol = symbol(given.take(Field::Symbol))?;
        let score = score(&mut given)?;
        let market = Market::take(&mut given);
        let signal_type = Word::read(given.take(Field::SignalType)).unwrap_or_else(|| self.derived(score));
        let record = Record {
            sentiment: Word::read(given.take(Field::Sentiment)).unwrap_or(signal_type),
            signal_type,
            reliability: given.number(&[Field::Reliability]).and_then(number::share),
            components: components(given.take(Field::Components)),
            sub_components: object(given.take(Field::SubComponents)),
            interpretations: object(given.take(Field::Interpretations)),
            score_history: scores(given.take(Field::ScoreHistory)),
            timestamp: self.timestamp(&given),
            seq: self.seq,
            price: market.price,
            change_24h: market.change_24h,
            volume_24h: market.volume_24h,
            turnover_24h: market.turnover_24h,
            high_24h: market.high_24h,
            low_24h: market.low_24h,
            extra: given.extra,
            symbol,
            score,
        };
        Ok(record)
    }

    fn derived(&self, score: f64) -> Word {
        match score {
            score if score >= self.config.long_threshold => Word::Long,
            score if score <= self.config.short_threshold => Word::Short,
            _ => Word::Neutral,
        }
    }

    fn timestamp(&self, given: &Given) -> Micros {
        given
            .number(&[Field::Timestamp])
            .and_then(time::instant)
            .filter(|at| *at <= self.now.saturating_add(CLOCK_SKEW))
            .unwrap_or(self.received_at)
    }
}

impl Record {
    /// The day's volume in quote units, which is what a dollar sign may stand before (B51).
    pub fn quote_turnover(&self) -> Option<f64> {
        self.turnover_24h.or_else(|| Some(self.price? * self.volume_24h?)).filter(|turnover| turnover.is_finite())
    }

    /// Newer in time, or equally old and accepted later.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.timestamp, self.seq) > (other.timestamp, other.seq)
    }
}

/// A symbol as the cache keys spell it.
fn symbol(value: Option<Value>) -> Result<String, Fault> {
    let Some(value) = value else { return Err(Fault::new("missing-symbol", "$.symbol: missing")) };
    let bad = |why: &str| Err(Fault::new("bad-symbol", format!("$.symbol: {why}")));
    let Value::String(text) = value else { return bad("not a text") };
    let is_spelled_so = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if (1..=SYMBOL_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_spelled_so) {
        return Ok(text);
    }
    let symbol: String = text
        .trim()
        .chars()
        .filter(|letter| !matches!(letter, '/' | '-'))
        .map(|letter| letter.to_ascii_uppercase())
        .collect();
    if symbol.is_empty() {
        bad("empty")
    } else if symbol.len() > SYMBOL_BYTES_MAX {
        bad("longer than 64 bytes")
    } else if !symbol.bytes().all(|byte| byte.is_ascii_graphic()) {
        bad("holds characters other than printable ASCII")
    } else {
        Ok(symbol)
    }
}

fn score(given: &mut Given) -> Result<f64, Fault> {
    let named = [("confluence_score", Field::ConfluenceScore), ("score", Field::Score)];
    let [long, short] = named.map(|(name, field)| given.take(field).map(|value| (name, value)));
    let given = match (long, short) {
        (Some((_, Value::Null)), Some(short)) => Some(short),
        (long, short) => long.or(short),
    };
    let Some((name, value)) = given else {
        return Err(Fault::new("missing-score", "$.confluence_score: missing"));
    };
    // Text is refused although other numbers may be text: a score decides what is shown, so it is not guessed at.
    match value.as_f64() {
        Some(score) if (0.0..=100.0).contains(&score) => Ok(score),
        Some(score) => Err(Fault::new("out-of-range", format!("$.{name}: {score} is not between 0 and 100"))),
        None => Err(Fault::new("bad-score", format!("$.{name}: not a number"))),
    }
}

/// Component scores: numbers, or objects with a `score`. Those that are missing stay missing.
pub fn components(value: Option<Value>) -> BTreeMap<String, f64> {
    let Some(Value::Object(components)) = value else { return BTreeMap::new() };
    components
        .into_iter()
        .filter_map(|(name, value)| {
            let score = match &value {
                Value::Object(detail) => number::first(detail, &["score"]),
                other => number::read(other),
            };
            Some((name, score.filter(|score| (0.0..=100.0).contains(score))?))
        })
        .collect()
}

/// A list of scores.
pub fn scores(value: Option<Value>) -> Vec<f64> {
    let Some(Value::Array(scores)) = value else { return Vec::new() };
    scores.iter().filter_map(number::read).collect()
}

/// An object with something in it.
pub fn object(value: Option<Value>) -> Option<Map<String, Value>> {
    match value {
        Some(Value::Object(object)) if !object.is_empty() => Some(object),
        _ => None,
    }
}

/// The market fields, given flat or in the analyzer's `market_data.ticker`.
struct Market {
    price: Option<f64>,
    change_24h: Option<f64>,
    volume_24h: Option<f64>,
    turnover_24h: Option<f64>,
    high_24h: Option<f64>,
    low_24h: Option<f64>,
}

impl Market {
    /// Takes the market fields out of `fields`. The flat ones go first; `market_data` is not passed on, candles and all.
    fn take(given: &mut Given) -> Self {
        let data = object(given.take(Field::MarketData)).unwrap_or_default();
        let ticker = data.get("ticker").and_then(Value::as_object);
        let read = |flat: &[Field], nested: &[&str], sound: fn(&f64) -> bool| {
            let nested = || ticker.and_then(|ticker| number::first(ticker, nested)).filter(sound);
            given.number(flat).filter(sound).or_else(nested)
        };
        let changes = [Field::Change24h, Field::PriceChangePercent, Field::PriceChangePercent24h];
        let volumes = [Field::Volume24h, Field::Volume];
        Self {
            price: read(&[Field::Price], &["last", "close", "lastPrice"], number::positive)
                .or_else(|| last_close(&data)),
            change_24h: read(&changes, &["percentage"], |_| true),
            volume_24h: read(&volumes, &["baseVolume", "volume"], number::not_negative),
            turnover_24h: read(&[Field::Turnover24h], &["quoteVolume"], number::not_negative),
            high_24h: read(&[Field::High24h], &["high"], number::positive),
            low_24h: read(&[Field::Low24h], &["low"], number::positive),
        }
    }
}

/// The close of the last candle, where candles are lists: time, open, high, low, close, volume.
fn last_close(market_data: &Map<String, Value>) -> Option<f64> {
    let candle = market_data.get("ohlcv")?.as_array()?.last()?;
    number::read(candle.get(4)?).filter(number::positive)
}
