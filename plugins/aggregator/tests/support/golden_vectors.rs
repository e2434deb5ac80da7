//! The golden vectors of the producers' formulas, driven through the interface of an aggregator.
//!
//! Everything here is generic over [`Driver`] and speaks plain types, so that the same vectors run against the plain Rust
//! aggregator and against a component inside its host. Each function panics at the first vector that does not hold.
//!
//! Some outputs of the old programs are old bugs. They are listed beside the test that meets them, with the incident that
//! forbids them, and the forbidding answer is required instead.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// Unix time in microseconds.
pub type Micros = u64;
/// A key and its JSON.
pub type Body = (String, Vec<u8>);

/// The moment at which the vectors take place.
const NOW: Micros = 1_795_373_000_000_000;
const DAY: Micros = 86_400_000_000;

/// One aggregator. Documents that are given to it are real and fresh, and were produced at the moment of the call.
pub trait Driver {
    /// An aggregator that has ingested nothing, with the default configuration.
    fn fresh() -> Self;
    /// Ingests bodies in their order, accepted at `now`; answers how many were refused.
    fn ingest(&mut self, now: Micros, signals: &[Vec<u8>]) -> usize;
    /// Shows it documents of other producers.
    fn observe(&mut self, now: Micros, documents: &[Body]);
    /// Takes what it publishes.
    fn documents(&mut self, now: Micros) -> Vec<Body>;
    /// Composes one view.
    fn compose(&mut self, now: Micros, view: &str, limit: u32, documents: &[Body]) -> Vec<u8>;
}

/// Runs all vectors in `golden`, the folder of the fixtures.
pub fn all<D: Driver>(golden: &Path) {
    regime::<D>(golden);
    trend_strength::<D>(golden);
    breadth::<D>(golden);
    market_wide::<D>(golden);
    btc_volatility::<D>(golden);
    opportunities::<D>(golden);
    signals_schema::<D>(golden);
}

/// The label of the market regime, from an overview without one.
pub fn regime<D: Driver>(golden: &Path) {
    let mut driver = D::fresh();
    for vector in vectors(golden, "regime.json") {
        let input = list(&vector["in"]);
        let overview = json!({
            "avg_confluence_score": input[0], "gainers": input[1], "losers": input[2], "fear_greed_value": input[3],
            "market_dispersion": input[4], "btc_dominance": input[5],
        });
        let mut documents = vec![document("market:overview", &overview)];
        if let Some(previous) = input[6].as_f64() {
            let current = number(&input[5]);
            let dominance = json!({"dominance": current, "change_24h": current - previous});
            documents.push(document("market:btc_dominance", &dominance));
        }
        // A view is made from the documents of its call alone: what was observed does not colour it.
        driver.observe(NOW, &documents);
        let view = compose(&mut driver, "market-overview", 100, &documents);
        assert_eq!(view["market_regime"], vector["regime"], "regime of {input:?}");
    }
}

/// The trend strength, from an overview without one.
pub fn trend_strength<D: Driver>(golden: &Path) {
    let mut driver = D::fresh();
    for vector in vectors(golden, "trend_strength.json") {
        let view = compose(&mut driver, "market-overview", 100, &[document("market:overview", &vector["in"])]);
        // B37: 50 where nothing rose and nothing fell, as far as anybody said, is a constant and no measurement. It is the
        // answer for `{}`, for 0 and 0, and for gainers without losers (which the old rule does not read at all).
        let nothing_moved = number(&vector["out"]) == 50.0;
        let expected = if nothing_moved { Value::Null } else { vector["out"].clone() };
        assert_eq!(view["trend_strength"], expected, "trend strength of {}", vector["in"]);
    }
}

