//! `GET /api/admin/explain/{key}`: all that is known of a key, who loads it, and what a reader would get.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::respond::{self, Answer, Refusal};
use super::{App, cache_api, quarantine_api, recovery_api};
use crate::cache::{Explanation, Holds, Place, Serves, What, Written};
use crate::record::{Origin, ReadOutcome, Record, Time};
use crate::source::Load;
use crate::tier::{Holder, LeaseStanding, canary};

pub(super) const PREFIX: &str = "/api/admin/explain/";

/// Explains the key in the path.
pub(super) async fn get(app: &App, path: &str) -> Result<Answer, Refusal> {
    let key = cache_api::key(path)?;
    let (explanation, load) = tokio::join!(app.cache.explain(&key), app.sources.load(&key));
    Ok(respond::json(StatusCode::OK, &explained(&explanation, load.as_ref())))
}

fn explained(explanation: &Explanation, load: Option<&Load>) -> Value {
    let Explanation { key, at, policy, floor, tiers, writes, quarantined, serves } = explanation;
    json!({
        "key": key.as_str(),
        "at": at.seconds_f64(),
        "policy": {
            "pattern": policy.pattern,
            "memory_seconds": policy.ttl.memory.as_secs_f64(),
            "memcached_seconds": policy.ttl.memcached.as_secs_f64(),
            "redis_seconds": policy.ttl.redis.as_secs_f64(),
            "fresh_seconds": policy.fresh.as_secs_f64(),
            "grace_seconds": policy.grace.as_secs_f64(),
        },
        "deleted_up_to": floor.map(|floor| floor.0),
        "serves": self::serves(serves, *at),
        "load": load.map(self::load),
        "tiers": tiers.iter().map(|place| self::place(place, *at)).collect::<Vec<_>>(),
        "writes": writes.iter().map(|write| written(write, *at)).collect::<Vec<_>>(),
        "quarantined": quarantined.iter().map(quarantine_api::entry).collect::<Vec<_>>(),
    })
}

/// The load from the source of the key, and the lease by which gateways take turns at it.
fn load(load: &Load) -> Value {
    let Load { source, is_loading, lease } = load;
    let lease = match lease {
        LeaseStanding::Held(tier, Holder { gateway, remaining }) => json!({
            "state": "held",
            "tier": tier.as_str(),
            "gateway": gateway,
            "own": gateway == canary::gateway(),
            "ttl_seconds": remaining.map(|remaining| remaining.as_secs_f64()),
        }),
        LeaseStanding::Free(tier) => json!({ "state": "free", "tier": tier.as_str() }),
        LeaseStanding::Unknown(tier, why) => json!({ "state": "unknown", "tier": tier.as_str(), "why": why }),
        LeaseStanding::NoStore => json!({ "state": "no_store" }),
    };
    json!({ "source": &**source, "loading": is_loading, "lease": lease })
}

fn serves(serves: &Serves, now: Time) -> Value {
    let mut told = json!({
        "outcome": serves.outcome.label(),
        "why": serves.why,
        "value": serves.record.as_deref().map(|value| record(value, None, now)),
    });
    match &serves.outcome {
        ReadOutcome::Hit { tier } => told["tier"] = tier.as_str().into(),
        ReadOutcome::Stale { tier, why } => {
            told["tier"] = tier.as_str().into();
            told["stale_why"] = why.as_str().into();
        }
        ReadOutcome::Unavailable { failed } => {
            let failed = failed.iter().map(|(tier, why)| (tier.to_string(), Value::from(why.clone())));
            told["failed"] = Value::Object(failed.collect());
        }
        ReadOutcome::Miss => {}
    }
    told
}

fn place(place: &Place, now: Time) -> Value {
    let (holds, why, value) = match &place.holds {
        Holds::Nothing => ("nothing", None, None),
        Holds::Value(value) => ("value", None, Some(record(value, place.writer.as_deref(), now))),
        Holds::Junk(why) => ("junk", Some(why.clone()), None),
        Holds::Unjudged => ("unjudged", Some("the codec of the key failed".to_owned()), None),
        Holds::NoAnswer(why) => ("no_answer", Some(why.clone()), None),
    };
    let breakers = place
        .breakers
        .as_ref()
        .map(|(read, write)| json!({ "read": super::admin::breaker(read), "write": super::admin::breaker(write) }));
    json!({
        "tier": place.tier.as_str(),
        "holds": holds,
        "why": why,
        "value": value,
        "stored_bytes": place.stored_bytes,
        "flags": place.flags,
        "breakers": breakers,
        "waits": place.waits.as_ref().map(|item| recovery_api::item(item, now)),
    })
}

/// A value. `writer` is who wrote it, where more is known than it tells of itself.
fn record(record: &Record, writer: Option<&str>, now: Time) -> Value {
    let (written_by, found_in) = match &record.origin {
        Origin::Gateway(writer) => (&**writer, None),
        Origin::Tier(tier) => ("foreign", Some(tier.as_str())),
    };
    json!({
        "kind": record.kind.as_str(),
        "version": record.version.0,
        "rank": record.rank,
        "schema": &*record.schema,
        "digest": record.digest.hex(),
        "bytes": record.bytes.len(),
        "age_seconds": record.age(now).as_secs_f64(),
        "fresh": record.is_fresh(now),
        "ttl_seconds": record.remaining(now).as_secs_f64(),
        "served_for_seconds": record.hard_expiry.remaining(now).as_secs_f64(),
        "written_by": writer.unwrap_or(written_by),
        "found_in": found_in,
        "repairs": &*record.repairs,
    })
}

fn written(written: &Written, now: Time) -> Value {
    let what = match &written.what {
        What::Value { kind, version, bytes_len, repairs } => json!({
            "what": "value", "kind": kind.as_str(), "version": version.0, "bytes": bytes_len, "repairs": repairs,
        }),
        What::Refused { bytes_len, error } | What::NotPlaced { bytes_len, why: error } => {
            json!({ "what": "refused", "bytes": bytes_len, "error": error })
        }
        What::Delete(floor) => json!({ "what": "delete", "version": floor.0 }),
    };
    let outcomes = written.outcomes.iter().map(|(tier, outcome, reason)| {
        let told = match reason {
            None => json!({ "outcome": outcome }),
            Some(reason) => json!({ "outcome": outcome, "reason": reason }),
        };
        (tier.to_string(), told)
    });
    json!({
        "at": written.at.seconds_f64(),
        "ago_seconds": now.since(written.at).as_secs_f64(),
        "from": &*written.from,
        "write": what,
        "tiers": outcomes.collect::<serde_json::Map<_, _>>(),
    })
}
