//! Aggregators: one case is a script of calls, because what they answer depends on what came before.

use std::collections::BTreeSet;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::PluginKind;
use super::blob::Blob;
use super::law::{Broken, Law};
use super::material;
use super::stateful::{foreign_states, fresh, restored, saved, shown, twin};
use super::subject::{Group, Subject};
use crate::market::VIEWS;
use crate::plugin::aggregator::inputs;
use crate::plugin::answer;
use crate::plugin::bindings::AggregatorPlugin;
use crate::plugin::bindings::aggregator::exports::tiergate::plugin::aggregator as wit;
use crate::plugin::bindings::types;
use crate::plugin::config::Config;
use crate::plugin::error::{Cause, PluginError};
use crate::plugin::limits::Limits;
use crate::plugin::loaded::Loaded;
use crate::plugin::sandbox::{Answered, Sandbox};
use crate::record::{KEY_BYTES_MAX, Key, Time};

/// Scripts of damaged signals.
const DAMAGED: usize = 20;

/// Signals of a damaged script.
const DAMAGED_SIGNALS: usize = 12;

/// When every script begins. Each call comes a second after the one before.
const NOW: Time = Time::from_micros(1_795_372_662_000_000);
const SECOND: u64 = 1_000_000;

/// What the key of an input that ends in `*` is completed with.
const SYMBOL: &str = "BTCUSDT";

/// Calls, one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::plugin) struct Script(Vec<Step>);

/// A call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Ingest(Vec<Blob>),
    Observe(Vec<Told>),
    Documents,
    Compose { views: Vec<(String, u32)>, documents: Vec<Told> },
}

/// A document as a saved input has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    key: String,
    real: bool,
    fresh: bool,
    body: Blob,
}

/// What a call answered, as far as it can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Ingested(Vec<(u64, String, String)>),
    Observed,
    Published(Vec<(String, Blob, u32)>),
    Composed(Vec<Blob>),
    /// The plugin's error, which costs nothing but the call.
    Refused(String),
}

