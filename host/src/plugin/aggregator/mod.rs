//! [`AggregatorSlot`]: the aggregator, one long-lived instance on a thread of its own behind a bounded mailbox.
//!
//! The thread (`actor`) makes one call at a time. When a call costs the instance of a version (`life`), a new one takes over
//! with the state of the last checkpoint and the inputs since (`journal`), so that nothing is lost. A version that is to take
//! over from another is prepared beside it (`newcomer`).

mod actor;
mod convert;
mod journal;
mod life;
mod newcomer;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::market::{Aggregator, AggregatorError, Document, Publication, RejectedSignal, Signal, ViewRequest};
use crate::record::Time;

use super::bindings::{AggregatorPlugin, World as _};
use super::error::PluginError;
use super::loaded::Loaded;
use super::shadow::Activated;
use super::slot::{Generation, Slot, SlotStatus};
use super::tap::{AnyTap as _, Tap};
use actor::Actor;
use newcomer::{Newcomer, Start};

pub(super) use life::{Life, inputs, probe};

/// Calls that wait for the aggregator. One more waits [`MAILBOX_PATIENCE`] for a place, then it is told that the aggregator is
/// busy: signals are never dropped in silence.
const MAILBOX_CALLS_MAX: usize = 64;
/// See [`MAILBOX_CALLS_MAX`].
const MAILBOX_PATIENCE: Duration = Duration::from_millis(250);

/// The aggregator's place. The thread ends when the last handle is dropped.
pub struct AggregatorSlot {
    slot: Arc<Slot<Loaded<AggregatorPlugin>>>,
    mailbox: mpsc::Sender<Message>,
    tap: Arc<Tap<Life>>,
}

/// Where the answer of a call goes.
type Reply<T> = oneshot::Sender<Result<T, PluginError>>;

/// A call in the mailbox.
enum Message {
    Ingest { now: Time, batch: Arc<[Signal]>, reply: Reply<Vec<RejectedSignal>> },
    Observe { now: Time, changed: Arc<[Document]>, reply: Reply<()> },
    Documents { now: Time, reply: Reply<Vec<Publication>> },
    Inputs { reply: Reply<Vec<String>> },
    Shadow { candidate: Arc<Generation<Loaded<AggregatorPlugin>>>, reply: Reply<()> },
    Prepare { next: u64, reply: Reply<Start> },
    Activate { newcomer: Box<Newcomer>, probation: bool, reply: Reply<Activated> },
    Compose { now: Time, views: Arc<[ViewRequest]>, documents: Arc<[Document]>, reply: Reply<Vec<Bytes>> },
}

// === impl AggregatorSlot ===

impl AggregatorSlot {
    /// Starts the thread.
    pub(super) fn start(slot: Slot<Loaded<AggregatorPlugin>>, tape_bytes_max: usize) -> io::Result<Self> {
        let (slot, tap) = (Arc::new(slot), Arc::new(Tap::new(tape_bytes_max)));
        let (mailbox, calls) = mpsc::channel(MAILBOX_CALLS_MAX);
        let actor = Actor::new(slot.clone(), tap.clone());
        thread::Builder::new().name("aggregator".into()).spawn(move || actor.run(calls))?;
        Ok(Self { slot, mailbox, tap })
    }

    /// The slot as operators see it.
    pub fn status(&self) -> SlotStatus {
        self.slot.status(AggregatorPlugin::NAME, self.tap.beside())
    }

    pub(super) fn slot(&self) -> &Slot<Loaded<AggregatorPlugin>> {
        &self.slot
    }

    pub(super) fn tap(&self) -> &Tap<Life> {
        &self.tap
    }

    /// Lets `candidate` run beside the active version, from its state on.
    pub(super) async fn shadow(
        &self,
        candidate: Arc<Generation<Loaded<AggregatorPlugin>>>,
    ) -> Result<(), AggregatorError> {
        self.step(|reply| Message::Shadow { candidate, reply }).await
    }

