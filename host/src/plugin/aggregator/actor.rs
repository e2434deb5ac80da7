//! [`Actor`]: the thread that owns the aggregator's instance.
//!
//! An instance that is lost is replaced before the next call: a new one is started, restored from the checkpoint, and given
//! the inputs since. An input that costs [`FAILURES_MAX`] instances is quarantined: it is reported, and not tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::market::{Document, Publication, RejectedSignal, Signal, ViewRequest};
use crate::plugin::answer;
use crate::plugin::bindings::AggregatorPlugin;
use crate::plugin::bindings::aggregator::exports::tiergate::plugin::aggregator as wit;
use crate::plugin::error::{Cause, PluginError};
use crate::plugin::loaded::Loaded;
use crate::plugin::sandbox::{Answered, Sandbox};
use crate::plugin::slot::{Generation, Slot};
use crate::record::Time;

use super::journal::{BYTES_MAX, FAILURES_MAX, Input, Journal};
use super::{Message, Reply, convert};

/// After an instance could not be replaced, calls are answered with the reason for so long before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The code of a signal that was quarantined.
const QUARANTINED: &str = "quarantined";

type Instance = Sandbox<AggregatorPlugin>;

/// Owns the aggregator's instance and what is needed to replace it.
pub(super) struct Actor {
    slot: Arc<Slot<Loaded<AggregatorPlugin>>>,
    /// `None` after a call that cost it.
    instance: Option<Instance>,
    journal: Journal,
    /// Why there is no instance, and since when.
    down: Option<(Instant, PluginError)>,
}

/// What became of an input.
enum Fate {
    Taken(Vec<RejectedSignal>),
    /// It cost the instance.
    Failed(PluginError),
}

/// What became of an input and its parts.
#[derive(Default)]
struct Fed {
    rejected: Vec<RejectedSignal>,
    quarantined: Vec<(Input, PluginError)>,
}

/// Checks that an aggregator saves a state that it restores, without which no trap could be survived.
pub(in crate::plugin) fn probe(aggregator: &Loaded<AggregatorPlugin>) -> Result<(), PluginError> {
    let (_, saved) = save(aggregator.start()?)?;
    let (_, restored) = restore(aggregator.start()?, &saved?)?;
    restored
}

/// The keys that an aggregator composes views from.
pub(in crate::plugin) fn inputs(aggregator: &Loaded<AggregatorPlugin>) -> Result<Vec<String>, PluginError> {
    ask_inputs(aggregator.start()?).map(|(_, keys)| keys)
}

fn ask_inputs(instance: Instance) -> Result<(Instance, Vec<String>), PluginError> {
    let call = instance.within_limits("inputs", Time::now());
    instance.call(call, |s| s.world.tiergate_plugin_aggregator().call_inputs(&mut s.store), |_| "ok")
}

// === impl Actor ===

impl Actor {
    pub(super) fn new(slot: Arc<Slot<Loaded<AggregatorPlugin>>>) -> Self {
        Self { slot, instance: None, journal: Journal::new(), down: None }
    }

    /// Answers calls until the last handle is dropped.
    pub(super) fn run(mut self, mut calls: mpsc::Receiver<Message>) {
        while let Some(call) = calls.blocking_recv() {
            match call {
                Message::Ingest { now, batch, reply } => answer(reply, self.ingest(now, batch)),
                Message::Observe { now, changed, reply } => answer(reply, self.observe(now, changed)),
                Message::Documents { now, reply } => answer(reply, self.documents(now)),
                Message::Inputs { reply } => answer(reply, self.inputs()),
                Message::Activate { next, fresh, reply } => answer(reply, self.activate(&next, fresh)),
                Message::Compose { now, views, documents, reply } => {
                    answer(reply, self.compose(now, &views, &documents))
                }
            }
        }
    }

    fn ingest(&mut self, now: Time, batch: Vec<Signal>) -> Result<Vec<RejectedSignal>, PluginError> {
        let Fed { mut rejected, quarantined } = self.feed(Input::Signals { now, batch })?;
        for (input, error) in quarantined {
            let Input::Signals { batch, .. } = input else { continue };
            rejected.extend(batch.into_iter().map(|signal| RejectedSignal {
                seq: signal.seq,
                code: QUARANTINED.to_owned(),
                message: error.to_string(),
            }));
        }
        rejected.sort_by_key(|signal| signal.seq);
        Ok(rejected)
    }