impl Subject for AggregatorPlugin {
    const KIND: PluginKind = PluginKind::Aggregator;
    const LAWS: &'static [Law] = &[
        Law::NothingFromNothing,
        Law::EachSignalAlone,
        Law::ComposeIsPure,
        Law::StateRoundTrip,
        Law::RefusedStateChangesNothing,
        Law::Repeatable,
    ];
    type Case = Script;

    fn limits(config: &Config) -> &Limits {
        &config.aggregator_limits
    }

    fn introduction(plugin: &Loaded<Self>) -> Result<String, PluginError> {
        let keys = inputs(plugin)?;
        if let Some((key, error)) = keys.iter().find_map(|key| Some((key, Key::new(key.replace('*', SYMBOL)).err()?))) {
            let what =
                format!("its input {:?} is no key or prefix of keys: {error}", answer::one_line(key, KEY_BYTES_MAX));
            return Err(plugin.identity.error(Some("inputs"), Cause::Contract(what)));
        }
        Ok(format!("composes views from {}", if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }))
    }

    fn groups(plugin: &Loaded<Self>, seed: u64) -> Result<Vec<Group<Script>>, PluginError> {
        let (known, mut rng) = (documents(plugin)?, Rng::with_seed(seed));
        let signals = material::signals();
        let market = signals.chunks(7).map(|batch| Step::Ingest(blobs(batch))).chain([Step::Documents]);
        let fixtures = vec![
            ("nothing".to_owned(), Script(vec![Step::Observe(known.clone()), views(&known), Step::Documents])),
            ("market".to_owned(), market_then(market, &known)),
            ("no-documents".to_owned(), Script(vec![Step::Ingest(blobs(&signals)), views(&[]), Step::Documents])),
        ];
        let damaged = (0..DAMAGED).map(|at| (format!("damaged-{at}"), damaged(&mut rng, &signals, &known)));
        let damaged = damaged.collect();
        let values = material::hostile_values().into_iter();
        let values =
            values.map(|(name, value)| (format!("field-{name}"), around(field(&signals, &value), &signals, &known)));
        let bodies = material::hostile().into_iter();
        let bodies = bodies.map(|(name, body)| (format!("body-{name}"), around(vec![body], &signals, &known)));
        let odd = ["null", "[]", "5", "\"text\"", "{}", "[1, \"a\", null]", "{\"signals\": 5, \"timestamp\": \"x\"}"];
        let odd = odd.into_iter().enumerate().map(|(at, body)| (format!("documents-{at}"), with_bodies(&known, body)));
        let group = |name, promise, cases| Group { name, promise, cases };
        Ok(vec![
            group("fixtures", "signals and documents of a real market are answered", fixtures),
            group("damaged", "damaged signals are taken or refused", damaged),
            group("hostile", "signals made to hurt are taken or refused", values.chain(bodies).collect()),
            group("documents", "views are composed from documents of any shape", odd.collect()),
        ])
    }

    fn vectors(plugin: &Loaded<Self>) -> Result<Vec<(String, Script)>, PluginError> {
        let known = inputs(plugin)?;
        let keys = known.iter().map(|key| key.replace('*', SYMBOL));
        let known: Vec<_> =
            keys.take(3).map(|key| Told { key, real: true, fresh: true, body: Blob(b"{}".to_vec()) }).collect();
        let signals: Vec<_> = material::signals().into_iter().take(3).collect();
        let view = Step::Compose { views: vec![(VIEWS[0].to_owned(), 10)], documents: known.clone() };
        let steps = vec![Step::Ingest(blobs(&signals)), Step::Documents, view.clone()];
        let nothing = vec![Step::Observe(known), view, Step::Documents];
        Ok(vec![("nothing".to_owned(), Script(nothing)), ("signals".to_owned(), Script(steps))])
    }

    fn judge(plugin: &Loaded<Self>, used: &mut Option<Sandbox<Self>>, case: &Script) -> Vec<Broken> {
        judge(plugin, used, case).err().into_iter().collect()
    }

    fn labour(plugin: &Loaded<Self>) -> Result<(String, Script), PluginError> {
        let (signals, known) = (material::signals(), documents(plugin)?);
        let steps = vec![Step::Ingest(blobs(&signals)), Step::Documents, views(&known)];
        Ok((format!("ingest {} signals, publish, compose {} views", signals.len(), VIEWS.len()), Script(steps)))
    }

    fn work(instance: Sandbox<Self>, case: &Script) -> Result<Sandbox<Self>, PluginError> {
        case.0.iter().enumerate().try_fold(instance, |instance, (at, step)| {
            let (instance, answer) = call(instance, at, step)?;
            answer.map(|_| instance)
        })
    }
}

fn judge(
    plugin: &Loaded<AggregatorPlugin>,
    used: &mut Option<Sandbox<AggregatorPlugin>>,
    script: &Script,
) -> Result<(), Broken> {
    let steps = &script.0;
    let (instance, blank) = saved(fresh(plugin)?, NOW)?;
    let (instance, answers) = run(instance, steps, 0)?;
    nothing_from_nothing(steps, &answers)?;

    let (_, again) = run(fresh(plugin)?, steps, 0)?;
    same(&answers, &again, "on another fresh instance")?;

    // One that has answered other scripts, with its state taken away.
    let instance = used.take().filter(|used| !used.is_worn()).unwrap_or(instance);
    let (instance, again) = run(restored(instance, NOW, &blank)?, steps, 0)?;
    same(&answers, &again, "on a used instance whose state was replaced by that of a new one")?;
    *used = Some(instance);

    let half = steps.len() / 2;
    let (instance, _) = run(fresh(plugin)?, &steps[..half], 0)?;
    let (one, other) = twin(plugin, instance, NOW)?;
    let (_, rest) = run(one, &steps[half..], half)?;
    let (_, restored) = run(other, &steps[half..], half)?;
    if rest != restored {
        let what = first_difference(&rest, &restored);
        return Err(Law::StateRoundTrip
            .broken(format!("after {half} calls, saving and restoring, it answers otherwise: {what}")));
    }
    foreign_states(plugin, NOW)
}

