//! `GET`, `PUT` and `DELETE /api/cache/{key}`.
//!
//! Timeframes in keys have one spelling here, whoever asks. Other programs write either into the shared tiers, so a read and
//! a delete mean both (B44).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::App;
use super::body::Pieces;
use super::respond::{self, Answer, Refusal};
use crate::cache::{Cache, DecodeError, DeleteDied, Put, PutOptions, Read};
use crate::record::{DeleteOutcome, Key, Order, ReadOutcome, Record, TierName, Time, WriteOutcome};
use crate::tier::is_lease;

/// The longest TTL that a writer may ask for.
const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The key in the path, percent-decoded, validated, and in its one spelling; no lease, which is no value.
pub(super) fn key(path: &str) -> Result<Key, Refusal> {
    let text = percent_encoding::percent_decode_str(path).decode_utf8().map_err(|_| {
        Refusal::new(StatusCode::BAD_REQUEST, "bad-key", "a key may hold printable ASCII without space only".to_owned())
    })?;
    let key = Key::new(text).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "bad-key", error.to_string()))?;
    if is_lease(&key) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-key", format!("`{key}` is a lease of the gateways")));
    }
    Ok(key.canonical())
}

/// `GET`: the value as it is stored, with what is known of it in headers.
pub(super) async fn get(app: &App, key: &Key, request: &HeaderMap) -> Answer {
    let read = read_either(app, key).await;
    let now = Time::now();
    let mut answer = match (&read.record, &read.outcome) {
        (Some(record), _) => value(request, record, now),
        (None, ReadOutcome::Unavailable { failed }) => {
            let failed: Map<String, Value> =
                failed.iter().map(|(tier, why)| (tier.to_string(), why.clone().into())).collect();
            let message = format!("no tier that answered has `{key}`, and some did not answer");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "tiers-unavailable", message)
                .with(json!({ "failed": failed }))
                .answer()
        }
        (None, _) => Refusal::new(StatusCode::NOT_FOUND, "miss", format!("no tier has `{key}`")).answer(),
    };
    let is_degraded = app.cache.is_degraded();
    respond::read_status(answer.headers_mut(), &read.outcome, read.record.as_deref(), is_degraded, now);
    answer
}

/// The value under either spelling of the key: the greater one, and one that memory has fresh at once.
async fn read_either(app: &App, key: &Key) -> Read {
    let Some(other) = key.spelled_as_float() else { return app.cache.get(key).await };
    if app.cache.peek(key).is_some_and(|record| record.is_fresh(Time::now())) {
        return app.cache.get(key).await;
    }
    let (one, other) = tokio::join!(app.cache.get(key), app.cache.get(&other));
    let now = Time::now();
    let order = |read: &Read| read.record.as_ref().map(|record| Order::of(record, now));
    match (order(&one), order(&other)) {
        (None, None) if matches!(other.outcome, ReadOutcome::Unavailable { .. }) => other,
        (mine, theirs) if mine >= theirs => one,
        _ => other,
    }
}

/// `PUT`: writes the body under the key in every tier. In the query, `ttl` is the time to live, and `codec` names the codec
/// that turns the body, the answer of some origin, into a payload of the key.
pub(super) async fn put(app: &App, key: &Key, query: &str, body: Incoming) -> Result<Answer, Refusal> {
    let options = options(query)?;
    let payload = Pieces::new(body, app.config.body_pause_max).whole(app.config.value_bytes_max).await?;
    match app.cache.put(key, payload, options).await {
        Ok(put) => {
            let status = respond::status(put.verdict());
            Ok(respond::json(status, &written(key, &put)))
        }
        Err(error) => Err(refused(error)),
    }
}

/// `DELETE`: removes the key from every tier.
pub(super) async fn delete(app: &App, key: &Key) -> Result<Answer, Refusal> {
    let died = |error: DeleteDied| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "delete-died", error.to_string());
    let outcomes = delete_either(&app.cache, key).await.map_err(died)?;
    let tiers: Map<String, Value> =
        outcomes.iter().map(|(tier, outcome)| (tier.to_string(), one(outcome.label(), outcome.reason()))).collect();
    let below = || outcomes.iter().skip(1).map(|(_, outcome)| outcome);
    let gone = |outcome: &DeleteOutcome| matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::Absent);
    let status = if below().all(gone) {
        StatusCode::OK
    } else if below().all(|outcome| gone(outcome) || matches!(outcome, DeleteOutcome::Queued(_))) {
        StatusCode::ACCEPTED
    } else if below().any(gone) {
        StatusCode::MULTI_STATUS
    } else if below().any(|outcome| *outcome == DeleteOutcome::Superseded) {
        StatusCode::CONFLICT
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(respond::json(status, &json!({ "key": key.as_str(), "tiers": tiers })))
}

