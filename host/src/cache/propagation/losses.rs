//! [`Losses`]: writes that lost here, told to the other gateways, so that the history of a key is the same in each.
//!
//! A tier tells itself of what it took. What was refused, by memory or by any tier, is told in a stream where there is one,
//! beside the way of its writer. Whoever hears of it notes it, and does nothing else. Changes go through the same stream, which
//! keeps so many entries: losses are few beside them, however many there are.

use std::time::Duration;

use quick_cache::sync::Cache as Map;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use crate::cache::history::Told;
use crate::cache::{Cache, What, Written};
use crate::record::{Key, Kind, TierName, Version};
use crate::telemetry::metrics;

/// Losses that wait to be told. Of more nobody is told.
const WAITING_MAX: usize = 256;

/// Losses per second that are told at most: a hundredth of what the stream keeps.
const PER_SECOND: u32 = 100;

/// The same loss of a key is told once in this time.
const REPEATED_AFTER: Duration = Duration::from_secs(1);

/// Keys of which is remembered what was told last. The least used are forgotten.
const KEYS_MAX: usize = 4_096;

/// The longest text of a loss that is read.
const BYTES_MAX: usize = 16 << 10;

/// The labels of the outcomes that are losses. Others are not told: they are no loss, or may still change.
const LOST: [&str; 3] = ["superseded", "refused", "rejected"];

pub(in crate::cache) struct Losses {
    waiting: mpsc::Sender<(Key, Loss)>,
    /// For the one who tells.
    to_tell: Mutex<mpsc::Receiver<(Key, Loss)>>,
    last: Map<Key, Written>,
}

/// A loss as it is told.
#[derive(Serialize, Deserialize)]
struct Loss {
    what: LostWhat,
    tiers: Vec<(String, String, Option<String>)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LostWhat {
    Value { kind: u8, version: u64, bytes: usize, repairs: usize },
    Refused { bytes: usize, error: String },
}

// === impl Losses ===

impl Losses {
    pub fn new() -> Self {
        let (waiting, to_tell) = mpsc::channel(WAITING_MAX);
        Self { waiting, to_tell: Mutex::new(to_tell), last: Map::new(KEYS_MAX) }
    }

    /// Lets the loss of `written` be told, unless the like was a moment ago.
    fn add(&self, key: &Key, written: Written, loss: Loss) {
        let is_repeat = |last: &Written| written.at.since(last.at) < REPEATED_AFTER && is_like(last, &written);
        if self.last.get(key).is_some_and(|last| is_repeat(&last)) {
            return metrics::loss("repeated");
        }
        self.last.insert(key.clone(), written);
        if self.waiting.try_send((key.clone(), loss)).is_err() {
            metrics::loss("overflow");
        }
    }
}

fn is_like(one: &Written, other: &Written) -> bool {
    let labels = |written: &Written| -> Vec<(TierName, &str)> {
        written.outcomes.iter().map(|(tier, label, _)| (tier.clone(), *label)).collect()
    };
    let same_error = match (&one.what, &other.what) {
        (What::Refused { error, .. }, What::Refused { error: other, .. }) => error == other,
        (What::Value { .. }, What::Value { .. }) => true,
        _ => false,
    };
    same_error && one.from == other.from && labels(one) == labels(other)
}

// === impl Loss ===

impl Loss {
    /// `None` for what is none: nobody refused it.
    fn of(written: &Written) -> Option<Self> {
        let lost = written.outcomes.iter().filter(|(_, label, _)| LOST.contains(label));
        let told = |(tier, label, why): &Told| (tier.to_string(), (*label).to_owned(), why.clone());
        let tiers: Vec<_> = lost.map(told).collect();
        let what = match &written.what {
            What::Refused { bytes_len, error } => LostWhat::Refused { bytes: *bytes_len, error: error.clone() },
            What::Value { kind, version, bytes_len, repairs } if !tiers.is_empty() => {
                LostWhat::Value { kind: kind.digit(), version: version.0, bytes: *bytes_len, repairs: *repairs }
            }
            What::Value { .. } | What::NotPlaced { .. } | What::Delete(_) => return None,
        };
        Some(Self { what, tiers })
    }

