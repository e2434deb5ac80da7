//! [`Newcomer`]: a version that is prepared beside the one that serves, so that no call waits for a swap.
//!
//! The aggregator's thread only says where a newcomer begins ([`Start`]), and from there on keeps what changes the state. On
//! another thread the newcomer takes over the state of that moment, by `restore` or by a whole tape, and then what was kept
//! meanwhile, until little of it is left. That little the aggregator's thread gives it between the calls that it goes on
//! answering; when nothing is left, it moves the pointer.

use std::sync::Arc;

use crate::plugin::bindings::AggregatorPlugin;
use crate::plugin::call::Taken;
use crate::plugin::error::PluginError;
use crate::plugin::loaded::Loaded;
use crate::plugin::shadow::{Companion, Handover, give, take_over};
use crate::plugin::slot::Generation;
use crate::plugin::tap::Tap;
use crate::plugin::tape::Record;

use super::life::Life;

/// How often a newcomer takes over what was kept meanwhile before the rest is left to the aggregator's thread: each time there
/// is less, as long as it is faster than what comes.
const ROUNDS_MAX: usize = 16;

/// So little is left to the aggregator's thread at once.
const LEFT_MAX: usize = 8;

/// Kept calls that a newcomer is given before the aggregator's next call is answered. More than one, so that it catches up
/// however many there are; few, because that call waits for them.
pub(super) const GIVEN_AT_ONCE: usize = 2;

/// Where a newcomer begins.
pub(super) enum Start {
    /// It went on beside the active version, and still has to hear what waits for it.
    Beside(Companion<Life>),
    /// With what the active version saved; where it refuses that, with what is on the tape.
    State(Result<Arc<[u8]>, PluginError>, Record),
}

/// A version that is to take over.
pub(super) struct Newcomer {
    pub(super) life: Life,
    /// How it came by its state.
    pub(super) state: Handover,
}

// === impl Newcomer ===

impl Newcomer {
    /// One without state.
    pub(super) fn fresh(next: &Arc<Generation<Loaded<AggregatorPlugin>>>) -> Result<Self, PluginError> {
        let mut life = Life::new(next.clone());
        // One that cannot be saved could not survive a trap.
        life.checkpoint()?;
        Ok(Self { life, state: Handover::Fresh })
    }

    /// One that has the state of `start` and nearly all that came since; `None` if it went on beside the active version and is
    /// not fit to take over.
    pub(super) fn prepare(
        start: Start,
        next: &Arc<Generation<Loaded<AggregatorPlugin>>>,
        tap: &Tap<Life>,
    ) -> Result<Option<Self>, PluginError> {
        let (life, state) = match start {
            Start::Beside(companion) => match companion.finish() {
                Some(life) => (life, Handover::Kept),
                None => return Ok(None),
            },
            Start::State(saved, record) => take_over(|| Life::new(next.clone()), saved, || record.histories())?,
        };
        let mut newcomer = Self { life, state };
        for _ in 0..ROUNDS_MAX {
            let kept = newcomer.kept(tap)?;
            for taken in &kept {
                give(&mut newcomer.life, taken)?;
            }
            if kept.len() <= LEFT_MAX {
                break;
            }
        }
        if matches!(newcomer.state, Handover::Replayed(..)) {
            // One that cannot be saved could not survive a trap.
            newcomer.life.checkpoint()?;
        }
        Ok(Some(newcomer))
    }

