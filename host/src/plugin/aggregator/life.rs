//! [`Life`]: one version of the aggregator, whatever instances it goes through.
//!
//! An instance that is lost is replaced before the next call: a new one is started, restored from the checkpoint, and given
//! the inputs since. An input that costs [`FAILURES_MAX`] instances is quarantined: it is reported, and not tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::market::{Document, Publication, RejectedSignal, ViewRequest};
use crate::plugin::answer;
use crate::plugin::bindings::AggregatorPlugin;
use crate::plugin::bindings::aggregator::exports::tiergate::plugin::aggregator as wit;
use crate::plugin::call::{Answer, Faults, QUARANTINED, Question};
use crate::plugin::error::{Cause, PluginError};
use crate::plugin::loaded::Loaded;
use crate::plugin::sandbox::{Answered, BEGINNING, Sandbox};
use crate::plugin::shadow::Runner;
use crate::plugin::slot::{Generation, Identity, tell};
use crate::record::Time;

use super::convert;
use super::journal::{BYTES_MAX, FAILURES_MAX, Journal};

/// After an instance could not be replaced, calls are answered with the reason for so long before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

type Instance = Sandbox<AggregatorPlugin>;

/// A version of the aggregator with its state.
pub(in crate::plugin) struct Life {
    generation: Arc<Generation<Loaded<AggregatorPlugin>>>,
    /// `None` after a call that cost it.
    instance: Option<Instance>,
    journal: Journal,
    /// Why there is no instance, and since when.
    down: Option<(Instant, PluginError)>,
    /// Instances that were lost since somebody asked.
    faults: Faults,
    /// The time of the last call, which is that of what is saved after it, so that a replay of the call is a replay of this.
    now: Time,
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
    quarantined: Vec<(Question, PluginError)>,
}

/// Checks that an aggregator saves a state that it restores, without which no trap could be survived.
pub(in crate::plugin) fn probe(aggregator: &Loaded<AggregatorPlugin>) -> Result<(), PluginError> {
    let (_, saved) = save(aggregator.start()?, BEGINNING)?;
    resumed(aggregator, &saved?).map(drop)
}

/// The keys that an aggregator composes views from.
pub(in crate::plugin) fn inputs(aggregator: &Loaded<AggregatorPlugin>) -> Result<Vec<String>, PluginError> {
    ask_inputs(aggregator.start()?).map(|(_, keys)| keys)
}

fn ask_inputs(instance: Instance) -> Result<(Instance, Vec<String>), PluginError> {
    let call = instance.within_limits("inputs", BEGINNING);
    instance.call(call, |s| s.world.tiergate_plugin_aggregator().call_inputs(&mut s.store), |_| "ok")
}

// === impl Life ===

impl Life {
    /// A version that has ingested nothing.
    pub(in crate::plugin) fn new(generation: Arc<Generation<Loaded<AggregatorPlugin>>>) -> Self {
        let (journal, faults) = (Journal::new(), Faults::new());
        Self { generation, instance: None, journal, down: None, faults, now: BEGINNING }
    }

    pub(super) fn generation(&self) -> &Arc<Generation<Loaded<AggregatorPlugin>>> {
        &self.generation
    }

    /// Replaces the state. What the journal held is in it; a trap from here on is rebuilt from it.
    fn restore(&mut self, saved: &Arc<[u8]>) -> Result<(), PluginError> {
        let (instance, saved) = save(resumed(&self.generation.plugin, saved)?, self.now)?;
        self.journal.restart(saved?.into());
        (self.instance, self.down) = (Some(instance), None);
        Ok(())
    }

    /// Makes room for an input; answers the checkpoint that it took, if it took one.
    pub(super) fn make_room(&mut self, input: &Question) -> Result<Option<Arc<[u8]>>, PluginError> {
        if self.journal.has_room(input) {
            return Ok(None);
        }
        let checkpoint = self.checkpoint()?;
        if self.journal.has_room(input) {
            return Ok(Some(checkpoint));
        }
        let text = format!("{} bytes at once; at most {BYTES_MAX} can be taken", input.bytes());
        Err(self.error(input.call(), Cause::InvalidInput(text)))
    }

    /// A checkpoint, if one is due. Without one the inputs are kept.
    pub(super) fn checkpoint_if_due(&mut self) -> Option<Arc<[u8]>> {
        if !self.journal.is_due() {
            return None;
        }
        let inputs = self.journal.entries.len();
        let identity = self.generation.identity.clone();
        let unsaved = |error: &_| tell!(warn, identity, %error, inputs, "no checkpoint; the inputs are kept");
        self.checkpoint().inspect_err(unsaved).ok()
    }

