//! What pages of the system before this one ask for beside the views, as far as the cache has it (contract, 5.5).
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /api/dashboard/alerts?limit=` | `dashboard:alerts`, newest first; an empty list when nobody wrote it |
//! | `GET /api/dashboard/beta-chart?timeframe=` | `virtuoso:beta_chart:<timeframe>h` with `from_cache`; 404 without |
//! | `GET /api/dashboard/perpetuals-pulse` | the perpetuals of the mobile view, each number or null |
//! | `GET /api/dashboard/signals-from-cache` | `analysis:signals` as it is; 404 without |
//! | `GET /api/dashboard/mobile-data-from-cache` | the view `mobile-data` |
//! | `GET /api/coingecko/summary` | the four documents of CoinGecko in short, always 200 |
//! | `GET /api/coingecko/{categories,derivatives,derivatives/funding-spreads,exchanges/concentration,cycle-phase}` | `{status, data}`; 503 without the document |
//!
//! Whatever else such a page asks for is 404 in JSON, as any route that is not there. `Cache-Status` tells how the cache had
//! what an answer is made of; of several documents, the one that it had worst.

use std::cmp::Reverse;

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::App;
use super::respond::{self, Answer, Refusal};
use crate::cache::Read;
use crate::record::{Key, Kind, ReadOutcome, Time};

/// Alerts when the page names no limit.
const ALERTS_DEFAULT: usize = 50;

/// The longest list of alerts that producers write.
const ALERTS_MAX: usize = 100;

/// A change of regime that its producer is less sure of is no alert.
const CONFIDENCE_MIN: f64 = 0.80;

/// The timeframes that beta charts are made for.
const TIMEFRAMES: [&str; 7] = ["0.25", "0.5", "1", "4", "8", "12", "24"];

/// Coins in the summary.
const COINS: usize = 5;

/// Categories in the summary.
const CATEGORIES: usize = 3;

/// A document as the cache has it.
struct Document {
    /// The real value, fresh or stale; `None` when there is none.
    value: Option<Value>,
    read: Read,
}

/// The alerts.
pub(super) async fn alerts(app: &App, query: Option<&str>) -> Result<Answer, Refusal> {
    let limit = match parameter(query, "limit") {
        None => ALERTS_DEFAULT,
        Some(limit) => limit.parse().ok().filter(|limit| (1..=ALERTS_MAX).contains(limit)).ok_or_else(|| {
            let message = format!("`limit` must be a number from 1 to {ALERTS_MAX}");
            Refusal::new(StatusCode::BAD_REQUEST, "bad-limit", message)
        })?,
    };
    let Document { value, read } = document(app, "dashboard:alerts").await?;
    let alerts = match value {
        Some(Value::Array(alerts)) => alerts,
        _ => Vec::new(),
    };
    let alerts: Vec<_> = alerts.into_iter().filter(is_worth_telling).take(limit).collect();
    Ok(of_cache(app, respond::json(StatusCode::OK, &alerts), &read))
}

fn is_worth_telling(alert: &Value) -> bool {
    let types = [&alert["alert_type"], &alert["details"]["type"], &alert["type"]];
    let of_regime = types.iter().any(|what| what.as_str().is_some_and(|what| what.contains("regime")));
    let confidence = alert["details"]["confidence"].as_f64().or_else(|| alert["confidence"].as_f64());
    !of_regime || confidence.is_none_or(|confidence| confidence >= CONFIDENCE_MIN)
}

/// A beta chart.
pub(super) async fn beta_chart(app: &App, query: Option<&str>) -> Result<Answer, Refusal> {
    let asked = parameter(query, "timeframe").unwrap_or_else(|| "4".to_owned());
    let number = asked.trim_end_matches('h');
    let number = number.strip_suffix(".0").unwrap_or(number);
    if !TIMEFRAMES.contains(&number) {
        let message = format!("`timeframe` must be one of {}", TIMEFRAMES.join(", "));
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-timeframe", message));
    }
    let Document { value, read } = document(app, &format!("virtuoso:beta_chart:{number}h")).await?;
    let answer = match value {
        Some(Value::Object(mut chart)) => {
            chart.insert("from_cache".to_owned(), true.into());
            respond::json(StatusCode::OK, &chart)
        }
        _ => Refusal::new(StatusCode::NOT_FOUND, "miss", format!("no chart of {number} h is in the cache")).answer(),
    };
    Ok(of_cache(app, answer, &read))
}

/// The perpetuals, as the mobile view has them.
pub(super) async fn perpetuals(app: &App) -> Result<Answer, Refusal> {
    let failed = |error: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "view-failed", error);
    let snapshot = app.market.live(1).await.map_err(|error| failed(error.to_string()))?;
    let live: Value = serde_json::from_slice(&snapshot.identity.bytes).map_err(|error| failed(error.to_string()))?;
    let known = &live["perps"];
    let mut pulse: Map<String, Value> = [
        ("total_open_interest", "open_interest"),
        ("total_volume_24h", "volume_24h"),
        ("funding_rate", "funding_rate"),
        ("funding_zscore", "funding_zscore"),
        ("long_pct", "long_pct"),
        ("short_pct", "short_pct"),
        ("ls_entropy", "ls_entropy"),
        ("basis_pct", "basis_pct"),
        ("cex_pct", "cex_pct"),
        ("dex_pct", "dex_pct"),
    ]
    .map(|(name, of)| (name.to_owned(), known[of].clone()))
    .into_iter()
    .collect();
    for unknown in ["funding_sentiment", "funding_strength", "basis_status", "exchange_count", "contract_count"] {
        pulse.insert(unknown.to_owned(), Value::Null);
    }
    let is_known = known.as_object().is_some_and(|known| !known.is_empty());
    pulse.insert("status".to_owned(), if is_known { "success" } else { "unavailable" }.into());
    pulse.insert("signals".to_owned(), json!([]));
    pulse.insert("signal_count".to_owned(), 0.into());
    let mut answer = respond::json(StatusCode::OK, &pulse);
    respond::view_status(&mut answer, &snapshot, app.cache.is_degraded(), Time::now());
    Ok(answer)
}

/// The signals as their owner wrote them.
pub(super) async fn signals(app: &App) -> Result<Answer, Refusal> {
    let Document { value, read } = document(app, "analysis:signals").await?;
    let answer = match value {
        Some(signals) => respond::json(StatusCode::OK, &signals),
        None => Refusal::new(StatusCode::NOT_FOUND, "miss", "nobody has written signals".to_owned()).answer(),
    };
    Ok(of_cache(app, answer, &read))
}

/// What is known from CoinGecko.
pub(super) async fn coingecko(app: &App, name: &str) -> Result<Answer, Refusal> {
    let Document { value, read } = match name {
        "summary" => return summary(app).await,
        "categories" | "derivatives" => document(app, &format!("coingecko:{name}")).await?,
        // No producer is known that writes it: as before, it is there once somebody does.
        "cycle-phase" => document(app, "coingecko:cycle_phase").await?,
        "derivatives/funding-spreads" => member(app, "coingecko:derivatives", "funding_spreads").await?,
        "exchanges/concentration" => member(app, "coingecko:exchanges", "concentration").await?,
        _ => {
            let message = format!("there is no route `/api/coingecko/{}`", name.escape_default());
            return Err(Refusal::new(StatusCode::NOT_FOUND, "no-route", message));
        }
    };
    let answer = match value {
        Some(data) => respond::json(StatusCode::OK, &json!({ "status": "success", "data": data })),
        None => {
            let message = format!("nobody has written what `{name}` is made of");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "miss", message).answer()
        }
    };
    Ok(of_cache(app, answer, &read))
}

async fn summary(app: &App) -> Result<Answer, Refusal> {
    let (trending, derivatives, categories, exchanges) = tokio::try_join!(
        document(app, "coingecko:trending"),
        document(app, "coingecko:derivatives"),
        document(app, "coingecko:categories"),
        document(app, "coingecko:exchanges"),
    )?;
    let first = |list: &Value, most: usize| Value::from_iter(list.as_array().into_iter().flatten().take(most).cloned());
    let part = |document: &Document, of: &dyn Fn(&Value) -> Value| match &document.value {
        None => json!({ "available": false, "updated_at": null }),
        Some(document) => {
            let mut part = of(document);
            part["available"] = true.into();
            part["updated_at"] = document["updated_at"].clone();
            part
        }
    };
    let data = json!({
        "trending": part(&trending, &|all| json!({ "top_coins": first(&all["coins"], COINS) })),
        "derivatives": part(&derivatives, &|all| json!({
            "total_open_interest": all["total_open_interest"],
            "arb_opportunities": all["funding_spreads"].as_object().map(Map::len),
        })),
        "categories": part(&categories, &|all| json!({
            "rotation_signal": all["rotation_signal"],
            "top_performers": first(&all["top_performers"], CATEGORIES),
        })),
        "exchanges": part(&exchanges, &|all| json!({
            "total_volume_btc": all["total_volume_btc"],
            "top_3_share": all["concentration"]["top_3_share"],
        })),
    });
    let answer = respond::json(StatusCode::OK, &json!({ "status": "success", "data": data }));
    let reads = [&trending.read, &derivatives.read, &categories.read, &exchanges.read];
    let worst = reads.into_iter().max_by_key(|read| badness(read)).unwrap_or(&trending.read);
    Ok(of_cache(app, answer, worst))
}

/// The greater, the worse the cache had it: nothing is worse than a stale value, and of two values the one that ends first.
fn badness(read: &Read) -> (u8, Option<Reverse<Time>>) {
    let kind = match read.outcome {
        ReadOutcome::Hit { .. } => 0,
        ReadOutcome::Stale { .. } => 1,
        ReadOutcome::Miss => 2,
        ReadOutcome::Unavailable { .. } => 3,
    };
    (kind, read.record.as_ref().map(|record| Reverse(record.soft_expiry)))
}

async fn member(app: &App, key: &str, member: &str) -> Result<Document, Refusal> {
    let Document { value, read } = document(app, key).await?;
    Ok(Document { value: value.map(|value| value[member].clone()).filter(|value| !value.is_null()), read })
}

async fn document(app: &App, key: &str) -> Result<Document, Refusal> {
    let key = Key::new(key).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "bad-key", error.to_string()))?;
    let mut read = app.cache.get(&key).await;
    // A stand-in is no document.
    if read.record.as_ref().is_some_and(|record| record.kind != Kind::Real) {
        read = Read { record: None, outcome: ReadOutcome::Miss };
    }
    // What no codec knows may be any text.
    let value = read.record.as_ref().and_then(|record| serde_json::from_slice(&record.bytes).ok());
    Ok(Document { value, read })
}

/// The answer, with how the cache had what it is made of.
fn of_cache(app: &App, mut answer: Answer, Read { record, outcome }: &Read) -> Answer {
    let is_degraded = app.cache.is_degraded();
    respond::read_status(answer.headers_mut(), outcome, record.as_deref(), is_degraded, Time::now());
    answer
}

fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}