/// Makes the calls, of which the first is the `at`th of its script.
fn run(
    mut instance: Sandbox<AggregatorPlugin>,
    steps: &[Step],
    at: usize,
) -> Result<(Sandbox<AggregatorPlugin>, Vec<Answer>), Broken> {
    let mut answers = Vec::new();
    for (at, step) in (at..).zip(steps) {
        let before = match step {
            Step::Compose { .. } => {
                let (same, before) = saved(instance, moment(at))?;
                instance = same;
                Some(before)
            }
            _ => None,
        };
        let (same, answer) = call(instance, at, step).map_err(|error| Law::Answers.failed(&error))?;
        instance = same;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => refused(step, &error)?,
        };
        lawful(at, step, &answer)?;
        if let Some(before) = before {
            let (same, after) = saved(instance, moment(at))?;
            instance = same;
            if before != after {
                let what = format!("its state was {} and after composing is {}", shown(&before), shown(&after));
                return Err(Law::ComposeIsPure.broken(what));
            }
        }
        answers.push(answer);
    }
    Ok((instance, answers))
}

fn call(
    instance: Sandbox<AggregatorPlugin>,
    at: usize,
    step: &Step,
) -> Result<Answered<AggregatorPlugin, Answer>, PluginError> {
    let now = moment(at);
    match step {
        Step::Ingest(bodies) => {
            let signal = |(n, body): (u64, &Blob)| wit::Signal {
                seq: first_seq(at) + n,
                received_at: now.micros(),
                body: body.0.clone(),
            };
            let batch: Vec<_> = (0..).zip(bodies).map(signal).collect();
            let limits = instance.within_limits("ingest", now);
            let (instance, answer) = instance.ask(limits, |s| {
                s.world.tiergate_plugin_aggregator().call_ingest(&mut s.store, now.micros(), &batch)
            })?;
            let told = |rejected: wit::Rejected| (rejected.seq, rejected.code, rejected.message);
            Ok((instance, answer.map(|rejected| Answer::Ingested(rejected.into_iter().map(told).collect()))))
        }
        Step::Observe(documents) => {
            let documents = given(documents, now);
            let limits = instance.within_limits("observe", now);
            let (instance, answer) = instance.ask(limits, |s| {
                s.world.tiergate_plugin_aggregator().call_observe(&mut s.store, now.micros(), &documents)
            })?;
            Ok((instance, answer.map(|()| Answer::Observed)))
        }
        Step::Documents => {
            let limits = instance.within_limits("documents", now);
            let (instance, answer) = instance
                .ask(limits, |s| s.world.tiergate_plugin_aggregator().call_documents(&mut s.store, now.micros()))?;
            let told = |p: wit::Publication| (p.key, Blob(p.body), p.ttl_seconds);
            Ok((instance, answer.map(|published| Answer::Published(published.into_iter().map(told).collect()))))
        }
        Step::Compose { views, documents } => {
            let documents = given(documents, now);
            let views: Vec<_> =
                views.iter().map(|(name, limit)| wit::ViewRequest { name: name.clone(), limit: *limit }).collect();
            let limits = instance.within_limits("compose", now);
            let (instance, answer) = instance.ask(limits, |s| {
                s.world.tiergate_plugin_aggregator().call_compose(&mut s.store, now.micros(), &views, &documents)
            })?;
            Ok((instance, answer.map(|bodies| Answer::Composed(bodies.into_iter().map(Blob).collect()))))
        }
    }
}

fn moment(at: usize) -> Time {
    Time::from_micros(NOW.micros() + at as u64 * SECOND)
}