/// Deletes the key under either spelling, both at once, so that one deadline covers them.
async fn delete_either(cache: &Arc<Cache>, key: &Key) -> Result<Vec<(TierName, DeleteOutcome)>, DeleteDied> {
    let Some(other) = key.spelled_as_float() else { return Ok(cache.delete(key).await?.outcomes) };
    let (one, other) = tokio::join!(cache.delete(key), cache.delete(&other));
    let mut outcomes = one?.outcomes;
    outcomes.iter_mut().zip(other?.outcomes).for_each(|((_, outcome), (_, other))| worse(outcome, other));
    Ok(outcomes)
}

/// Takes the outcome of the other spelling's delete into that of the first: a failure of either is a failure.
fn worse(outcome: &mut DeleteOutcome, other: DeleteOutcome) {
    let is_gone = matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::Absent);
    if *outcome == DeleteOutcome::Absent || (is_gone && other != DeleteOutcome::Absent) {
        *outcome = other;
    }
}

/// What became of a write, with the tiers by name.
pub(super) fn written(key: &Key, put: &Put) -> Value {
    let record = &put.record;
    json!({
        "key": key.as_str(),
        "kind": record.kind.as_str(),
        "version": record.version.0,
        "schema": &*record.schema,
        "bytes": record.bytes.len(),
        "repairs": &*record.repairs,
        "tiers": tiers(&put.outcomes),
    })
}

/// The tiers by name.
pub(super) fn tiers(outcomes: &[(TierName, WriteOutcome)]) -> Map<String, Value> {
    outcomes.iter().map(|(tier, outcome)| (tier.to_string(), one(outcome.label(), outcome.reason()))).collect()
}

/// A payload that was not taken.
pub(super) fn refused(error: DecodeError) -> Refusal {
    match error {
        DecodeError::Rejected(rejection) => {
            let message = format!("{}; the old value stays", rejection.message);
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "payload-rejected", message)
                .with(json!({ "code": rejection.code, "path": rejection.path }))
        }
        DecodeError::Plugin(fault) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "codec-failed", fault),
    }
}

fn one(label: &str, reason: Option<String>) -> Value {
    match reason {
        None => json!({ "outcome": label }),
        Some(reason) => json!({ "outcome": label, "reason": reason }),
    }
}

fn value(request: &HeaderMap, record: &Record, now: Time) -> Answer {
    let etag = format!("\"{}\"", record.digest.hex());
    let unchanged = super::negotiate::none_match(request, &etag);
    let mut answer = Response::new(Full::new(if unchanged { Bytes::new() } else { record.bytes.clone() }));
    if unchanged {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::AGE, HeaderValue::from(record.age(now).as_secs()));
    respond::insert(headers, header::ETAG, &etag);
    let names = [
        ("tiergate-kind", record.kind.as_str().to_owned()),
        ("tiergate-version", record.version.0.to_string()),
        ("tiergate-schema", record.schema.to_string()),
        ("tiergate-repairs", record.repairs.len().to_string()),
    ];
    for (name, value) in names {
        respond::insert(headers, header::HeaderName::from_static(name), &value);
    }
    answer
}

fn options(query: &str) -> Result<PutOptions, Refusal> {
    let mut options = PutOptions { from: Arc::from("api"), ttl: None, codec: None, as_of: None };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "ttl" => options.ttl = Some(ttl(&value)?),
            "codec" => options.codec = Some(value.into()),
            _ => {
                let message = format!("unknown parameter `{}`; there are `ttl` and `codec`", name.escape_default());
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-parameter", message));
            }
        }
    }
    Ok(options)
}

fn ttl(text: &str) -> Result<Duration, Refusal> {
    let refuse = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "bad-ttl", message);
    let ttl = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| refuse(format!("`{}` is no time to live; write `300` or `5m`", text.escape_default())))?,
    };
    if ttl < Duration::from_secs(1) || ttl > TTL_MAX {
        return Err(refuse("a time to live must be from 1 second to 365 days".to_owned()));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::cache::tests::deadline::{DEADLINE, silent_cache};

    #[tokio::test(start_paused = true)]
    async fn a_delete_under_both_spellings_takes_one_deadline_when_no_tier_answers() {
        let (cache, key) = (silent_cache(), Key::new("market:4h").unwrap());
        assert!(key.spelled_as_float().is_some());
        let begun = Instant::now();
        let outcomes = delete_either(&cache, &key).await.expect("a delete");
        assert_eq!(begun.elapsed(), DEADLINE);
        assert!(outcomes[1..].iter().all(|(_, outcome)| matches!(outcome, DeleteOutcome::Queued(_))), "{outcomes:?}");
    }
}
