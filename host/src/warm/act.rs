//! Carrying out: each action in a task of its own, so that one that hangs holds up nobody but itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Warm;
use super::warmer::{Action, Fate, Step};
use crate::cache::{NotPlaced, Put, Refreshed, Verdict};
use crate::record::{Key, Time};
use crate::source;
use crate::telemetry::metrics;

/// Who placeholders are from.
const FROM: &str = "warmer";

impl Warm {
    /// Actions under way.
    pub(super) fn under_way(&self) -> u32 {
        u32::try_from(self.ledger().under_way().len()).unwrap_or(u32::MAX)
    }

    /// Begins the `free` actions of the greatest priority.
    pub(super) fn carry_out(self: &Arc<Self>, now: Time, mut plan: Vec<Action>, free: u32) {
        plan.retain(|action| action.step != Step::Leave);
        // Of equals the one that the plugin named first goes first; of two for one key only the first counts.
        plan.sort_by_key(|action| std::cmp::Reverse(action.priority));
        let mut seen = BTreeSet::new();
        plan.retain(|action| seen.insert(action.key.clone()));
        for (at, action) in plan.into_iter().enumerate() {
            if at >= free as usize {
                self.end(&action.key, &action.step, now, Fate::OverBudget, None);
                continue;
            }
            self.ledger().begun(&action.key);
            let warm = self.clone();
            tokio::spawn(async move {
                let Action { key, step, .. } = action;
                let begun = Time::now();
                // Whatever becomes of the task, the key does not stay under way.
                let mut ending = Ending { warm: &warm, key: &key, step: &step, begun, told: None };
                ending.told = Some(warm.carry_out_one(&key, &step).await);
            });
        }
    }

    async fn carry_out_one(&self, key: &Key, step: &Step) -> (Fate, Option<String>) {
        match step {
            Step::Promote => self.promote(key).await,
            Step::Refresh => self.refresh(key).await,
            Step::Placeholder(body) => self.place(key, body.clone()).await,
            Step::Leave => (Fate::AlreadyThere, None),
        }
    }

    /// A look below memory: what it finds is taken into memory, and copied to the tiers above.
    async fn promote(&self, key: &Key) -> (Fate, Option<String>) {
        let Some(Refreshed { found, failed, moved }) = self.cache.refresh(std::slice::from_ref(key)).await.pop() else {
            return (Fate::Failed, None);
        };
        match found {
            Some(_) if moved => (Fate::Done, None),
            Some(_) if failed.is_empty() => (Fate::AlreadyThere, None),
            None if failed.is_empty() => (Fate::Refused, Some("no tier has a value".to_owned())),
            Some(_) | None => {
                let failed: Vec<_> = failed.into_iter().map(|(tier, why)| format!("{tier}: {why}")).collect();
                (Fate::Failed, Some(failed.join("; ")))
            }
        }
    }

    async fn refresh(&self, key: &Key) -> (Fate, Option<String>) {
        match self.sources.refresh(key).await {
            source::Refreshed::Written(put) | source::Refreshed::Unchanged(put) => of_put(&put),
            source::Refreshed::NotYet { until } => {
                let wait = humantime::format_duration(until.remaining(Time::now()));
                // It keeps its place: the plan was right, and the origin's turn is another's.
                (Fate::OverBudget, Some(format!("the source may not be asked for another {wait}")))
            }
            source::Refreshed::Failed(error) => (Fate::Failed, Some(error.to_string())),
            source::Refreshed::NoSource => (Fate::Refused, Some("the key has no source".to_owned())),
        }
    }

    async fn place(&self, key: &Key, body: Bytes) -> (Fate, Option<String>) {
        let placed = self.cache.put_placeholder(key, body, FROM.into(), self.config.placeholder_ttl).await;
        match placed {
            Ok(put) => of_put(&put),
            Err(error @ (NotPlaced::Taken(_) | NotPlaced::Occupied(_))) => (Fate::Refused, Some(error.to_string())),
            Err(error @ (NotPlaced::Unknown(_) | NotPlaced::Decode(_))) => (Fate::Failed, Some(error.to_string())),
        }
    }

    fn end(&self, key: &Key, step: &Step, begun: Time, fate: Fate, detail: Option<String>) {
        metrics::warmer_action(step.label(), fate.label());
        match (&detail, fate) {
            (Some(why), Fate::Failed) => tracing::warn!(%key, step = step.label(), why, "warming failed"),
            (why, fate) => tracing::debug!(%key, step = step.label(), fate = fate.label(), why, "warmed"),
        }
        self.ledger().ended(key, step, begun, fate, detail);
    }
}

/// What a write into the tiers comes to.
fn of_put(put: &Put) -> (Fate, Option<String>) {
    match put.verdict() {
        Verdict::Stored | Verdict::Queued => (Fate::Done, None),
        Verdict::Lost => (Fate::AlreadyThere, Some("a greater value is there".to_owned())),
        Verdict::Partial | Verdict::Unavailable => {
            let not = put.outcomes.iter().filter_map(|(tier, outcome)| {
                outcome.reason().map(|reason| format!("{tier}: {}: {reason}", outcome.label()))
            });
            let fate = if put.verdict() == Verdict::Partial { Fate::Done } else { Fate::Failed };
            (fate, Some(not.collect::<Vec<_>>().join("; ")))
        }
    }
}

/// Ends an action in the ledger however its task ends.
struct Ending<'a> {
    warm: &'a Warm,
    key: &'a Key,
    step: &'a Step,
    begun: Time,
    told: Option<(Fate, Option<String>)>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let (fate, detail) =
            self.told.take().unwrap_or_else(|| (Fate::Failed, Some("the task died; see the log".to_owned())));
        self.warm.end(self.key, self.step, self.begun, fate, detail);
    }
}