/// The number of the first signal of the `at`th call.
fn first_seq(at: usize) -> u64 {
    1 + at as u64 * 1_000
}

fn given(documents: &[Told], now: Time) -> Vec<types::Document> {
    let given = |(at, told): (u64, &Told)| types::Document {
        key: told.key.clone(),
        kind: if told.real { types::Kind::Real } else { types::Kind::Placeholder },
        freshness: if told.fresh { types::Freshness::Fresh } else { types::Freshness::Stale },
        produced_at: now.micros() - SECOND,
        version: now.micros() - SECOND + at,
        body: told.body.0.clone(),
    };
    (0..).zip(documents).map(given).collect()
}

/// What it means that a plugin refuses a call as a whole.
fn refused(step: &Step, error: &PluginError) -> Result<Answer, Broken> {
    match step {
        Step::Ingest(_) => Err(Law::EachSignalAlone.failed(error)),
        Step::Compose { views, .. } if views.iter().all(|(name, _)| VIEWS.contains(&&**name)) => {
            Err(Law::Answers.broken(format!("it does not compose a view of the dashboard: {error}")))
        }
        Step::Compose { .. } if !matches!(error.cause, Cause::Unsupported(_)) => {
            Err(Law::Answers.broken(format!("a view that nobody knows is not answered `unsupported`: {error}")))
        }
        Step::Documents => Err(Law::Answers.failed(error)),
        Step::Observe(_) | Step::Compose { .. } => Ok(Answer::Refused(error.to_string())),
    }
}

/// Whether an answer has the form of the contract.
fn lawful(at: usize, step: &Step, answer: &Answer) -> Result<(), Broken> {
    match (step, answer) {
        (Step::Ingest(bodies), Answer::Ingested(rejected)) => {
            let known = first_seq(at)..first_seq(at) + bodies.len() as u64;
            let mut seen = BTreeSet::new();
            for (seq, code, _) in rejected {
                if !known.contains(seq) || !seen.insert(seq) {
                    return Err(Law::Answers.broken(format!("it refuses signal {seq} twice, or was never given it")));
                }
                if !answer::is_words(code, b'-') {
                    return Err(Law::Answers.broken(format!("the code {code:?} is not lower-case words joined by `-`")));
                }
            }
            Ok(())
        }
        (_, Answer::Published(published)) => published.iter().try_for_each(|(key, body, ttl)| {
            Key::new(key).map_err(|error| Law::Answers.broken(format!("it publishes the key {key:?}: {error}")))?;
            answer::check_json(&body.0)
                .map_err(|error| Law::Answers.broken(format!("it publishes {key}, which is {error}")))?;
            if *ttl == 0 { Err(Law::Answers.broken(format!("it publishes {key} for 0 seconds"))) } else { Ok(()) }
        }),
        (Step::Compose { views, .. }, Answer::Composed(bodies)) => {
            if views.len() != bodies.len() {
                return Err(Law::Answers.broken(format!(
                    "it answers {} bodies to {} views",
                    bodies.len(),
                    views.len()
                )));
            }
            views.iter().zip(bodies).try_for_each(|((view, _), body)| {
                answer::check_json(&body.0).map_err(|error| Law::Answers.broken(format!("view {view} is {error}")))
            })
        }
        _ => Ok(()),
    }
}

/// Before the first signal was taken nothing may be published.
fn nothing_from_nothing(steps: &[Step], answers: &[Answer]) -> Result<(), Broken> {
    for (step, answer) in steps.iter().zip(answers) {
        match (step, answer) {
            (Step::Ingest(bodies), Answer::Ingested(rejected)) if rejected.len() < bodies.len() => break,
            (_, Answer::Published(published)) if !published.is_empty() => {
                let what = format!("it publishes {} and has taken no signal", published[0].0);
                return Err(Law::NothingFromNothing.broken(what));
            }
            _ => {}
        }
    }
    Ok(())
}

