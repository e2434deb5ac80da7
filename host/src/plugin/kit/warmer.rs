//! Warmers: one case is a row of plans, because what they answer depends on what came before.

use std::collections::BTreeSet;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::PluginKind;
use super::law::{Broken, Law};
use super::stateful::{foreign_states, fresh, restored, saved, twin};
use super::subject::{Group, Subject};
use crate::plugin::answer;
use crate::plugin::bindings::WarmerPlugin;
use crate::plugin::bindings::types::Kind;
use crate::plugin::bindings::warmer::exports::tiergate::plugin::warmer as wit;
use crate::plugin::config::Config;
use crate::plugin::error::PluginError;
use crate::plugin::limits::Limits;
use crate::plugin::loaded::Loaded;
use crate::plugin::sandbox::{Answered, Sandbox};
use crate::plugin::warmer;
use crate::record::Time;

/// Rows of plans of each sort.
const ROWS: usize = 25;

/// Keys of the greatest plan.
const KEYS_MAX: usize = 1_000;

const NOW: u64 = 1_795_372_662_000_000;
const SECOND: u64 = 1_000_000;

/// Plans, one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::plugin) struct Row(Vec<Plan>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    now: u64,
    max_actions: u32,
    keys: Vec<Told>,
}

/// What a plan is told of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    key: String,
    /// Whether it is real; nothing when nothing is known.
    real: Option<bool>,
    produced_at: Option<u64>,
    version: u64,
    fresh_until: Option<u64>,
    in_memory: bool,
    tiers: Vec<Holding>,
    hits: u64,
    misses: u64,
    source: Option<Source>,
    last_attempt: Option<Attempt>,
    failures: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Holding {
    Unknown,
    Absent,
    Until(u64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Source {
    name: String,
    interval_seconds: u32,
    not_before: u64,
    cost: u64,
}

/// The places of the step and the fate in the contract.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Attempt {
    step: usize,
    at: u64,
    fate: usize,
}

const STEPS: [wit::Step; 3] = [wit::Step::Promote, wit::Step::Refresh, wit::Step::Placeholder];
const FATES: [wit::Fate; 5] =
    [wit::Fate::Done, wit::Fate::AlreadyThere, wit::Fate::Refused, wit::Fate::OverBudget, wit::Fate::Failed];

/// What a plan answered, as text that can be compared.
type Answer = Result<Vec<String>, String>;

impl Subject for WarmerPlugin {
    const KIND: PluginKind = PluginKind::Warmer;
    const LAWS: &'static [Law] =
        &[Law::OneActionPerKey, Law::StateRoundTrip, Law::RefusedStateChangesNothing, Law::Repeatable];
    type Case = Row;

    fn limits(config: &Config) -> &Limits {
        &config.warmer_limits
    }

    fn introduction(plugin: &Loaded<Self>) -> Result<String, PluginError> {
        let watched = warmer::watches(plugin.start()?)?.1;
        let shown: Vec<_> = watched.iter().take(5).map(ToString::to_string).collect();
        Ok(match watched.len() {
            0 => "watches no key of its own accord".to_owned(),
            n => format!("watches {n} keys: {}{}", shown.join(", "), if n > shown.len() { ", …" } else { "" }),
        })
    }

    fn groups(_: &Loaded<Self>, seed: u64) -> Result<Vec<Group<Row>>, PluginError> {
        let mut rng = Rng::with_seed(seed);
        let day = (0..ROWS).map(|at| (format!("row-{at}"), row(&mut rng, false))).collect();
        let hostile: Vec<_> = (0..ROWS).map(|at| (format!("hostile-{at}"), row(&mut rng, true))).collect();
        let crowd =
            Plan { now: NOW, max_actions: 5, keys: (0..KEYS_MAX).map(|at| told(&mut rng, at, NOW, true)).collect() };
        let still = Plan { now: NOW, max_actions: 0, keys: Vec::new() };
        let more = [
            ("crowd".to_owned(), Row(vec![crowd.clone(), crowd])),
            ("nothing".to_owned(), Row(vec![still.clone(), still])),
        ];
        let hostile = hostile.into_iter().chain(more).collect();
        let group = |name, promise, cases| Group { name, promise, cases };
        Ok(vec![
            group("plans", "what a gateway tells of its keys is answered by a plan", day),
            group("hostile", "any numbers, clocks and crowds are answered by a plan", hostile),
        ])
    }

    fn vectors(_: &Loaded<Self>) -> Result<Vec<(String, Row)>, PluginError> {
        let mut rng = Rng::with_seed(0);
        let rows = [("plans", row(&mut rng, false)), ("extremes", row(&mut rng, true))];
        Ok(rows.into_iter().map(|(name, row)| (name.to_owned(), row)).collect())
    }

    fn judge(plugin: &Loaded<Self>, used: &mut Option<Sandbox<Self>>, case: &Row) -> Vec<Broken> {
        judge(plugin, used, case).err().into_iter().collect()
    }

    fn labour(_: &Loaded<Self>) -> Result<(String, Row), PluginError> {
        let mut rng = Rng::with_seed(0);
        let keys = (0..100).map(|at| told(&mut rng, at, NOW, false)).collect();
        Ok(("plan for 100 keys".to_owned(), Row(vec![Plan { now: NOW, max_actions: 5, keys }])))
    }

    fn work(instance: Sandbox<Self>, case: &Row) -> Result<Sandbox<Self>, PluginError> {
        case.0.iter().try_fold(instance, |instance, plan| {
            let (instance, answer) = call(instance, plan)?;
            answer.map(|_| instance)
        })
    }
}

fn judge(plugin: &Loaded<WarmerPlugin>, used: &mut Option<Sandbox<WarmerPlugin>>, row: &Row) -> Result<(), Broken> {
    let (plans, now) = (&row.0, Time::from_micros(NOW));
    let (instance, blank) = saved(fresh(plugin)?, now)?;
    let (instance, answers) = run(instance, plans)?;

    let (_, again) = run(fresh(plugin)?, plans)?;
    same(Law::Repeatable, &answers, &again, "on another fresh instance")?;

    // One that has answered other rows, with its state taken away.
    let instance = used.take().filter(|used| !used.is_worn()).unwrap_or(instance);
    let (instance, again) = run(restored(instance, now, &blank)?, plans)?;
    same(Law::Repeatable, &answers, &again, "on a used instance whose state was replaced by that of a new one")?;
    *used = Some(instance);

    let half = plans.len() / 2;
    let (instance, _) = run(fresh(plugin)?, &plans[..half])?;
    let (one, other) = twin(plugin, instance, now)?;
    let ((_, rest), (_, restored)) = (run(one, &plans[half..])?, run(other, &plans[half..])?);
    same(Law::StateRoundTrip, &rest, &restored, "after its state was saved and restored")?;
    foreign_states(plugin, now)
}

fn run(mut instance: Sandbox<WarmerPlugin>, plans: &[Plan]) -> Result<(Sandbox<WarmerPlugin>, Vec<Answer>), Broken> {
    let mut answers = Vec::new();
    for plan in plans {
        let (same, answer) = call(instance, plan).map_err(|error| Law::Answers.failed(&error))?;
        instance = same;
        answers.push(match answer {
            Ok(actions) => Ok(lawful(plan, actions)?),
            Err(error) => Err(error.to_string()),
        });
    }
    Ok((instance, answers))
}

fn call(instance: Sandbox<WarmerPlugin>, plan: &Plan) -> Result<Answered<WarmerPlugin, Vec<wit::Action>>, PluginError> {
    let keys: Vec<_> = plan.keys.iter().map(state).collect();
    let limits = instance.within_limits("plan", Time::from_micros(plan.now));
    instance
        .ask(limits, |s| s.world.tiergate_plugin_warmer().call_plan(&mut s.store, plan.now, &keys, plan.max_actions))
}

/// The actions as text, if they are what the contract promises.
fn lawful(plan: &Plan, actions: Vec<wit::Action>) -> Result<Vec<String>, Broken> {
    let known: BTreeSet<_> = plan.keys.iter().map(|told| &*told.key).collect();
    let mut seen = BTreeSet::new();
    for action in &actions {
        let key = answer::one_line(&action.key, 250);
        if !known.contains(&*action.key) {
            return Err(Law::OneActionPerKey.broken(format!("it plans for {key:?}, of which it was not told")));
        }
        if !seen.insert(&*action.key) {
            return Err(Law::OneActionPerKey.broken(format!("it plans twice for {key}")));
        }
        let is_placeholder = matches!(action.step, wit::Step::Placeholder);
        if is_placeholder == action.body.is_empty() {
            let what = if is_placeholder { "a placeholder without a body" } else { "a body with a step that has none" };
            return Err(Law::Answers.broken(format!("{key}: {what}")));
        }
    }
    let shown = actions.iter().map(|action| format!("{action:?}")).collect();
    warmer::actions(actions).map(|_| shown).map_err(|what| Law::Answers.broken(what))
}

fn same(law: Law, one: &[Answer], other: &[Answer], how: &str) -> Result<(), Broken> {
    let Some(at) = one.iter().zip(other).position(|(one, other)| one != other) else { return Ok(()) };
    let (one, other) = (&one[at], &other[at]);
    let (one, other) = match (one, other) {
        (Ok(one), Ok(other)) => {
            let at = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or_default();
            (format!("{:?}", one.get(at)), format!("{:?}", other.get(at)))
        }
        _ => (format!("{one:?}"), format!("{other:?}")),
    };
    let (one, other) = (answer::one_line(&one, 500), answer::one_line(&other, 500));
    Err(law.broken(format!("plan {at}: {one}, and {how} {other}")))
}

/// Plans about half a minute of a few keys; or about any numbers, with a clock that jumps.
fn row(rng: &mut Rng, extreme: bool) -> Row {
    let mut now = NOW;
    let mut plans = Vec::new();
    for _ in 0..rng.usize(2..8) {
        let jumps = extreme && rng.u8(0..4) == 0;
        now = if jumps { moment(rng, NOW, true) } else { now.saturating_add(rng.u64(1..10) * SECOND) };
        let keys = (0..rng.usize(0..12)).map(|at| told(rng, at, now, extreme)).collect();
        plans.push(Plan { now, max_actions: rng.u32(0..6), keys });
    }
    Row(plans)
}

/// The `at`th key, in any condition.
fn told(rng: &mut Rng, at: usize, now: u64, extreme: bool) -> Told {
    let real = [None, Some(false), Some(true), Some(true)][rng.usize(..4)];
    let some = |rng: &mut Rng| (real.is_some() && rng.u8(0..8) > 0).then(|| moment(rng, now, extreme));
    let holding = |rng: &mut Rng| match rng.u8(0..4) {
        0 => Holding::Unknown,
        1 => Holding::Absent,
        _ => Holding::Until(moment(rng, now, extreme)),
    };
    let source = |rng: &mut Rng| Source {
        name: format!("origin-{}", at % 3),
        interval_seconds: if extreme { rng.u32(..) } else { rng.u32(1..600) },
        not_before: moment(rng, now, extreme),
        cost: if extreme { rng.u64(..) } else { rng.u64(0..5 * SECOND) },
    };
    let attempt = |rng: &mut Rng| {
        let at = moment(rng, now, extreme);
        Attempt { step: rng.usize(..STEPS.len()), at, fate: rng.usize(..FATES.len()) }
    };
    let long = extreme && rng.u8(0..20) == 0;
    Told {
        key: if long { format!("{}{at}", "k".repeat(240)) } else { format!("market:{at}") },
        real,
        produced_at: some(rng),
        version: real.map_or(0, |_| moment(rng, now, extreme)),
        fresh_until: some(rng),
        in_memory: real.is_some() && rng.bool(),
        tiers: (0..rng.usize(0..4)).map(|_| holding(rng)).collect(),
        hits: count(rng, extreme),
        misses: count(rng, extreme),
        source: (rng.u8(0..3) > 0).then(|| source(rng)),
        last_attempt: rng.bool().then(|| attempt(rng)),
        failures: u32::try_from(count(rng, extreme)).unwrap_or(u32::MAX),
    }
}

/// A time around `now`, or any.
fn moment(rng: &mut Rng, now: u64, extreme: bool) -> u64 {
    match rng.u8(0..8) {
        0 if extreme => 0,
        1 if extreme => u64::MAX,
        2 if extreme => rng.u64(..),
        _ => now.saturating_sub(600 * SECOND).saturating_add(rng.u64(0..1200 * SECOND)),
    }
}

fn count(rng: &mut Rng, extreme: bool) -> u64 {
    match rng.u8(0..4) {
        0 => 0,
        1 if extreme => u64::MAX,
        _ => rng.u64(0..100),
    }
}

fn state(told: &Told) -> wit::KeyState {
    wit::KeyState {
        key: told.key.clone(),
        kind: told.real.map(|real| if real { Kind::Real } else { Kind::Placeholder }),
        produced_at: told.produced_at,
        version: told.version,
        fresh_until: told.fresh_until,
        in_memory: told.in_memory,
        tiers: told
            .tiers
            .iter()
            .map(|holding| match holding {
                Holding::Unknown => wit::Holding::Unknown,
                Holding::Absent => wit::Holding::Absent,
                Holding::Until(until) => wit::Holding::Until(*until),
            })
            .collect(),
        hits: told.hits,
        misses: told.misses,
        source: told.source.as_ref().map(|source| wit::SourceState {
            name: source.name.clone(),
            interval_seconds: source.interval_seconds,
            not_before: source.not_before,
            cost: source.cost,
        }),
        last_attempt: told.last_attempt.as_ref().map(|attempt| wit::Attempt {
            step: STEPS[attempt.step % STEPS.len()],
            at: attempt.at,
            fate: FATES[attempt.fate % FATES.len()],
        }),
        failures: told.failures,
    }
}
