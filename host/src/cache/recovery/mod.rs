//! Recovery: what a tier could not take while it did not answer, or refused whatever it was brought, waits in its lane, and is
//! written when the tier is back.
//!
//! A lane holds the greatest record of each key, and before it the delete that came meanwhile. They are played through the
//! same compare-and-set as any write, so that what others wrote in between stays where it is greater. No lane waits for
//! another; within a lane each item has its own time to be tried again, so that none holds up the next. What waits is in
//! the journal before its writer is told so; where that takes longer than the writer's deadline, it is told that, too.

mod lane;
mod replay;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Cache;
use crate::record::{DeleteOutcome, Key, Kind, Record, Time, Version, WriteOutcome};
use crate::telemetry::metrics;
use crate::tier::disk::journal::{Ticket, Waiting};

pub(super) use lane::{Lane, Part};
pub use lane::{LaneStatus, Limits, WaitingItem};
use lane::{Offer, Taken};

impl Cache {
    /// What is told of every lane, in the order of the tiers; the items that waited longest first, at most `items_max` each.
    pub fn recovery(&self, items_max: usize) -> Vec<LaneStatus> {
        let now = Time::now();
        self.lanes.iter().map(|lane| lane.status(now, items_max)).collect()
    }

    /// Takes up what waited when the process ended; readers have it again meanwhile.
    pub(super) fn take_up(&self, waiting: Vec<Waiting>) {
        let now = Time::now();
        let (mut taken, mut known) = (0, Vec::new());
        for (tier, key, wish) in waiting {
            let Some(lane) = self.lanes.iter().find(|lane| *lane.tier() == tier) else {
                tracing::warn!(%tier, %key, "a value waited for a tier that is not configured any more; it is forgotten");
                metrics::recovered(&tier, "forgotten");
                if let Some(journal) = &self.journal {
                    // Nobody waits for it to be forgotten: it would be forgotten again at the next start.
                    journal.note(&tier, &key, None);
                }
                continue;
            };
            if let Some(floor) = wish.floor {
                self.floors.raise(&key, floor);
                self.tiers.iter().for_each(|tier| tier.raise_floor(&key, floor));
                self.saw(&key, floor);
            }
            known.extend(wish.record.clone().map(|record| (key.clone(), record)));
            lane.take_up(&key, wish);
            taken += 1;
        }
        if taken > 0 {
            tracing::info!(items = taken, "what waited for tiers before the restart waits again");
        }
        known.retain(|(key, record)| record.is_live(now) && !self.is_deleted(key, record.version));
        self.recall(known);
    }

    /// Lets a record that the tier number `at` could not take wait for it. Answers what the writer is to be told, `until` its
    /// request's deadline.
    ///
    /// A placeholder does not wait: it may be written only where nothing is, which nobody knows of a tier that is away.
    pub(super) async fn wait_to_write(
        &self,
        at: usize,
        key: &Key,
        copy: &Arc<Record>,
        outcome: WriteOutcome,
        until: Instant,
    ) -> WriteOutcome {
        let why = match &outcome {
            WriteOutcome::Failed(failure) if failure.may_pass() => failure.to_string(),
            WriteOutcome::Unknown(why) => why.clone(),
            _ => return outcome,
        };
        if copy.kind != Kind::Real {
            return outcome;
        }
        match self.lanes[at].offer(key, Offer::Write(copy.clone()), &why, Time::now()) {
            Taken::Waits(ticket) => WriteOutcome::Queued(self.waits(why, ticket, until).await),
            Taken::Outranked => WriteOutcome::Superseded,
            Taken::Full(limit) => WriteOutcome::Failed(format!("{why}; {limit}").into()),
        }
    }

    /// Lets a delete that the tier number `at` could not carry out wait for it. A delete that was carried out takes what
    /// waits for the tier with it.
    pub(super) async fn wait_to_delete(
        &self,
        at: usize,
        key: &Key,
        floor: Version,
        outcome: DeleteOutcome,
        until: Instant,
    ) -> DeleteOutcome {
        let why = match &outcome {
            DeleteOutcome::Failed(failure) if failure.may_pass() => failure.to_string(),
            DeleteOutcome::Unknown(why) => why.clone(),
            DeleteOutcome::Failed(_) | DeleteOutcome::Queued(_) => return outcome,
            DeleteOutcome::Deleted | DeleteOutcome::Absent | DeleteOutcome::Superseded => {
                if let Some(ticket) = self.lanes[at].forget_up_to(key, floor)
                    && let Err(why) = self.journalled(ticket, until).await
                {
                    let tier = self.lanes[at].tier();
                    tracing::warn!(%tier, %key, why, "a value that waited for the tier was deleted, and may wait again after a crash");
                }
                return outcome;
            }
        };
        match self.lanes[at].offer(key, Offer::Delete(floor), &why, Time::now()) {
            Taken::Waits(ticket) => DeleteOutcome::Queued(self.waits(why, ticket, until).await),
            Taken::Outranked => DeleteOutcome::Superseded,
            Taken::Full(limit) => DeleteOutcome::Failed(format!("{why}; {limit}").into()),
        }
    }

    /// The reason for waiting, once the journal has it; or why the journal has it not, or not yet.
    async fn waits(&self, why: String, ticket: Option<Ticket>, until: Instant) -> String {
        let Some(ticket) = ticket else { return why };
        match self.journalled(ticket, until).await {
            Ok(()) => why,
            Err(error) => format!("{why}; it waits in memory alone, because {error}"),
        }
    }

    /// Whether the journal has the change by then. What it is late with it still carries through.
    async fn journalled(&self, ticket: Ticket, until: Instant) -> Result<(), String> {
        let Some(journal) = &self.journal else { return Ok(()) };
        match timeout_at(until, journal.durable(ticket)).await {
            Ok(written) => written.map_err(|error| format!("the journal failed: {error}")),
            Err(_) => Err("the journal did not have it by the deadline".to_owned()),
        }
    }

    /// Plays the lanes for ever.
    pub async fn recover(self: Arc<Self>) {
        join_all((0..self.lanes.len()).map(|at| self.play(at))).await;
        // Without tiers below memory nothing ever waits.
        std::future::pending().await
    }
}