    /// A checkpoint of all inputs so far. With it another instance goes on where one is that is worn.
    pub(super) fn checkpoint(&mut self) -> Result<Arc<[u8]>, PluginError> {
        self.journal.try_now();
        let now = self.now;
        let saved: Arc<[u8]> = self.with(|instance| save(instance, now))?.into();
        self.journal.restart(saved.clone());
        if self.instance.as_ref().is_some_and(Sandbox::is_worn) {
            self.relieve(&saved);
        }
        Ok(saved)
    }

    /// Lets another instance go on where this one is. One that serves is not given up for one that does not.
    fn relieve(&mut self, saved: &[u8]) {
        let identity = &self.generation.identity;
        match resumed(&self.generation.plugin, saved) {
            Ok(instance) => self.instance = Some(instance),
            Err(error) => tell!(warn, identity, %error, "a worn instance stays: no other takes its state back"),
        }
    }

    /// Instances that were lost since this was last asked, by cause.
    pub(super) fn faults(&mut self) -> Faults {
        std::mem::take(&mut self.faults)
    }

    pub(super) fn ingest(&mut self, input: &Question) -> Result<Vec<RejectedSignal>, PluginError> {
        let Fed { mut rejected, quarantined } = self.feed(input)?;
        for (input, error) in quarantined {
            let Question::Ingest { batch, .. } = input else { continue };
            rejected.extend(batch.iter().map(|signal| RejectedSignal {
                seq: signal.seq,
                code: QUARANTINED.to_owned(),
                message: error.to_string(),
            }));
        }
        rejected.sort_by_key(|signal| signal.seq);
        Ok(rejected)
    }

    pub(super) fn observe(&mut self, input: &Question) -> Result<(), PluginError> {
        let fed = self.feed(input)?;
        fed.quarantined.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    pub(super) fn documents(&mut self, now: Time) -> Result<Vec<Publication>, PluginError> {
        self.now = now;
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
            tell!(error, self.generation.identity, %error, "a publication of the aggregator is left out");
            self.generation.identity.metrics().publication_refused();
            None
        });
        Ok(published.collect())
    }

    pub(super) fn inputs(&mut self) -> Result<Vec<String>, PluginError> {
        self.with(|instance| ask_inputs(instance).map(|(instance, keys)| (instance, Ok(keys))))
    }

    pub(super) fn compose(
        &mut self,
        now: Time,
        views: &[ViewRequest],
        documents: &[Document],
    ) -> Result<Vec<Bytes>, PluginError> {
        self.now = now;
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
    fn feed(&mut self, input: &Question) -> Result<Fed, PluginError> {
        if input.len() == 0 {
            return Ok(Fed::default());
        }
        for _ in 1..FAILURES_MAX {
            match self.take(input)? {
                Fate::Taken(rejected) => {
                    self.journal.push(input.clone());
                    return Ok(Fed { rejected, quarantined: Vec::new() });
                }
                Fate::Failed(error) => {
                    tell!(warn, self.generation.identity, %error, input = input.summary(), "an input cost an instance");
                }
            }
        }
        let mut fed = Fed::default();
        for part in input.split() {
            match self.take(&part)? {
                Fate::Taken(rejected) => {
                    fed.rejected.extend(rejected);
                    self.journal.push(part);
                }
                Fate::Failed(error) => {
                    quarantine(&self.generation.identity, &part, &error);
                    fed.quarantined.push((part, error));
                }
            }
        }
        Ok(fed)
    }

    /// Gives an input to the aggregator once.
    fn take(&mut self, input: &Question) -> Result<Fate, PluginError> {
        self.now = input.now();
        let instance = self.ready()?;
        match give(instance, input) {
            Ok((instance, answer)) => {
                self.instance = Some(instance);
                answer.map(Fate::Taken)
            }
            Err(error) => {
                self.faults.push(error.cause.label());
                Ok(Fate::Failed(error))
            }
        }
    }

    /// Makes a call. An instance that it costs is replaced before the next one.
    fn with<T>(
        &mut self,
        call: impl FnOnce(Instance) -> Result<Answered<AggregatorPlugin, T>, PluginError>,
    ) -> Result<T, PluginError> {
        let (instance, answer) = call(self.ready()?).inspect_err(|error| self.faults.push(error.cause.label()))?;
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
        loop {
            let instance = match &self.journal.checkpoint {
                Some(saved) => resumed(&self.generation.plugin, saved)?,
                None => self.generation.plugin.start()?,
            };
            if let Some(instance) = self.replay(instance) {
                let (inputs, took) = (self.journal.entries.len(), started.elapsed());
                tell!(info, self.generation.identity, inputs, ?took, "the aggregator runs");
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
                        let input = entry.input.summary();
                        tell!(warn, self.generation.identity, %error, input, "an input is refused that was taken before");
                    }
                    instance = survivor;
                }
                Err(error) => {
                    self.faults.push(error.cause.label());
                    entry.failures += 1;
                    if entry.failures >= FAILURES_MAX {
                        let entry = self.journal.remove(at);
                        quarantine(&self.generation.identity, &entry.input, &error);
                    }
                    return None;
                }
            }
        }
        Some(instance)
    }

    fn error(&self, call: &'static str, cause: Cause) -> PluginError {
        self.generation.identity.error(Some(call), cause)
    }
}

