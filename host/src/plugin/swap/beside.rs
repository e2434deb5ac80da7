//! What runs beside the active version of a slot: a candidate in shadow, or the version before on probation.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::written::About;
use super::{Done, Only, Operator, SwapError, refused};
use crate::plugin::Plugins;
use crate::plugin::aside::aside;
use crate::plugin::shadow::{Mode, Report};
use crate::plugin::slot::SlotStatus;
use crate::plugin::tap::AnyTap;
use crate::plugin::tape::file;

/// How often a version on probation is held against its bounds.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long after a rollback that failed it is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The longest that a rollback is put off until the version before has heard all that it missed.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// See [`CATCH_UP_MAX`].
const CATCH_UP_LOOK: Duration = Duration::from_millis(2);

/// Who ends a probation, in the audit log.
pub const PROBATION: &str = "probation";

impl Operator {
    /// Lets the candidate of a slot run beside the active version, from its state on. Nothing of it is served.
    ///
    /// # Errors
    ///
    /// When there is none, or the version before the active one runs there, because that one is on probation.
    pub async fn shadow(&self, slot: &str, by: &str) -> Result<Done<SlotStatus>, SwapError> {
        let _turn = self.turn.lock().await;
        let about = About::some(self.status_of(slot).ok().and_then(|status| status.candidate));
        let shadowed = self.shadow_in_turn(slot).await.and_then(|()| self.status_of(slot));
        match shadowed {
            Ok(now) => Ok(self.done(("shadow", slot), now, about, (None, None), by).await),
            Err(error) => Err(self.not_done(("shadow", slot), about, error, by).await),
        }
    }

    async fn shadow_in_turn(&self, slot: &str) -> Result<(), SwapError> {
        let status = self.status_of(slot)?;
        if status.beside.is_some_and(|beside| beside.mode == Mode::Probation) {
            let why = format!(
                "slot `{slot}` is on probation, and its version before runs beside it; wait until that ends, or roll back"
            );
            return Err(SwapError::Refused(why));
        }
        let none = || SwapError::Nothing { slot: slot.to_owned(), what: "candidate; load one first".to_owned() };
        let Plugins { codecs, aggregator, warmer } = &self.plugins;
        if let Some((at, found)) = codecs.slot(slot) {
            let candidate = found.candidate().ok_or_else(none)?;
            return codecs.accompany(at, &candidate, Mode::Shadow).map_err(refused);
        }
        if **aggregator.slot().name() == *slot {
            let candidate = aggregator.slot().candidate().ok_or_else(none)?;
            return aggregator.shadow(candidate).await.map_err(|error| SwapError::Refused(error.to_string()));
        }
        let candidate = warmer.slot().candidate().ok_or_else(none)?;
        let warmer = warmer.clone();
        aside(move || warmer.shadow(&candidate)).await?.map_err(refused)
    }

    /// What the companion of a slot has found so far; when there is none, what the last one had found when it ended.
    ///
    /// # Errors
    ///
    /// When there is no such slot, or nothing ever ran beside its active version.
    pub fn report(&self, slot: &str) -> Result<Report, SwapError> {
        self.slot(slot)?;
        let nothing = || SwapError::Nothing {
            slot: slot.to_owned(),
            what: "report; `shadow` a candidate, or `use` one with probation".to_owned(),
        };
        self.current(slot).or_else(|| self.reports().get(slot).cloned()).ok_or_else(nothing)
    }

    /// The last calls of a slot, as a file.
    ///
    /// # Errors
    ///
    /// When there is no such slot.
    pub fn tape(&self, slot: &str) -> Result<Vec<u8>, SwapError> {
        let tap = self.tap(slot)?;
        let world = self.status_of(slot)?.world;
        Ok(file::write(slot, world, &tap.entries()))
    }

