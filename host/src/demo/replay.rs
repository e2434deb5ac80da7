//! Posts the feed to the gateway, as any producer would.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use tokio::time::{MissedTickBehavior, interval};

use super::Feed;
use crate::client::Client;
use crate::record::Time;

/// Between two steps: five recorded minutes pass in each.
const STEP_EVERY: Duration = Duration::from_secs(1);

/// Before the first step, so that last known values are seen as what they are after a restart.
const FIRST_STEP_AFTER: Duration = Duration::from_secs(1);

/// Replays `feed` into the gateway that `client` speaks to, for ever.
pub async fn replay(mut feed: Feed, client: Client) {
    tokio::time::sleep(FIRST_STEP_AFTER).await;
    let mut ticks = interval(STEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let mut lines = Vec::new();
        for signal in feed.next_step(Time::now().micros()) {
            lines.extend_from_slice(signal.to_string().as_bytes());
            lines.push(b'\n');
        }
        let failure = match client.send(Method::POST, "/api/signals", Bytes::from(lines)).await {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))),
            Err(error) => Some(error.to_string()),
        };
        // Told when it begins and when it ends, not every second.
        match (&failure, failing) {
            (Some(why), false) => tracing::warn!(why, "the demo feed was not taken"),
            (None, true) => tracing::info!("the demo feed is taken again"),
            _ => {}
        }
        failing = failure.is_some();
    }
}