impl Runner for Life {
    const STATEFUL: bool = true;

    fn answer(&mut self, question: &Question) -> (Answer, Faults) {
        let answer = match question {
            Question::Ingest { .. } => {
                self.make_room(question).and_then(|_| self.ingest(question)).map(Answer::Ingested)
            }
            Question::Observe { .. } => {
                self.make_room(question).and_then(|_| self.observe(question)).map(|()| Answer::Observed)
            }
            Question::Documents { now } => self.documents(*now).map(Answer::Published),
            Question::Compose { now, views, documents } => self.compose(*now, views, documents).map(Answer::Composed),
            Question::Decode { .. } | Question::Plan { .. } => {
                Err(self.error(question.call(), Cause::Unsupported("an aggregator has no such call".to_owned())))
            }
        };
        (answer.unwrap_or_else(Answer::Failed), self.faults())
    }

    fn settle(&mut self) {
        // Nobody asks for the checkpoint itself; it keeps the journal short.
        drop(self.checkpoint_if_due());
    }

    fn seed(&mut self, state: &Arc<[u8]>) -> Result<(), PluginError> {
        self.restore(state)
    }

    fn identity(&self) -> &Identity {
        &self.generation.identity
    }
}

fn quarantine(identity: &Identity, input: &Question, error: &PluginError) {
    let (input, bytes) = (input.summary(), input.bytes());
    tell!(error, identity, %error, input, bytes, "quarantined: it is not tried again");
    identity.metrics().quarantined();
}

/// Gives one input to `instance`.
fn give(instance: Instance, input: &Question) -> Result<Answered<AggregatorPlugin, Vec<RejectedSignal>>, PluginError> {
    let call = instance.within_limits(input.call(), input.now());
    let now = input.now().micros();
    match input {
        Question::Ingest { batch, .. } => {
            let batch: Vec<wit::Signal> = batch.iter().map(convert::signal).collect();
            let (instance, answer) =
                instance.ask(call, |s| s.world.tiergate_plugin_aggregator().call_ingest(&mut s.store, now, &batch))?;
            Ok((instance, answer.map(|rejected| rejected.into_iter().map(convert::rejected).collect())))
        }
        Question::Observe { changed, .. } => {
            let changed = convert::documents(changed);
            let (instance, answer) = instance
                .ask(call, |s| s.world.tiergate_plugin_aggregator().call_observe(&mut s.store, now, &changed))?;
            Ok((instance, answer.map(|()| Vec::new())))
        }
        // Nothing else is an input.
        _ => Ok((instance, Ok(Vec::new()))),
    }
}

fn save(instance: Instance, now: Time) -> Result<Answered<AggregatorPlugin, Vec<u8>>, PluginError> {
    let call = instance.within_limits("save", now);
    instance.ask(call, |s| s.world.tiergate_plugin_state().call_save(&mut s.store))
}