    fn observe(&mut self, now: Time, changed: Vec<Document>) -> Result<(), PluginError> {
        let fed = self.feed(Input::Documents { now, changed })?;
        fed.quarantined.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    fn documents(&mut self, now: Time) -> Result<Vec<Publication>, PluginError> {
        let call = |s: &mut Instance| s.world.tiergate_plugin_aggregator().call_documents(&mut s.store, now.micros());
        let publications = self.with(|s| {
            let limits = s.within_limits("documents", now);
            s.ask(limits, call)
        })?;
        // One that cannot be published costs itself: the others would not be offered again.
        let published = publications.into_iter().filter_map(|publication| {
            let why = match convert::publication(publication) {
                Ok(publication) => return Some(publication),
                Err(why) => why,
            };
            let error = self.error("documents", Cause::Contract(why));
            tracing::error!(%error, "a publication of the aggregator is left out");
            metrics::counter!("tiergate_plugin_publications_refused_total", "plugin" => error.plugin).increment(1);
            None
        });
        Ok(published.collect())
    }

    fn inputs(&mut self) -> Result<Vec<String>, PluginError> {
        self.with(|instance| ask_inputs(instance).map(|(instance, keys)| (instance, Ok(keys))))
    }

    /// Hands the state over to `next`, which takes the next call. The one before it is lost only when that has worked.
    fn activate(&mut self, next: &Arc<Generation<Loaded<AggregatorPlugin>>>, fresh: bool) -> Result<(), PluginError> {
        let mut instance = next.plugin.start()?;
        if !fresh {
            let saved = self.with(save)?;
            let (restored, answer) = restore(instance, &saved)?;
            answer?;
            instance = restored;
        }
        let (instance, saved) = save(instance)?;
        // What the journal held is in this checkpoint; a trap from here on is rebuilt by the new plugin from its own state.
        self.journal.restart(saved?);
        (self.instance, self.down) = (Some(instance), None);
        self.slot.activate(next);
        Ok(())
    }

    fn compose(&mut self, now: Time, views: &[ViewRequest], documents: &[Document]) -> Result<Vec<Bytes>, PluginError> {
        let requests: Vec<_> = views.iter().map(convert::view).collect();
        let documents = convert::documents(documents);
        let bodies = self.with(|s| {
            let call = s.within_limits("compose", now);
            s.ask(call, |s| {
                s.world.tiergate_plugin_aggregator().call_compose(&mut s.store, now.micros(), &requests, &documents)
            })
        })?;
        let broken = |what: String| self.error("compose", Cause::Contract(what));
        if bodies.len() != views.len() {
            return Err(broken(format!("it answers {} bodies to {} views", bodies.len(), views.len())));
        }
        for (view, body) in views.iter().zip(&bodies) {
            answer::check_json(body).map_err(|error| broken(format!("view {} is {error}", view.name)))?;
        }
        Ok(bodies.into_iter().map(Bytes::from).collect())
    }

    /// Gives an input to the aggregator, as a whole while that costs fewer than [`FAILURES_MAX`] instances, then record by
    /// record, so that the one that is at fault costs only itself.
    fn feed(&mut self, input: Input) -> Result<Fed, PluginError> {
        if input.len() == 0 {
            return Ok(Fed::default());
        }
        self.make_room(&input)?;
        for _ in 1..FAILURES_MAX {
            match self.take(&input)? {
                Fate::Taken(rejected) => {
                    self.keep(input);
                    return Ok(Fed { rejected, quarantined: Vec::new() });
                }
                Fate::Failed(error) => tracing::warn!(%error, input = input.summary(), "an input cost an instance"),
            }
        }
        let mut fed = Fed::default();
        for part in input.split() {
            match self.take(&part)? {
                Fate::Taken(rejected) => {
                    fed.rejected.extend(rejected);
                    self.keep(part);
                }
                Fate::Failed(error) => {
                    self.quarantine(&part, &error);
                    fed.quarantined.push((part, error));
                }
            }
        }
        Ok(fed)
    }

    /// Gives an input to the aggregator once.
    fn take(&mut self, input: &Input) -> Result<Fate, PluginError> {
        let instance = self.ready()?;
        match give(instance, input) {
            Ok((instance, answer)) => {
                self.instance = Some(instance);
                answer.map(Fate::Taken)
            }
            Err(error) => Ok(Fate::Failed(error)),
        }
    }

    /// Remembers an input that was taken, and makes a checkpoint when one is due.
    fn keep(&mut self, input: Input) {
        self.journal.push(input);
        if self.journal.is_due()
            && let Err(error) = self.checkpoint()
        {
            tracing::warn!(%error, inputs = self.journal.entries.len(), "no checkpoint; the inputs are kept");
        }
    }

    fn make_room(&mut self, input: &Input) -> Result<(), PluginError> {
        if self.journal.has_room(input) {
            return Ok(());
        }
        self.checkpoint()?;
        if self.journal.has_room(input) {
            return Ok(());
        }
        let text = format!("{} bytes at once; at most {BYTES_MAX} can be taken", input.bytes());
        Err(self.error("ingest", Cause::InvalidInput(text)))
    }

    fn checkpoint(&mut self) -> Result<(), PluginError> {
        self.journal.try_now();
        let saved = self.with(save)?;
        self.journal.restart(saved);
        Ok(())
    }

    fn quarantine(&self, input: &Input, error: &PluginError) {
        tracing::error!(%error, input = input.summary(), bytes = input.bytes(), "quarantined: it is not tried again");
        metrics::counter!("tiergate_plugin_quarantined_total", "plugin" => error.plugin.clone()).increment(1);
    }

    /// Makes a call. An instance that it costs is replaced before the next one.
    fn with<T>(
        &mut self,
        call: impl FnOnce(Instance) -> Result<Answered<AggregatorPlugin, T>, PluginError>,
    ) -> Result<T, PluginError> {
        let (instance, answer) = call(self.ready()?)?;
        self.instance = Some(instance);
        answer
    }

    /// The instance, or a new one that knows what the old one knew.
    fn ready(&mut self) -> Result<Instance, PluginError> {
        if let Some(instance) = self.instance.take() {
            return Ok(instance);
        }
        if let Some((since, error)) = &self.down
            && since.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        let rebuilt = self.rebuild();
        self.down = rebuilt.as_ref().err().map(|error| (Instant::now(), error.clone()));
        rebuilt
    }

    fn rebuild(&mut self) -> Result<Instance, PluginError> {
        let started = Instant::now();
        let aggregator = self.slot.active().plugin.clone();
        loop {
            let mut instance = aggregator.start()?;
            if let Some(saved) = &self.journal.checkpoint {
                let (restored, answer) = restore(instance, saved)?;
                answer?;
                instance = restored;
            }
            if let Some(instance) = self.replay(instance) {
                let inputs = self.journal.entries.len();
                tracing::info!(plugin = %aggregator.identity.name, inputs, took = ?started.elapsed(), "the aggregator runs");
                return Ok(instance);
            }
        }
    }

    /// Gives the inputs since the checkpoint to `instance`; `None` if one of them cost it. That one is quarantined when it
    /// has done so too often, so that a rebuild ends.
    fn replay(&mut self, mut instance: Instance) -> Option<Instance> {
        for at in 0..self.journal.entries.len() {
            let entry = &mut self.journal.entries[at];
            match give(instance, &entry.input) {
                Ok((survivor, answer)) => {
                    if let Err(error) = answer {
                        tracing::warn!(%error, input = entry.input.summary(), "an input is refused that was taken before");
                    }
                    instance = survivor;
                }
                Err(error) => {
                    entry.failures += 1;
                    if entry.failures >= FAILURES_MAX {
                        let entry = self.journal.remove(at);
                        self.quarantine(&entry.input, &error);
                    }
                    return None;
                }
            }
        }
        Some(instance)
    }

    fn error(&self, call: &'static str, cause: Cause) -> PluginError {
        self.slot.active().identity.error(Some(call), cause)
    }
}

fn answer<T>(reply: Reply<T>, answer: Result<T, PluginError>) {
    if reply.send(answer).is_err() {
        tracing::debug!("nobody waits for the aggregator's answer any more");
    }
}

/// Gives one input to `instance`.
fn give(instance: Instance, input: &Input) -> Result<Answered<AggregatorPlugin, Vec<RejectedSignal>>, PluginError> {
    match input {
        Input::Signals { now, batch } => {
            let call = instance.within_limits("ingest", *now);
            let batch: Vec<wit::Signal> = batch.iter().map(convert::signal).collect();
            let (instance, answer) = instance
                .ask(call, |s| s.world.tiergate_plugin_aggregator().call_ingest(&mut s.store, now.micros(), &batch))?;
            Ok((instance, answer.map(|rejected| rejected.into_iter().map(convert::rejected).collect())))
        }
        Input::Documents { now, changed } => {
            let call = instance.within_limits("observe", *now);
            let changed = convert::documents(changed);
            let (instance, answer) = instance.ask(call, |s| {
                s.world.tiergate_plugin_aggregator().call_observe(&mut s.store, now.micros(), &changed)
            })?;
            Ok((instance, answer.map(|()| Vec::new())))
        }
    }
}

fn save(instance: Instance) -> Result<Answered<AggregatorPlugin, Vec<u8>>, PluginError> {
    let call = instance.within_limits("save", Time::now());
    instance.ask(call, |s| s.world.tiergate_plugin_state().call_save(&mut s.store))
}

fn restore(instance: Instance, saved: &[u8]) -> Result<Answered<AggregatorPlugin, ()>, PluginError> {
    let call = instance.within_limits("restore", Time::now());
    instance.ask(call, |s| s.world.tiergate_plugin_state().call_restore(&mut s.store, saved))
}