    /// Watches the version that was just used until its probation is over, rolls it back when it crosses a bound, and
    /// confirms it when it does not.
    pub(super) fn watch(self: &Arc<Self>, slot: &str, generation: u64) {
        let (operator, slot) = (self.clone(), slot.to_owned());
        tokio::spawn(async move {
            let ends = Instant::now() + operator.config.probation.lasts;
            while let Some(report) = operator.on_probation(&slot, generation) {
                if let Some(why) = report.breach(&operator.config.probation.bounds) {
                    return operator.roll_back_because(&slot, generation, &why).await;
                }
                if Instant::now() >= ends {
                    if let Err(error) = operator.confirm(&slot, generation).await {
                        tracing::error!(slot, generation, %error, "a probation ended otherwise than it should");
                    }
                    return;
                }
                sleep(LOOK_EVERY).await;
            }
        });
    }

    /// Gives the version that runs beside the active one time to hear what waits for it, so that nobody waits for it later.
    pub(super) async fn catch_up(&self, slot: &str) {
        let is_behind = || self.tap(slot).is_ok_and(|tap| !tap.has_caught_up());
        let until = Instant::now() + CATCH_UP_MAX;
        while is_behind() && Instant::now() < until {
            sleep(CATCH_UP_LOOK).await;
        }
    }

    /// What was found of this generation, as long as it is on probation.
    fn on_probation(&self, slot: &str, generation: u64) -> Option<Report> {
        let is_active = self.slot(slot).is_ok_and(|found| found.active() == generation);
        self.current(slot).filter(|report| is_active && report.mode == Mode::Probation)
    }

    /// Rolls a version back that crossed a bound; tries again as long as that fails, and nobody decides otherwise.
    pub(super) async fn roll_back_because(self: &Arc<Self>, slot: &str, generation: u64, why: &str) {
        tracing::warn!(
            slot,
            generation,
            why,
            "the new version did not pass its probation; the one before serves again"
        );
        let (nothing, mut told) = ("previous version", None);
        loop {
            let only = Only::Active { generation, why: why.to_owned(), told: told.take() };
            match self.swap_if(("rollback", slot), false, PROBATION, nothing, only).await {
                Ok(_) => return,
                // Somebody has discarded it.
                Err(SwapError::Nothing { .. }) => return,
                Err(error) => told = Some(error.to_string()),
            }
            sleep(RETRY_EVERY).await;
        }
    }

    async fn confirm(&self, slot: &str, generation: u64) -> Result<(), SwapError> {
        let _turn = self.turn.lock().await;
        if self.on_probation(slot, generation).is_none() {
            return Ok(());
        }
        self.part(slot, |_| true)?;
        let about = self.status_of(slot)?.active().into();
        // Nobody waits for an answer; what cannot be written is in the log.
        self.tell(("confirm", slot), about, Ok(None), PROBATION).await;
        Ok(())
    }

    /// Ends what runs beside the active version of a slot, if it is a generation that is meant, and keeps its report.
    pub(super) fn part(&self, slot: &str, is_meant: impl Fn(u64) -> bool) -> Result<(), SwapError> {
        let tap = self.tap(slot)?;
        self.remember(slot);
        tap.dismiss(&is_meant);
        Ok(())
    }

    /// Keeps what the companion of a slot has found, before it goes.
    pub(super) fn remember(&self, slot: &str) {
        if let Some(report) = self.current(slot) {
            self.reports().insert(slot.to_owned(), report);
        }
    }

    fn current(&self, slot: &str) -> Option<Report> {
        self.tap(slot).ok()?.report()
    }

    /// Where the calls of the slot of this name are heard, whatever it holds.
    fn tap(&self, name: &str) -> Result<&dyn AnyTap, SwapError> {
        let Plugins { codecs, aggregator, warmer } = &self.plugins;
        if let Some((at, _)) = codecs.slot(name) {
            return Ok(codecs.tap(at));
        }
        let others: [(&str, &dyn AnyTap); 2] =
            [(aggregator.slot().name(), aggregator.tap()), (warmer.slot().name(), warmer.tap())];
        others.into_iter().find(|(known, _)| *known == name).map(|(_, tap)| tap).ok_or_else(|| self.no_slot(name))
    }
}