    /// What has come since it was last asked for.
    pub(super) fn kept(&self, tap: &Tap<Life>) -> Result<Vec<Arc<Taken>>, PluginError> {
        if self.state == Handover::Fresh {
            return Ok(Vec::new());
        }
        let too_much = || {
            let why = "more came in while it was prepared than is kept for it; try again when less does";
            self.life.generation().identity.refused(why)
        };
        tap.kept().ok_or_else(too_much)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

    use bytes::Bytes;

    use super::super::AggregatorSlot;
    use super::*;
    use crate::market::{Aggregator as _, Signal};
    use crate::plugin::loader::Loader;
    use crate::plugin::slot::Slot;
    use crate::plugin::tap::AnyTap as _;
    use crate::plugin::tape::Entry;
    use crate::plugin::{Limits, engine, guest};
    use crate::record::Time;

    /// A tape that holds all of a test.
    const TAPE_BYTES_MAX: usize = 256 << 20;

    /// Calls on the tape before the swap.
    const CALLS: u32 = 5_000;

    /// Who calls at once; more than have a place while the aggregator does something else.
    const POSTERS: usize = 80;

    /// Calls that are answered while the tape is replayed, at least: far more than would be if all waited for that, as the
    /// calls do that came before it.
    const ANSWERED_MIN: u32 = 1_000;

    fn load(dir: &tempfile::TempDir, component: &[u8]) -> Arc<Loaded<AggregatorPlugin>> {
        let loader = Loader::new(engine::start(engine::Room::TEST).unwrap(), &dir.path().join("code")).unwrap();
        Arc::new(loader.load(&guest::spec(dir.path(), "aggregator", component), &Limits::AGGREGATOR).unwrap())
    }

    fn aggregator() -> (tempfile::TempDir, Arc<AggregatorSlot>) {
        let dir = tempfile::tempdir().unwrap();
        let loaded = load(&dir, &guest::aggregator());
        let slot = Slot::new("aggregator".into(), loaded.identity.clone(), loaded);
        (dir, Arc::new(AggregatorSlot::start(slot, TAPE_BYTES_MAX).unwrap()))
    }

    fn offer(
        aggregator: &AggregatorSlot,
        dir: &tempfile::TempDir,
        component: &[u8],
    ) -> Arc<Generation<Loaded<AggregatorPlugin>>> {
        let next = load(dir, component);
        aggregator.slot().offer(next.identity.clone(), next)
    }

    async fn ingest(aggregator: &AggregatorSlot, seq: u64) {
        let signal = Signal { seq, received_at: Time::now(), body: Bytes::from_static(b"{}") };
        let rejected = aggregator.ingest(Time::now(), vec![signal]).await.expect("it is never too busy");
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    /// How many signals are in the state of now.
    async fn counted(aggregator: &AggregatorSlot, dir: &tempfile::TempDir) -> u32 {
        // A swap puts it on the tape.
        aggregator.activate(offer(aggregator, dir, &guest::aggregator()), false, false).await.unwrap();
        let Some(Entry::State(state)) = aggregator.tap().entries().pop() else { panic!("no state") };
        u32::from_le_bytes(state[..4].try_into().unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_call_waits_while_a_whole_tape_is_replayed_into_a_version_that_refuses_the_state() {
        let (dir, aggregator) = aggregator();
        for seq in 0..CALLS {
            ingest(&aggregator, seq.into()).await;
        }
        let next = offer(&aggregator, &dir, &guest::aggregator_that_refuses_states());
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let posters: Vec<_> = (0..POSTERS)
            .map(|_| {
                let (aggregator, is_over, answered) = (aggregator.clone(), is_over.clone(), answered.clone());
                tokio::spawn(async move {
                    while !is_over.load(SeqCst) {
                        ingest(&aggregator, CALLS.into()).await;
                        answered.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        let activated = aggregator.activate(next.clone(), false, false).await.unwrap();
        let meanwhile = answered.load(SeqCst);
        is_over.store(true, SeqCst);
        assert!(meanwhile >= ANSWERED_MIN, "{meanwhile}");
        assert!(
            matches!(activated.state, Handover::Replayed(count, _) if count >= CALLS as usize),
            "{:?}",
            activated.state
        );
        assert_eq!(aggregator.slot().active().number, next.number);
        for poster in posters {
            poster.await.unwrap();
        }
        assert_eq!(counted(&aggregator, &dir).await, CALLS + answered.load(SeqCst), "every signal once");
    }

    #[test]
    fn what_a_version_makes_of_time_and_randomness_while_it_starts_saves_or_restores_is_the_same_in_a_replay() {
        use crate::plugin::shadow::Runner as _;
        let dir = tempfile::tempdir().unwrap();
        let plugin = load(&dir, &guest::aggregator_that_saves_the_time());
        let identity = plugin.identity.clone();
        let generation = Arc::new(Generation { number: 1, loaded_at: Time::now(), identity, plugin });
        let now = Time::now();
        let signal = Signal { seq: 1, received_at: now, body: Bytes::from_static(b"{}") };
        let question = crate::plugin::call::Question::Ingest { now, batch: Arc::from([signal]) };
        let run = || {
            let mut life = Life::new(generation.clone());
            life.answer(&question);
            let first = life.checkpoint().unwrap();
            let mut restored = Life::new(generation.clone());
            restored.seed(&first).unwrap();
            restored.answer(&question);
            (first, restored.checkpoint().unwrap())
        };
        let (first, second) = run();
        assert_eq!(first[8..16], now.micros().to_le_bytes(), "the time of the call, which was recorded");
        assert_eq!((first, second), run());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_version_that_fails_at_an_input_which_the_one_before_it_took_does_not_take_over() {
        let (dir, aggregator) = aggregator();
        for seq in 1..=3 {
            ingest(&aggregator, seq).await;
        }
        let next = offer(&aggregator, &dir, &guest::aggregator_that_refuses_states_and_traps());
        let refused = aggregator.activate(next, false, false).await.unwrap_err().to_string();
        assert!(refused.contains("signals 1 to 1, which the version before it took: "), "{refused}");
        assert_eq!(aggregator.slot().active().number, 1);
        assert_eq!(counted(&aggregator, &dir).await, 3, "the active one goes on");
    }
}
