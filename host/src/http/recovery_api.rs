//! `GET /api/admin/recovery`: what waits for tiers that did not take it.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::App;
use super::respond::{self, Answer};
use crate::cache::{LaneStatus, WaitingItem};
use crate::record::Time;

/// Items of each lane that are listed: those that waited longest.
const ITEMS_LISTED_MAX: usize = 1_000;

/// Every lane.
pub(super) fn list(app: &App) -> Answer {
    respond::json(StatusCode::OK, &json!({ "lanes": lanes(app, ITEMS_LISTED_MAX) }))
}

/// Every lane, with at most so many items of each.
pub(super) fn lanes(app: &App, items_max: usize) -> Vec<Value> {
    let now = Time::now();
    app.cache.recovery(items_max).iter().map(|status| lane(status, now)).collect()
}

fn lane(lane: &LaneStatus, now: Time) -> Value {
    json!({
        "tier": lane.tier.as_str(),
        "depth": lane.depth,
        "bytes": lane.bytes,
        "oldest_seconds": lane.oldest.map(|age| age.as_secs_f64()),
        "limits": { "keys": lane.limits.items_max, "bytes": lane.limits.bytes_max },
        "items": lane.items.iter().map(|waiting| item(waiting, now)).collect::<Vec<_>>(),
    })
}

/// One item.
pub(super) fn item(item: &WaitingItem, now: Time) -> Value {
    let record = item.wish.record.as_deref().map(|record| {
        json!({
            "kind": record.kind.as_str(), "version": record.version.0, "bytes": record.bytes.len(),
            "ttl_seconds": record.remaining(now).as_secs_f64(),
        })
    });
    json!({
        "key": item.key.as_str(),
        "delete_up_to": item.wish.floor.map(|floor| floor.0),
        "write": record,
        "waiting_seconds": now.since(item.wish.since).as_secs_f64(),
        "tries": item.tries,
        "why": item.why,
    })
}
