//! When a key wants its source, and where a promotion would help.

use crate::case::Case;
use crate::contract::{Holding, KeyState, Kind, Micros};
use crate::time::SECOND;

/// Added to every lead: clocks, queues, and the fetch itself.
const MARGIN: Micros = SECOND;

/// A copy that ends sooner is not worth making.
const LIFE_MIN: Micros = 2 * SECOND;

/// Why a key wants its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing is known of it.
    Missing,
    /// A placeholder stands for it.
    Placeholder,
    /// It is past its time to live.
    Stale,
    /// It will be stale, or gone from a tier, at this time.
    Expires(Micros),
    /// Its interval has run out.
    Interval,
}

/// The moment from which on a key wants its source, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The moment.
    pub at: Micros,
    /// Why.
    pub why: Why,
}

/// When this key wants its source.
///
/// What brought the value does not matter: one that came by itself, or was found in place, expires like any other (B8).
pub fn refresh(case: &Case<'_>) -> Due {
    match case.state.kind {
        None => Due { at: case.now, why: Why::Missing },
        Some(Kind::Placeholder) => Due { at: case.now, why: Why::Placeholder },
        Some(Kind::Real) => by_expiry(case).filter(|due| due.at <= case.now).unwrap_or_else(|| {
            let by_interval = by_interval(case);
            by_expiry(case).filter(|due| due.at < by_interval.at).unwrap_or(by_interval)
        }),
    }
}

fn by_expiry(case: &Case<'_>) -> Option<Due> {
    let state = case.state;
    if state.fresh_until.is_some_and(|until| until <= case.now) {
        return Some(Due { at: case.now, why: Why::Stale });
    }
    let tiers = state.tiers.iter().filter_map(|holding| match holding {
        Holding::Until(until) => Some(*until),
        Holding::Unknown | Holding::Absent => None,
    });
    let expires = tiers.chain(state.fresh_until).min()?;
    Some(Due { at: expires.saturating_sub(lead(case)), why: Why::Expires(expires) })
}

fn by_interval(case: &Case<'_>) -> Due {
    // A time further ahead than this was written before the clock was set back.
    let latest = case.now.saturating_add(case.interval());
    let times = [case.state.produced_at, case.known.refresh.succeeded().map(|last| last.at)].into_iter().flatten();
    let renewed = times.filter(|at| *at <= latest).max();
    let at = renewed.map_or(case.now, |at| at.saturating_add(case.interval()));
    Due { at, why: Why::Interval }
}

/// How long before its end a value is fetched again: time for two plans and two fetches, so that the first may fail.
fn lead(case: &Case<'_>) -> Micros {
    let cost = case.state.source.as_ref().map_or(0, |source| source.cost);
    let needed = cost.saturating_mul(2).saturating_add(2 * case.gap).saturating_add(MARGIN);
    let share = (case.interval() as f64 * case.config.lead_ratio) as Micros;
    needed.max(share)
}

/// The fastest place that lacks what a slower tier has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A tier answered that it has nothing.
    Tier,
    /// Only the host's memory lacks it.
    Memory,
}

/// Where a promotion would help. A tier that did not answer is not known to lack anything.
pub fn lack(state: &KeyState, now: Micros) -> Option<Lack> {
    let has = |holding: &Holding| matches!(holding, Holding::Until(until) if until.saturating_sub(now) > LIFE_MIN);
    let slowest = state.tiers.iter().rposition(has)?;
    let lacks = |holding: &Holding| match holding {
        Holding::Unknown => false,
        Holding::Absent => true,
        Holding::Until(until) => *until <= now,
    };
    if state.tiers[..slowest].iter().any(lacks) { Some(Lack::Tier) } else { (!state.in_memory).then_some(Lack::Memory) }
}