/// A new instance with a state that was saved.
fn resumed(aggregator: &Loaded<AggregatorPlugin>, saved: &[u8]) -> Result<Instance, PluginError> {
    let instance = aggregator.start()?;
    let call = instance.within_limits("restore", BEGINNING);
    let restore = |s: &mut Instance| s.world.tiergate_plugin_state().call_restore(&mut s.store, saved);
    let (instance, answer) = instance.ask(call, restore)?;
    answer.map(|()| instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytesize::ByteSize;

    use crate::market::Signal;
    use crate::plugin::config::{Config, PluginSpec};
    use crate::plugin::loader::Loader;
    use crate::plugin::{Limits, engine, guest, load_aggregator, start};

    /// The life of a component that has `memory`.
    fn life(component: &[u8], memory: ByteSize) -> (tempfile::TempDir, Life) {
        let dir = tempfile::tempdir().unwrap();
        let loader = Loader::new(engine::start(engine::Room::TEST).unwrap(), &dir.path().join("code")).unwrap();
        let spec = guest::spec(dir.path(), "aggregator", component);
        let plugin = Arc::new(loader.load(&spec, &Limits { memory, ..Limits::AGGREGATOR }).unwrap());
        let identity = plugin.identity.clone();
        (dir, Life::new(Arc::new(Generation { number: 1, loaded_at: Time::now(), identity, plugin })))
    }

    fn give(life: &mut Life, bodies: &[&'static str]) {
        let one = |body: &&'static str| Signal {
            seq: 1,
            received_at: Time::default(),
            body: Bytes::from_static(body.as_bytes()),
        };
        let question = Question::Ingest { now: Time::now(), batch: bodies.iter().map(one).collect() };
        assert_eq!(life.answer(&question).1, Faults::new());
    }

    fn count(life: &mut Life) -> String {
        let view = ViewRequest { name: "count".to_owned(), limit: 1 };
        String::from_utf8(life.compose(Time::now(), &[view], &[]).unwrap()[0].to_vec()).unwrap()
    }

    fn is_worn(life: &Life) -> bool {
        life.instance.as_ref().expect("an instance").is_worn()
    }

    #[test]
    fn an_instance_that_grew_goes_with_the_next_checkpoint_and_nothing_is_lost() {
        let (_dir, mut life) = life(&guest::aggregator_that_grows(), ByteSize::mib(1));
        give(&mut life, &["{}", "{}", "X"]);
        assert_eq!((count(&mut life).as_str(), is_worn(&life)), ("\"3\"", true));
        life.checkpoint().unwrap();
        assert_eq!((count(&mut life).as_str(), is_worn(&life)), ("\"3\"", false), "another one knows what it knew");
        give(&mut life, &["X"]);
        life.checkpoint().unwrap_err();
        assert!(is_worn(&life), "without a checkpoint it stays");
        give(&mut life, &["{}"]);
        life.checkpoint().unwrap();
        assert_eq!((count(&mut life).as_str(), is_worn(&life)), ("\"5\"", false));
        assert_eq!(life.faults(), Faults::new());
    }

    #[test]
    fn an_instance_that_grew_serves_on_where_no_other_takes_its_state_back() {
        let (_dir, mut life) = life(&guest::aggregator_that_refuses_states(), ByteSize::kib(80));
        for expected in ["\"1\"", "\"2\""] {
            give(&mut life, &["{}"]);
            life.checkpoint().unwrap();
            assert_eq!((count(&mut life).as_str(), is_worn(&life)), (expected, true));
        }
        assert_eq!(life.faults(), Faults::new());
    }

    #[test]
    fn the_built_in_aggregator_publishes_the_same_whether_or_not_instances_of_it_are_lost() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::default();
        let loader = start(&config, &dir.path().join("code")).unwrap();
        let (identity, plugin) = load_aggregator(&loader, &PluginSpec::built_in("aggregator"), &config).unwrap();
        let generation = Arc::new(Generation { number: 1, loaded_at: Time::now(), identity, plugin });
        let (mut killed, mut whole) = (Life::new(generation.clone()), Life::new(generation));
        let (mut dice, mut seq, mut kills) = (fastrand::Rng::with_seed(1), 0, 0);
        let began = Time::now();
        for turn in 0..1_500_u64 {
            let now = began.after(Duration::from_millis(turn));
            let batch: Vec<_> = (0..=dice.u64(..4))
                .map(|_| {
                    seq += 1;
                    let body = format!(
                        r#"{{"symbol":"S{}USDT","confluence_score":{},"price":10,"change_24h":1.5}}"#,
                        dice.u64(..700),
                        dice.u64(..100)
                    );
                    Signal { seq, received_at: now, body: Bytes::from(body) }
                })
                .collect();
            let question = Question::Ingest { now, batch: batch.into() };
            for life in [&mut killed, &mut whole] {
                assert!(matches!(life.answer(&question).0, Answer::Ingested(rejected) if rejected.is_empty()));
                life.settle();
            }
            if dice.u64(..20) == 0 {
                killed.instance = None;
                kills += 1;
            }
        }
        assert!(kills > 50, "{kills}");
        assert!(killed.journal.checkpoint.is_some(), "what is rebuilt begins with a checkpoint");
        // What was published before a kill is published again, so both begin from nothing published.
        let now = began.after(Duration::from_secs(2));
        let bodies = |life: &mut Life| -> Vec<(String, Bytes)> {
            life.instance = None;
            let mut published = life.documents(now).unwrap();
            published.sort_by(|a, b| a.key.as_str().cmp(b.key.as_str()));
            published.into_iter().map(|one| (one.key.to_string(), one.body)).collect()
        };
        let (killed, whole) = (bodies(&mut killed), bodies(&mut whole));
        assert!(!whole.is_empty());
        assert_eq!(killed, whole);
    }
}