fn same(one: &[Answer], other: &[Answer], how: &str) -> Result<(), Broken> {
    if one == other {
        return Ok(());
    }
    Err(Law::Repeatable.broken(format!("it answers otherwise {how}: {}", first_difference(one, other))))
}

fn first_difference(one: &[Answer], other: &[Answer]) -> String {
    let at = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or_default();
    match (one.get(at), other.get(at)) {
        (Some(one), Some(other)) => answer::one_line(&format!("call {at}: {one:?}, then {other:?}"), 1 << 10),
        _ => "another number of answers".to_owned(),
    }
}

fn blobs(bodies: &[Vec<u8>]) -> Vec<Blob> {
    bodies.iter().cloned().map(Blob).collect()
}

/// All views of the dashboard, and one that nobody knows.
fn views(documents: &[Told]) -> Step {
    let views = VIEWS.iter().map(|name| ((*name).to_owned(), 100)).collect();
    Step::Compose { views, documents: documents.to_vec() }
}

fn market_then(market: impl Iterator<Item = Step>, known: &[Told]) -> Script {
    let unknown = Step::Compose { views: vec![("no-such-view".to_owned(), 1)], documents: Vec::new() };
    let none =
        Step::Compose { views: VIEWS.iter().map(|name| ((*name).to_owned(), 0)).collect(), documents: known.to_vec() };
    Script(market.chain([Step::Observe(known.to_vec()), views(known), none, unknown, Step::Documents]).collect())
}

/// Signals between good ones, then everything else.
fn around(bodies: Vec<Vec<u8>>, signals: &[Vec<u8>], known: &[Told]) -> Script {
    let good = blobs(&signals[..signals.len().min(2)]);
    let batch = good.iter().take(1).cloned().chain(bodies.into_iter().map(Blob)).chain(good.iter().skip(1).cloned());
    Script(vec![Step::Ingest(batch.collect()), Step::Documents, views(known)])
}

fn damaged(rng: &mut Rng, signals: &[Vec<u8>], known: &[Told]) -> Script {
    let signal = |_| {
        let signal = &signals[rng.usize(..signals.len())];
        material::damaged(rng, signal)
    };
    let bodies = (0..DAMAGED_SIGNALS).map(signal).collect();
    around(bodies, signals, known)
}

/// A real signal with each of its fields, in turn, replaced by a value.
fn field(signals: &[Vec<u8>], value: &str) -> Vec<Vec<u8>> {
    let fields: serde_json::Map<String, serde_json::Value> =
        signals.first().and_then(|signal| serde_json::from_slice(signal).ok()).unwrap_or_default();
    let replaced = |name: &str| {
        let fields = fields.iter().map(|(field, old)| {
            let value = if field == name { value.to_owned() } else { old.to_string() };
            format!("{}:{value}", serde_json::Value::from(field.as_str()))
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into_bytes()
    };
    ["symbol", "confluence_score", "price", "change_24h", "timestamp", "components"].into_iter().map(replaced).collect()
}

fn with_bodies(known: &[Told], body: &str) -> Script {
    let documents: Vec<_> = known.iter().map(|told| Told { body: Blob(body.into()), ..told.clone() }).collect();
    Script(vec![Step::Observe(documents.clone()), views(&documents), Step::Documents])
}

/// A document for each input of the plugin: that of a real producer where there is one, else an empty one.
fn documents(plugin: &Loaded<AggregatorPlugin>) -> Result<Vec<Told>, PluginError> {
    let captured = material::captured();
    let told = |(at, input): (usize, String)| {
        let key = input.replace('*', SYMBOL);
        let found = captured.iter().find(|c| c.key == key && answer::check_json(c.bytes).is_ok());
        let body = found.map_or_else(|| b"{}".to_vec(), |captured| captured.bytes.to_vec());
        Told { key, real: at % 4 != 3, fresh: at % 3 != 2, body: Blob(body) }
    };
    Ok(inputs(plugin)?.into_iter().enumerate().map(told).collect())
}