    /// Lets `next` take over between two calls, with the state of the one before it, or without any if `fresh`: no signal is
    /// lost or taken twice, and no call waits until it is prepared. On `probation` the one before it goes on beside it. On an
    /// error nothing changes.
    pub(super) async fn activate(
        &self,
        next: Arc<Generation<Loaded<AggregatorPlugin>>>,
        fresh: bool,
        probation: bool,
    ) -> Result<Activated, AggregatorError> {
        let activated = match self.newcomer(&next, fresh).await {
            Ok(newcomer) => {
                let newcomer = Box::new(newcomer);
                self.step(|reply| Message::Activate { newcomer, probation, reply }).await
            }
            Err(error) => Err(error),
        };
        self.tap.keep_no_more();
        activated
    }

    /// Prepares `next` beside the active version.
    async fn newcomer(
        &self,
        next: &Arc<Generation<Loaded<AggregatorPlugin>>>,
        fresh: bool,
    ) -> Result<Newcomer, AggregatorError> {
        if fresh {
            let next = next.clone();
            return prepared(move || Newcomer::fresh(&next)).await;
        }
        loop {
            let start = self.step(|reply| Message::Prepare { next: next.number, reply }).await?;
            let (next, tap) = (next.clone(), self.tap.clone());
            // One that went on beside and is not fit after all is gone now: the next time it begins with a state.
            if let Some(newcomer) = prepared(move || Newcomer::prepare(start, &next, &tap)).await? {
                return Ok(newcomer);
            }
        }
    }

    async fn call<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, AggregatorError> {
        match timeout(MAILBOX_PATIENCE, self.mailbox.reserve()).await {
            Ok(place) => self.answer(place, message).await,
            Err(_) => Err(AggregatorError::Busy { waiting: MAILBOX_CALLS_MAX }),
        }
    }

    /// The same for a step of an operator, which waits for its place however long that takes: there is one at a time.
    async fn step<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, AggregatorError> {
        self.answer(self.mailbox.reserve().await, message).await
    }

    async fn answer<T>(
        &self,
        place: Result<mpsc::Permit<'_, Message>, SendError<()>>,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, AggregatorError> {
        let gone = || AggregatorError::Plugin(format!("the thread of slot {} has ended", self.slot.name()));
        let (reply, answer) = oneshot::channel();
        place.map_err(|_| gone())?.send(message(reply));
        let answer = answer.await.map_err(|_| gone())?;
        answer.map_err(|error| AggregatorError::Plugin(error.to_string()))
    }
}

/// Prepares something where nobody waits for it; but not behind all others, because what comes in meanwhile has to be kept.
async fn prepared<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PluginError> + Send + 'static,
) -> Result<T, AggregatorError> {
    let died = |died| AggregatorError::Plugin(format!("the preparation of the new version died: {died}"));
    spawn_blocking(work).await.map_err(died)?.map_err(|error| AggregatorError::Plugin(error.to_string()))
}

#[async_trait]
impl Aggregator for AggregatorSlot {
    async fn ingest(&self, now: Time, batch: Vec<Signal>) -> Result<Vec<RejectedSignal>, AggregatorError> {
        self.call(|reply| Message::Ingest { now, batch: batch.into(), reply }).await
    }

    async fn observe(&self, now: Time, changed: Vec<Document>) -> Result<(), AggregatorError> {
        self.call(|reply| Message::Observe { now, changed: changed.into(), reply }).await
    }

    async fn documents(&self, now: Time) -> Result<Vec<Publication>, AggregatorError> {
        self.call(|reply| Message::Documents { now, reply }).await
    }

    async fn inputs(&self) -> Result<Vec<String>, AggregatorError> {
        self.call(|reply| Message::Inputs { reply }).await
    }

    async fn compose(
        &self,
        now: Time,
        views: Vec<ViewRequest>,
        documents: Arc<[Document]>,
    ) -> Result<Vec<Bytes>, AggregatorError> {
        self.call(|reply| Message::Compose { now, views: views.into(), documents, reply }).await
    }
}