/// The breadth of as many symbols as the vector counts.
pub fn breadth<D: Driver>(golden: &Path) {
    for vector in vectors(golden, "breadth.json") {
        let counts: Vec<usize> = list(&vector["in"]).iter().map(|count| number(count) as usize).collect();
        let changes = [1.5, -1.5, 0.0].iter().zip(&counts).flat_map(|(change, count)| vec![*change; *count]);
        let documents = published::<D>(&changes.map(Value::from).collect::<Vec<_>>());
        let Some(document) = documents.get("market:breadth") else {
            // B37: with no symbol at all there is nothing to say, not 50 percent.
            assert_eq!(counts, [0, 0, 0]);
            continue;
        };
        for (name, count) in ["up_count", "down_count", "flat_count"].iter().zip(&counts) {
            assert_eq!(document[*name], *count as u64, "{name} of {counts:?}");
        }
        // B37: where nothing rose and nothing fell the percentage is unknown, not 50.
        let expected = if counts[0] + counts[1] == 0 { &Value::Null } else { &vector["breadth_percentage"] };
        assert_eq!(document["breadth_percentage"], *expected, "breadth of {counts:?}");
        assert_eq!(document["market_sentiment"], vector["market_sentiment"], "sentiment of {counts:?}");
    }
}

/// The statistics of the percent changes of a whole market.
pub fn market_wide<D: Driver>(golden: &Path) {
    for vector in vectors(golden, "market_wide.json") {
        let (changes, out) = (list(&vector["in"]), &vector["out"]);
        let documents = published::<D>(&changes);
        let Some(overview) = documents.get("market:overview") else {
            // An aggregator that has ingested nothing publishes nothing; the old one published zeros (B37).
            assert!(changes.is_empty());
            continue;
        };
        for (theirs, ours) in [
            ("gainers", "gainers"),
            ("losers", "losers"),
            ("volatility", "market_dispersion"),
            ("volatility", "current_volatility"),
            ("avg_change_percent", "average_change"),
            ("total_symbols", "total_symbols"),
        ] {
            assert_eq!(number(&overview[ours]), number(&out[theirs]), "{ours} of {} changes", changes.len());
        }
        assert_eq!(documents["market:breadth"]["flat_count"], out["neutral"]);
    }
}

/// Bitcoin's volatility from one price a day.
pub fn btc_volatility<D: Driver>(golden: &Path) {
    for vector in vectors(golden, "btc_volatility.json") {
        let (mut driver, prices, out) = (D::fresh(), list(&vector["in"]), &vector["out"]);
        let mut now = NOW;
        for price in &prices {
            ingest(&mut driver, now, &[json!({"symbol": "BTCUSDT", "confluence_score": 50, "price": price})]);
            // A second price on the same day is no snapshot.
            ingest(&mut driver, now + DAY / 2, &[json!({"symbol": "BTCUSDT", "confluence_score": 50, "price": 1})]);
            ingest(&mut driver, now + DAY / 2, &[json!({"symbol": "BTCUSDT", "confluence_score": 50, "price": price})]);
            now += DAY;
        }
        // Published half a day after the last price was taken.
        let documents = objects(driver.documents(now - DAY / 2));
        let Some(overview) = documents.get("market:overview") else {
            assert!(prices.is_empty());
            continue;
        };
        // `btc_current_price` of the vectors is a constant of the program that made them, not a function of the input.
        assert_eq!(overview["btc_price"], *prices.last().expect("a price"));
        if prices.len() < 3 {
            // B37: too few prices to deviate; the old program answers zeros.
            for name in ["btc_volatility", "btc_daily_volatility", "btc_vol_days"] {
                assert_eq!(overview[name], Value::Null, "{name} of {} prices", prices.len());
            }
            continue;
        }
        for (theirs, ours) in [
            ("btc_volatility", "btc_volatility"),
            ("btc_daily_volatility", "btc_daily_volatility"),
            ("days_of_data", "btc_vol_days"),
        ] {
            assert_eq!(number(&overview[ours]), number(&out[theirs]), "{ours} of {} prices", prices.len());
        }
    }
}

/// The opportunities among the records of `analysis:signals`.
pub fn opportunities<D: Driver>(golden: &Path) {
    let mut driver = D::fresh();
    for (index, vector) in vectors(golden, "opportunities.json").iter().enumerate() {
        // B51: the old rule puts a dollar sign before coins. At a price of 1 they are worth what it says.
        let mut records = list(&vector["in"]);
        for record in &mut records {
            record["price"] = json!(1);
        }
        let signals = document("analysis:signals", &json!({"signals": records}));
        let view = compose(&mut driver, "opportunities", number(&vector["limit"]) as u32, &[signals]);
        let (ours, theirs) = (list(&view), list(&vector["out"]));
        assert_eq!(ours.len(), theirs.len(), "opportunities of vector {index}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(as_floats(ours), as_floats(theirs), "opportunity of vector {index}");
        }
    }
}

