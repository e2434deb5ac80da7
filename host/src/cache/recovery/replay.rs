//! Playing a lane: what waits is written when its time has come.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::lane::{Ended, Lane, OUTLIVED, Part, Turn};
use crate::cache::history::RECOVERY;
use crate::cache::{Cache, What, Written};
use crate::record::{DeleteOutcome, Failure, Key, Record, Time, WriteOutcome};
use crate::tier::Tier;
use crate::tier::breaker::Phase;

/// Items of one lane that are under way at once.
const UNDER_WAY_MAX: usize = 16;

/// How often what has ended is dropped, and what waits is told.
const TIDIED_EVERY: Duration = Duration::from_secs(1);

/// The pause after a try of a tier that takes nothing, though it answers: one item is tried at a time then, or a full lane
/// would run over a server that has its troubles.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Why something no longer waits that the tier did.
const CARRIED_OUT: &str = "it waited, and was carried out when the tier was back";

/// How a try ended.
enum Tried {
    /// It needs no other: this became of each part.
    Settled(Vec<Ended>),
    /// The tier did not take it.
    Again {
        why: String,
        /// Whether it would have taken no other either.
        may_pass: bool,
    },
}

impl From<Failure> for Tried {
    fn from(failure: Failure) -> Self {
        Self::Again { why: failure.to_string(), may_pass: failure.may_pass() }
    }
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
        let mut refused_until: Option<Instant> = None;
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
                refused_until = None;
            }
            let now = Instant::now();
            let limit = match refused_until {
                Some(until) if now < until => 0,
                Some(_) => 1,
                None => UNDER_WAY_MAX,
            };
            while under_way.len() < limit
                && let Some(turn) = lane.turn(now)
            {
                under_way.push(async move {
                    let tried = self.try_once(tier, &turn).await;
                    if let Tried::Settled(ends) = &tried {
                        self.tell_lost(tier, &turn.key, ends);
                    }
                    (turn, tried)
                });
            }
            let may_take_more = under_way.len() < limit;
            tokio::select! {
                Some((turn, tried)) = under_way.next() => {
                    match &tried {
                        Tried::Again { may_pass: true, .. } => refused_until = Some(Instant::now() + REFUSED_PAUSE),
                        Tried::Settled(_) if refused_until.take().is_some() => lane.hurry(),
                        Tried::Again { .. } | Tried::Settled(_) => {}
                    }
                    end(lane, &turn, tried);
                }
                () = sleep_until(refused_until.unwrap_or(now)), if limit == 0 => {}
                () = async { if may_take_more { lane.is_due().await } else { pending().await } } => {}
            }
        }
    }

    /// Other gateways do not hear from the tier of what it refused in the end.
    fn tell_lost(&self, tier: &dyn Tier, key: &Key, ends: &[Ended]) {
        for (part, outcome, why) in ends {
            if let Part::Write(record) = part {
                let outcomes = vec![(tier.name().clone(), *outcome, Some(why.clone()))];
                let what = What::value(record);
                self.tell_loss(key, Written { at: Time::now(), from: RECOVERY.into(), what, outcomes });
            }
        }
    }

    async fn try_once(&self, tier: &dyn Tier, turn: &Turn) -> Tried {
        let Turn { key, wish, .. } = turn;
        let mut ends = Vec::new();
        if let Some(floor) = wish.floor {
            match tier.delete(key, floor).await {
                DeleteOutcome::Failed(failure) => return failure.into(),
                DeleteOutcome::Unknown(why) | DeleteOutcome::Queued(why) => return Failure::passing(why).into(),
                outcome @ (DeleteOutcome::Deleted | DeleteOutcome::Absent | DeleteOutcome::Superseded) => {
                    if outcome != DeleteOutcome::Superseded {
                        self.appraiser.saw_removed(tier.name(), key, floor, Time::now());
                    }
                    let why = outcome.reason().unwrap_or_else(|| CARRIED_OUT.to_owned());
                    ends.push((Part::Delete(floor), outcome.label(), why));
                }
            }
        }
        if let Some(record) = &wish.record {
            match self.try_to_write(tier, key, record).await {
                Ok((outcome, why)) => ends.push((Part::Write(record.clone()), outcome, why)),
                Err(failure) => return failure.into(),
            }
        }
        Tried::Settled(ends)
    }

    async fn try_to_write(
        &self,
        tier: &dyn Tier,
        key: &Key,
        record: &Arc<Record>,
    ) -> Result<(&'static str, String), Failure> {
        if record.remaining(Time::now()).is_zero() {
            let (outcome, why) = OUTLIVED;
            return Ok((outcome, why.to_owned()));
        }
        // A tier that is shared keeps out itself what was deleted meanwhile, and tells others that it did.
        if !tier.is_shared() && self.is_deleted(key, record.version) {
            return Ok((WriteOutcome::Superseded.label(), "it was deleted meanwhile".to_owned()));
        }
        match tier.put(key, record).await {
            WriteOutcome::Failed(failure) => Err(failure),
            WriteOutcome::Unknown(why) | WriteOutcome::Queued(why) => Err(Failure::passing(why)),
            outcome => {
                if outcome == WriteOutcome::Stored {
                    self.appraiser.saw_stored(tier.name(), key, record, Time::now());
                }
                Ok((outcome.label(), outcome.reason().unwrap_or_else(|| CARRIED_OUT.to_owned())))
            }
        }
    }
}

fn end(lane: &Lane, turn: &Turn, tried: Tried) {
    let (tier, key) = (lane.tier(), &turn.key);
    match tried {
        Tried::Settled(ends) => {
            for (_, outcome, why) in &ends {
                tracing::info!(%tier, %key, outcome, why, "what waited for the tier is settled");
            }
            lane.settle(turn, &ends);
        }
        Tried::Again { why, .. } => {
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