impl std::fmt::Debug for AggregatorSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AggregatorSlot").field("slot", &self.status()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::loader::Loader;
    use super::super::shadow::Handover;
    use super::super::tape::Entry;
    use super::super::{Limits, engine, guest};
    use super::*;

    fn aggregator() -> (tempfile::TempDir, AggregatorSlot) {
        slot_of(&guest::aggregator(), 1 << 20)
    }

    fn slot_of(component: &[u8], tape_bytes_max: usize) -> (tempfile::TempDir, AggregatorSlot) {
        let dir = tempfile::tempdir().unwrap();
        let loader = Loader::new(engine::start(engine::Room::TEST).unwrap(), &dir.path().join("code")).unwrap();
        let spec = guest::spec(dir.path(), "aggregator", component);
        let loaded = loader.load(&spec, &Limits::AGGREGATOR).unwrap();
        probe(&loaded).unwrap();
        let slot = Slot::new("aggregator".into(), loaded.identity.clone(), Arc::new(loaded));
        (dir, AggregatorSlot::start(slot, tape_bytes_max).unwrap())
    }

    fn signals(from: u64, bodies: &[&'static str]) -> Vec<Signal> {
        let signal = |(seq, body): (u64, &&'static str)| Signal {
            seq,
            received_at: Time::default(),
            body: Bytes::from_static(body.as_bytes()),
        };
        (from..).zip(bodies).map(signal).collect()
    }

    async fn compose(aggregator: &AggregatorSlot, limit: u32) -> Result<String, AggregatorError> {
        let view = ViewRequest { name: "count".to_owned(), limit };
        let bodies = aggregator.compose(Time::now(), vec![view], Arc::from([])).await?;
        Ok(String::from_utf8(bodies[0].to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_was_ingested_survives_a_trap() {
        let (_dir, aggregator) = aggregator();
        for from in [1, 3, 5] {
            assert!(aggregator.ingest(Time::now(), signals(from, &["{}", "{}"])).await.unwrap().is_empty());
        }
        for _ in 0..3 {
            assert_eq!(compose(&aggregator, 1).await.unwrap(), "\"6\"");
            let error = compose(&aggregator, 13).await.unwrap_err().to_string();
            assert!(error.starts_with("plugin test-plugin 1.2.3: trap in compose"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_swap_hands_the_state_over_and_nothing_is_lost_or_counted_twice() {
        let (dir, aggregator) = aggregator();
        let load = || {
            let loader = Loader::new(engine::start(engine::Room::TEST).unwrap(), &dir.path().join("code")).unwrap();
            let spec = guest::spec(dir.path(), "aggregator", &guest::aggregator());
            Arc::new(loader.load(&spec, &Limits::AGGREGATOR).unwrap())
        };
        let offer = || {
            let next: Arc<Loaded<AggregatorPlugin>> = load();
            aggregator.slot().offer(next.identity.clone(), next)
        };
        for from in [1, 3] {
            assert!(aggregator.ingest(Time::now(), signals(from, &["{}", "{}"])).await.unwrap().is_empty());
        }
        let next = offer();
        aggregator.activate(next.clone(), false, false).await.unwrap();
        assert_eq!(
            (aggregator.slot().active().number, compose(&aggregator, 1).await.unwrap()),
            (2, "\"4\"".to_owned())
        );
        aggregator.ingest(Time::now(), signals(5, &["{}"])).await.unwrap();
        // A trap of the new one is rebuilt from what it was handed, and what it took since.
        assert!(compose(&aggregator, 13).await.is_err());
        assert_eq!(compose(&aggregator, 1).await.unwrap(), "\"5\"");
        // The way back takes along what came meanwhile.
        let back = aggregator.slot().previous().unwrap();
        aggregator.activate(back, false, false).await.unwrap();
        assert_eq!(
            (aggregator.slot().active().number, compose(&aggregator, 1).await.unwrap()),
            (1, "\"5\"".to_owned())
        );
        aggregator.activate(next, true, false).await.unwrap();
        assert_eq!(compose(&aggregator, 1).await.unwrap(), "\"0\"", "a fresh start, as asked for");
    }

    #[tokio::test]
    async fn what_a_fresh_start_discards_is_not_on_the_tape_and_what_comes_back_after_it_begins_the_tape_anew() {
        let (dir, aggregator) = aggregator();
        let offer = |component: &[u8]| {
            let loader = Loader::new(engine::start(engine::Room::TEST).unwrap(), &dir.path().join("code")).unwrap();
            let next = loader.load(&guest::spec(dir.path(), "aggregator", component), &Limits::AGGREGATOR).unwrap();
            aggregator.slot().offer(next.identity.clone(), Arc::new(next))
        };
        // The count that the tape begins with, the calls on it, and the ways to the state of now.
        let taped = || {
            let entries = aggregator.tap().entries();
            let Some(Entry::State(first)) = entries.first() else { panic!("{entries:?}") };
            let calls = entries.iter().filter(|entry| matches!(entry, Entry::Call(_))).count();
            (first[0], calls, aggregator.tap().record().histories().len())
        };
        aggregator.ingest(Time::now(), signals(1, &["{}", "{}"])).await.unwrap();
        aggregator.activate(offer(&guest::aggregator()), true, true).await.unwrap();
        aggregator.ingest(Time::now(), signals(3, &["{}"])).await.unwrap();
        assert_eq!(taped(), (0, 1, 1));
        // The one that was beside it knows what was discarded.
        aggregator.activate(aggregator.slot().previous().unwrap(), false, false).await.unwrap();
        assert_eq!(taped(), (3, 0, 1));
        aggregator.activate(offer(&guest::aggregator()), true, false).await.unwrap();
        aggregator.ingest(Time::now(), signals(4, &["{}"])).await.unwrap();
        let activated =
            aggregator.activate(offer(&guest::aggregator_that_refuses_states()), false, false).await.unwrap();
        assert!(matches!(activated.state, Handover::Replayed(1, _)), "{:?}", activated.state);
        assert_eq!(
            compose(&aggregator, 1).await.unwrap(),
            "\"1\"",
            "what came since the fresh start, and nothing else"
        );
    }

    #[tokio::test]
    async fn a_signal_that_traps_is_quarantined_and_costs_only_itself() {
        let (_dir, aggregator) = aggregator();
        let rejected = aggregator.ingest(Time::now(), signals(1, &["{}", "X", "{}"])).await.unwrap();
        let [poison] = &rejected[..] else { panic!("{rejected:?}") };
        assert_eq!((poison.seq, &*poison.code), (2, "quarantined"));
        assert!(poison.message.contains("trap in ingest"), "{}", poison.message);
        assert_eq!(compose(&aggregator, 1).await.unwrap(), "\"2\"");
        // And it is not in the way of a rebuild.
        assert!(compose(&aggregator, 13).await.is_err());
        assert_eq!(compose(&aggregator, 1).await.unwrap(), "\"2\"");
    }

    #[tokio::test]
    async fn a_checkpoint_carries_what_the_journal_no_longer_holds() {
        let (_dir, aggregator) = aggregator();
        // Enough inputs for a checkpoint in between; the count is one digit, so most are empty.
        for seq in 0..4 {
            aggregator.ingest(Time::now(), signals(seq, &["{}"])).await.unwrap();
        }
        for _ in 0..500 {
            aggregator.observe(Time::now(), vec![document()]).await.unwrap();
        }
        assert!(compose(&aggregator, 13).await.is_err());
        assert_eq!(compose(&aggregator, 1).await.unwrap(), "\"4\"");
    }

    /// Tasks that ingest at the same time.
    const TASKS: u64 = 4;

    /// Signals of each of them.
    const SIGNALS: u64 = 1_000;

    /// Ingests the signals of one task in batches of one to three, and now and then has the aggregator trap a few steps later,
    /// whoever's call that is in.
    async fn ingest_with_traps(aggregator: Arc<AggregatorSlot>, task: u64) {
        let mut dice = fastrand::Rng::with_seed(task);
        let (mut next, end) = (SIGNALS * (task + 1), SIGNALS * (task + 2));
        while next < end {
            let batch: Vec<_> = (next..end.min(next + 1 + dice.u64(..3)))
                .map(|n| Signal { seq: n, received_at: Time::default(), body: Bytes::from(format!("{{\"n\":{n}}}")) })
                .collect();
            next += batch.len() as u64;
            assert_eq!(aggregator.ingest(Time::now(), batch).await.unwrap(), []);
            if dice.u64(..10) == 0 {
                compose(&aggregator, 1 + dice.u32(..8)).await.unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn traps_at_random_moments_under_load_cost_no_signal_and_count_none_twice() {
        // A tape that forgets nothing tells what happened.
        let (_dir, aggregator) = slot_of(&guest::exact_aggregator(), 256 << 20);
        let aggregator = Arc::new(aggregator);
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(ingest_with_traps(aggregator.clone(), task))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        let (mut traps, mut checkpoints) = (0, 0);
        for entry in aggregator.tap().entries() {
            match entry {
                Entry::State(_) => checkpoints += 1,
                Entry::Call(taken) => traps += taken.faults.len(),
            }
        }
        assert!(traps > 50 && checkpoints > 0, "{traps} traps, {checkpoints} checkpoints");
        // One trap more, so that what is asked is what was rebuilt.
        compose(&aggregator, 1).await.unwrap();
        assert!(aggregator.documents(Time::now()).await.is_err());
        let told = compose(&aggregator, 0).await.unwrap();
        let told: Vec<u64> = told.trim_matches('"').split(' ').map(|number| number.parse().unwrap()).collect();
        let [given, distinct, restored] = told[..] else { panic!("{told:?}") };
        assert_eq!((given, distinct), (TASKS * SIGNALS, TASKS * SIGNALS), "every signal, and each of them once");
        assert!(restored > 0, "it was rebuilt from a checkpoint");
    }

    fn document() -> Document {
        use crate::record::{Digest, Key, Kind, Origin, Record, Version};
        let record = Record {
            bytes: Bytes::from_static(b"{}"),
            foreign: None,
            kind: Kind::Real,
            version: Version(1),
            rank: 0,
            digest: Digest::default(),
            schema: "test".into(),
            produced_at: Time::default(),
            soft_expiry: Time::NEVER,
            lifetime_end: Time::NEVER,
            hard_expiry: Time::NEVER,
            origin: Origin::Gateway("test".into()),
            repairs: Arc::from([]),
        };
        Document { key: Key::new("k").unwrap(), record: Arc::new(record), fresh: true }
    }

    #[tokio::test]
    async fn a_publication_under_no_key_costs_itself() {
        let (_dir, aggregator) = aggregator();
        let published = aggregator.documents(Time::now()).await.unwrap();
        assert_eq!(published.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["good"]);
        assert_eq!(aggregator.inputs().await.unwrap(), ["good"]);
    }

    #[tokio::test]
    async fn more_calls_than_the_mailbox_holds_are_told_that_it_is_busy() {
        let (_dir, loaded) = aggregator();
        // A mailbox that nobody empties.
        let (mailbox, calls) = mpsc::channel(1);
        let aggregator = AggregatorSlot { slot: loaded.slot.clone(), mailbox, tap: loaded.tap.clone() };
        let waiting = tokio::spawn(async move {
            let first = aggregator.inputs();
            let second = async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                aggregator.inputs().await
            };
            tokio::select! { _ = first => unreachable!("nobody answers"), second = second => second }
        });
        assert!(matches!(waiting.await.unwrap(), Err(AggregatorError::Busy { .. })));
        drop(calls);
    }
}