/// The statistics of the signals document.
pub fn signals_schema<D: Driver>(golden: &Path) {
    for vector in vectors(golden, "signals_schema.json") {
        let (records, out) = (list(&vector["in"]), &vector["out"]);
        let mut driver = D::fresh();
        ingest(&mut driver, NOW, &records);
        let documents = objects(driver.documents(NOW));
        let Some(document) = documents.get("analysis:signals") else {
            // B37: nothing is published for nothing; the old writer published the averages 50 and 75.
            assert!(records.is_empty());
            continue;
        };
        for name in [
            "version",
            "total_signals",
            "long_signals",
            "short_signals",
            "top_symbols",
            "__schema_version",
            "__cache_key",
        ] {
            assert_eq!(document[name], out[name], "{name} of {} signals", records.len());
        }
        close(&document["avg_confluence_score"], &out["avg_confluence_score"]);
        // B20: the old mean counts a missing reliability as 75 among shares of 1. The mean is of those that are known.
        let known: Vec<f64> = records.iter().filter_map(|record| record["reliability"].as_f64()).collect();
        let mean = if known.len() == records.len() {
            out["avg_reliability"].clone()
        } else {
            json!(known.iter().sum::<f64>() / known.len() as f64)
        };
        close(&document["avg_reliability"], &mean);
        // B52: the list stands once.
        assert_eq!(document.get("recent_signals"), None);
        let signals = list(&document["signals"]);
        assert_eq!(signals.len(), records.len());
        for record in &records {
            let ours = signals.iter().find(|signal| signal["symbol"] == record["symbol"]).expect("the record");
            let score = record.get("confluence_score").unwrap_or(&record["score"]);
            assert_eq!(ours["confluence_score"], *score);
            assert_eq!(ours.get("reliability"), record.get("reliability"));
        }
    }
}

/// What is published of symbols with these percent changes.
fn published<D: Driver>(changes: &[Value]) -> Map<String, Value> {
    let mut driver = D::fresh();
    let records: Vec<Value> = changes
        .iter()
        .enumerate()
        .map(|(index, change)| json!({"symbol": format!("S{index}"), "confluence_score": 50, "change_24h": change}))
        .collect();
    ingest(&mut driver, NOW, &records);
    objects(driver.documents(NOW))
}

fn ingest<D: Driver>(driver: &mut D, now: Micros, records: &[Value]) {
    let bodies: Vec<Vec<u8>> = records.iter().map(|record| record.to_string().into_bytes()).collect();
    assert_eq!(driver.ingest(now, &bodies), 0, "no record of a vector is refused");
}

fn compose<D: Driver>(driver: &mut D, view: &str, limit: u32, documents: &[Body]) -> Value {
    serde_json::from_slice(&driver.compose(NOW, view, limit, documents)).expect("a view is JSON")
}

fn document(key: &str, body: &Value) -> Body {
    (key.to_owned(), body.to_string().into_bytes())
}

fn objects(documents: Vec<Body>) -> Map<String, Value> {
    documents.into_iter().map(|(key, body)| (key, serde_json::from_slice(&body).expect("a document is JSON"))).collect()
}

fn vectors(golden: &Path, name: &str) -> Vec<Value> {
    let path = golden.join(name);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let vectors: Vec<Value> = serde_json::from_slice(&text).expect("a file of vectors is a list");
    assert!(!vectors.is_empty(), "{name} holds vectors");
    vectors
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().expect("a list").clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// Means may differ in the last digit: the order of the sum is the document's, not the vector's.
fn close(ours: &Value, theirs: &Value) {
    let (ours, theirs) = (number(ours), number(theirs));
    assert!((ours - theirs).abs() < 1e-9, "{ours} is not {theirs}");
}

/// The object with all numbers as floats: the producers write 0 and 0.0 for the same number.
fn as_floats(value: &Value) -> Map<String, Value> {
    let fields = value.as_object().expect("an object").iter();
    fields.map(|(name, value)| (name.clone(), value.as_f64().map_or(value.clone(), Value::from))).collect()
}
