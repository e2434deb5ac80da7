//! Playing a lane: what waits is written when its time has come.

use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::lane::{Lane, Turn};
use crate::cache::history::RECOVERY;
use crate::cache::{Cache, What, Written};
use crate::record::{DeleteOutcome, Time, WriteOutcome};
use crate::tier::Tier;
use crate::tier::breaker::Phase;

/// Items of one lane that are under way at once.
const UNDER_WAY_MAX: usize = 16;

/// How often what has ended is dropped, and what waits is told.
const TIDIED_EVERY: Duration = Duration::from_secs(1);

/// How a try ended.
enum Tried {
    /// It needs no other.
    Settled(&'static str),
    /// The tier did not take it.
    Again(String),
}

impl Cache {
    /// Plays the lane of the tier number `at` for ever.
    pub(super) async fn play(&self, at: usize) {
        let (tier, lane) = (&*self.tiers[at], &self.lanes[at]);
        tokio::join!(self.play_lane(tier, lane), tidy(lane));
    }

    async fn play_lane(&self, tier: &dyn Tier, lane: &Lane) {
        let mut phases = tier.breakers().map(|breakers| breakers.write.phases());
        let mut under_way = FuturesUnordered::new();
        loop {
            if let Some(phases) = &mut phases
                && *phases.borrow_and_update() != Phase::Closed
            {
                // The breaker's probes find out when the tier is back; trying meanwhile would only wear the items out.
                while let Some((turn, tried)) = under_way.next().await {
                    end(lane, &turn, tried);
                }
                if phases.wait_for(|phase| *phase == Phase::Closed).await.is_err() {
                    return;
                }
                lane.hurry();
            }
            let now = Instant::now();
            while under_way.len() < UNDER_WAY_MAX
                && let Some(turn) = lane.turn(now)
            {
                under_way.push(async move {
                    let tried = self.try_once(tier, &turn).await;
                    if let Tried::Settled(outcome) = &tried {
                        self.remember(tier, &turn, outcome);
                    }
                    (turn, tried)
                });
            }
            let may_take_more = under_way.len() < UNDER_WAY_MAX;
            tokio::select! {
                Some((turn, tried)) = under_way.next() => end(lane, &turn, tried),
                () = async { if may_take_more { lane.is_due().await } else { pending().await } } => {}
            }
        }
    }

    /// What is told of an item that was settled, beside the other writes of its key.
    fn remember(&self, tier: &dyn Tier, turn: &Turn, outcome: &'static str) {
        let outcomes = vec![(tier.name().clone(), outcome, None)];
        let what = match (&turn.wish.record, turn.wish.floor) {
            (Some(record), _) => What::value(record),
            (None, floor) => What::Delete(floor.unwrap_or_default()),
        };
        self.history.note(&turn.key, Written { at: Time::now(), from: RECOVERY.into(), what, outcomes });
    }

    async fn try_once(&self, tier: &dyn Tier, turn: &Turn) -> Tried {
        let Turn { key, wish, .. } = turn;
        let mut settled = "ended";
        if let Some(floor) = wish.floor {
            match tier.delete(key, floor).await {
                DeleteOutcome::Failed(failure) => return Tried::Again(failure.to_string()),
                DeleteOutcome::Unknown(why) | DeleteOutcome::Queued(why) => return Tried::Again(why),
                outcome @ (DeleteOutcome::Deleted | DeleteOutcome::Absent | DeleteOutcome::Superseded) => {
                    settled = outcome.label();
                }
            }
        }
        let Some(record) = &wish.record else { return Tried::Settled(settled) };
        let now = Time::now();
        if record.remaining(now).is_zero() {
            return Tried::Settled("ended");
        }
        if self.is_deleted(key, record.version) {
            return Tried::Settled("superseded");
        }
        match tier.put(key, record).await {
            WriteOutcome::Failed(failure) => Tried::Again(failure.to_string()),
            WriteOutcome::Unknown(why) | WriteOutcome::Queued(why) => Tried::Again(why),
            outcome => {
                if outcome == WriteOutcome::Stored {
                    self.appraiser.saw_stored(tier.name(), key, record, now);
                }
                Tried::Settled(outcome.label())
            }
        }
    }
}

fn end(lane: &Lane, turn: &Turn, tried: Tried) {
    let (tier, key) = (lane.tier(), &turn.key);
    match tried {
        Tried::Settled(outcome) => {
            tracing::info!(%tier, %key, outcome, "what waited for the tier is settled");
            lane.settle(turn, outcome);
        }
        Tried::Again(why) => {
            tracing::debug!(%tier, %key, why, "what waits for the tier waits on");
            lane.again(turn, why);
        }
    }
}

async fn tidy(lane: &Lane) {
    let mut ticks = interval(TIDIED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        lane.tidy(Time::now());
    }
}