    /// What it tells; `None` where that makes no sense here.
    fn read(self) -> Option<(What, Vec<Told>)> {
        let what = match self.what {
            LostWhat::Refused { bytes, error } => What::Refused { bytes_len: bytes, error },
            LostWhat::Value { kind, version, bytes, repairs } => {
                let kind = Kind::from_digit(kind)?;
                What::Value { kind, version: Version(version), bytes_len: bytes, repairs }
            }
        };
        let told = |(tier, label, why): (String, String, Option<String>)| {
            Some((TierName::new(tier), *LOST.iter().find(|known| **known == label)?, why))
        };
        Some((what, self.tiers.into_iter().map(told).collect::<Option<_>>()?))
    }
}

// === impl Cache ===

impl Cache {
    /// Lets other gateways know of `written`, if it lost and they can be told.
    pub(in crate::cache) fn tell_loss(&self, key: &Key, written: Written) {
        if self.tiers.iter().any(|tier| tier.shared().is_some())
            && let Some(loss) = Loss::of(&written)
        {
            self.losses.add(key, written, loss);
        }
    }

    /// Tells of losses, for ever. One that cannot be told now is not told.
    pub(super) async fn tell_losses(&self) {
        let mut to_tell = self.losses.to_tell.lock().await;
        let mut pace = interval(Duration::from_secs(1) / PER_SECOND);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Some((key, loss)) = to_tell.recv().await {
            pace.tick().await;
            let Some(shared) = self.tiers.iter().find_map(|tier| tier.shared()) else { continue };
            let told = match serde_json::to_string(&loss) {
                Ok(text) => shared.tell_loss(&key, &text).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            metrics::loss(if told.is_ok() { "told" } else { "failed" });
            if let Err(why) = told {
                tracing::debug!(%key, why, "other gateways are not told of a write that lost");
            }
        }
    }

    /// Notes what another gateway told of a write that lost there.
    pub(super) fn lost_elsewhere(&self, tier: &TierName, key: &Key, gateway: &str, loss: &str) {
        let read = (loss.len() <= BYTES_MAX).then(|| serde_json::from_str(loss).ok().and_then(Loss::read)).flatten();
        match read {
            Some((what, outcomes)) => self.history.lost_elsewhere(key, gateway, what, outcomes),
            None => {
                tracing::debug!(%tier, %key, gateway, loss, "a gateway tells of a loss in words that are not known")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Time;

    fn lost(at: Time, label: &'static str, why: &str) -> Written {
        let what = What::Value { kind: Kind::Real, version: Version(7), bytes_len: 2, repairs: 0 };
        let outcomes = vec![(TierName::new("redis"), label, Some(why.to_owned()))];
        Written { at, from: "api".into(), what, outcomes }
    }

    /// How many of these, each with the milliseconds when it came, are to be told.
    async fn told(all: impl IntoIterator<Item = (u64, Written)>) -> usize {
        let losses = Losses::new();
        let key = Key::new("k").unwrap();
        for (at, written) in all {
            let loss = Loss::of(&written).expect("a loss");
            losses.add(&key, Written { at: Time::from_micros(9_000_000 + at * 1_000), ..written }, loss);
        }
        losses.to_tell.lock().await.len()
    }

    #[tokio::test]
    async fn the_same_loss_of_a_key_is_told_once_a_second_and_never_do_more_wait_than_fit() {
        let one = || lost(Time::now(), "superseded", "why");
        assert_eq!(told([(0, one()), (999, lost(Time::now(), "superseded", "another reason"))]).await, 1);
        assert_eq!(told([(0, one()), (1_000, one())]).await, 2);
        assert_eq!(told([(0, one()), (1, lost(Time::now(), "refused", "why"))]).await, 2);
        assert_eq!(told((0..1_000).map(|n| (n * 1_000, one()))).await, WAITING_MAX);
    }

    #[test]
    fn what_lost_is_told_as_it_was_and_what_did_not_is_not() {
        let written = lost(Time::now(), "superseded", "why");
        let (what, outcomes) = Loss::of(&written).and_then(Loss::read).expect("a loss");
        assert_eq!((what, outcomes), (written.what, written.outcomes));
        assert!(Loss::of(&lost(Time::now(), "stored", "")).is_none());
        let refused = What::Refused { bytes_len: 2, error: "no value".to_owned() };
        let written = Written { what: refused, outcomes: Vec::new(), ..lost(Time::now(), "stored", "") };
        assert_eq!(Loss::of(&written).and_then(Loss::read).expect("a loss").0, written.what);
    }

    #[test]
    fn words_that_nobody_knows_are_no_loss() {
        let told = |label: &str| {
            let what = LostWhat::Value { kind: Kind::Real.digit(), version: 7, bytes: 2, repairs: 0 };
            Loss { what, tiers: vec![("redis".to_owned(), label.to_owned(), None)] }.read()
        };
        assert!(told("refused").is_some() && told("eaten").is_none());
    }
}
