//! What to do with one key.

use crate::case::Case;
use crate::contract::{Fate, Holding, Kind, Micros, Step};
use crate::due::{self, Lack, Why};
use crate::known::{Track, Value};
use crate::placeholder;
use crate::rank::Urgency;
use crate::tasks::Task;
use crate::time::{since, span};

/// What to do with a key.
#[derive(Debug)]
pub struct Decision {
    /// The step.
    pub step: Step,
    /// What happens to readers without it.
    pub urgency: Urgency,
    /// The placeholder.
    pub body: Vec<u8>,
    /// When to look again, if nothing changes before.
    pub next_at: Option<Micros>,
    /// For the operator.
    pub reason: String,
}

/// What is to be said of one step.
enum Verdict {
    /// Take it.
    Act { urgency: Urgency, reason: String },
    /// It will be due, or may be tried again.
    Wait { until: Option<Micros>, reason: String },
    /// It does not apply.
    No,
}

/// Decides: see the crate's page for the order.
pub fn decide(case: &Case<'_>) -> Decision {
    let (refresh, promote) = (refresh(case), promote(case));
    let mut verdicts = match refresh {
        Verdict::Act { urgency: Urgency::Routine, .. } => vec![(Step::Promote, promote), (Step::Refresh, refresh)],
        _ => vec![(Step::Refresh, refresh), (Step::Promote, promote)],
    };
    verdicts.push((Step::Placeholder, placeholder(case)));
    let act = verdicts.iter_mut().find_map(|(step, verdict)| match verdict {
        Verdict::Act { urgency, reason } => Some((*step, *urgency, std::mem::take(reason))),
        _ => None,
    });
    match act {
        Some((step, urgency, reason)) => act_now(case, step, urgency, reason),
        None => leave(case, verdicts),
    }
}

fn act_now(case: &Case<'_>, step: Step, urgency: Urgency, reason: String) -> Decision {
    let body = match (step, case.task.and_then(Task::placeholder)) {
        (Step::Placeholder, Some(fields)) => placeholder::body(&fields, case.now),
        _ => Vec::new(),
    };
    let pause = case.config.backoff(case.known.track(step).failures.saturating_add(1));
    let pause = if step == Step::Placeholder { pause.max(case.config.placeholder_pause()) } else { pause };
    Decision { step, urgency, body, next_at: Some(case.now.saturating_add(pause)), reason }
}

fn leave(case: &Case<'_>, verdicts: Vec<(Step, Verdict)>) -> Decision {
    let (mut next_at, mut said): (Option<Micros>, Option<String>) = (None, None);
    for (_, verdict) in verdicts {
        if let Verdict::Wait { until, reason } = verdict {
            next_at = [next_at, until].into_iter().flatten().min();
            said = said.or(Some(reason));
        }
    }
    let state = case.state;
    let reason = said.unwrap_or_else(|| match (state.kind, state.misses) {
        (None, 0) => "nothing is known of it, and there is no source".to_owned(),
        (None, misses) => format!("{misses} reads found nothing, and no source can bring it"),
        (Some(_), _) => "no source, nothing to promote".to_owned(),
    });
    Decision { step: Step::Leave, urgency: Urgency::Routine, body: Vec::new(), next_at, reason }
}

// === the steps ===

fn refresh(case: &Case<'_>) -> Verdict {
    let Some(source) = &case.state.source else { return Verdict::No };
    let due = due::refresh(case);
    if due.at > case.now {
        let reason = match due.why {
            Why::Expires(at) => format!("fresh for {}", span(at - case.now)),
            _ => format!("fresh; its interval ends in {}", span(due.at - case.now)),
        };
        return Verdict::Wait { until: Some(due.at.max(source.not_before)), reason };
    }
    let track = case.known.refresh;
    if let Some(wait) = unchanged_since_refusal(case, track) {
        return wait;
    }
    let (urgency, why) = match due.why {
        Why::Missing => (Urgency::Missed, "nothing is known of it".to_owned()),
        Why::Placeholder => (Urgency::Missed, "only a placeholder is there".to_owned()),
        Why::Stale => (Urgency::Missed, "it is stale".to_owned()),
        Why::Expires(at) => (Urgency::AtRisk, format!("it expires in {}", span(at.saturating_sub(case.now)))),
        Why::Interval => (Urgency::Routine, format!("its interval of {} has run out", span(case.interval()))),
    };
    let pause = case.config.backoff(track.failures);
    // A source that answers may be asked as often as its interval says.
    let pause = if track.failures == 0 { pause.min(case.interval()) } else { pause };
    if let Some(left) = pause_left(case, track, pause) {
        let reason = match track.failures {
            0 => format!("{why}, and it was asked for just now; next in {}", span(left)),
            failures => format!("backing off after {}, next in {}", times(failures), span(left)),
        };
        return Verdict::Wait { until: Some(case.now.saturating_add(left).max(source.not_before)), reason };
    }
    if source.not_before > case.now {
        let left = span(source.not_before - case.now);
        let reason = format!("{why}; source `{}` may be asked in {left}", source.name);
        return Verdict::Wait { until: Some(source.not_before), reason };
    }
    Verdict::Act { urgency, reason: why }
}

fn promote(case: &Case<'_>) -> Verdict {
    let Some(lack) = due::lack(case.state, case.now).filter(|_| case.state.kind != Some(Kind::Placeholder)) else {
        return Verdict::No;
    };
    if !case.is_wanted() {
        return Verdict::Wait { until: None, reason: "not read, and no task".to_owned() };
    }
    let track = case.known.promote;
    if let Some(wait) = unchanged_since_refusal(case, track) {
        return wait;
    }
    // Memory drops what it likes: the same value is brought up once, and readers do the rest.
    let again = track.succeeded().is_some_and(|last| last.value == Value::of(case.state, case.now));
    let pause = match lack {
        Lack::Memory if again => case.config.backoff_max(),
        _ => case.config.backoff(track.failures),
    };
    if let Some(left) = pause_left(case, track, pause) {
        let reason = match track.failures {
            0 => format!("promoted just now, next in {}", span(left)),
            failures => format!("{} did not help, next in {}", promotions(failures), span(left)),
        };
        return Verdict::Wait { until: Some(case.now.saturating_add(left)), reason };
    }
    let reason = match lack {
        Lack::Tier => "a slower tier has it, a faster one does not",
        Lack::Memory => "a tier has it, memory does not",
    };
    Verdict::Act { urgency: Urgency::AtRisk, reason: reason.to_owned() }
}

fn placeholder(case: &Case<'_>) -> Verdict {
    let state = case.state;
    let something = state.kind.is_some() || state.in_memory;
    if something || case.task.and_then(Task::placeholder).is_none() {
        return Verdict::No;
    }
    let wait = |until, reason: &str| Verdict::Wait { until, reason: reason.to_owned() };
    if state.tiers.contains(&Holding::Unknown) {
        return wait(None, "a tier that does not answer may have data, so no placeholder");
    }
    if state.tiers.iter().any(|holding| *holding != Holding::Absent) {
        return wait(None, "a tier has something that is not known yet, so no placeholder");
    }
    if state.source.is_some() && case.known.refresh.failures == 0 {
        return wait(None, "its source has not failed, so no placeholder");
    }
    let track = case.known.placeholder;
    if let Some(wait) = unchanged_since_refusal(case, track) {
        return wait;
    }
    let pause = case.config.placeholder_pause().max(case.config.backoff(track.failures));
    // Each on its own: an attempt that a clock set back left in the future must not hide one that was just made.
    let placed = [case.known.placed_at, track.last.map(|last| last.at)];
    let ago = placed.into_iter().flatten().map(|at| since(at, case.now)).min();
    match ago.filter(|ago| *ago < pause) {
        Some(ago) => {
            let left = pause - ago;
            let reason = format!("a placeholder was put just now, next in {}", span(left));
            Verdict::Wait { until: Some(case.now.saturating_add(left)), reason }
        }
        None => Verdict::Act { urgency: Urgency::Missed, reason: "every tier answered and has nothing".to_owned() },
    }
}

/// What is left of a pause since the last attempt.
fn pause_left(case: &Case<'_>, track: Track, pause: Micros) -> Option<Micros> {
    pause.checked_sub(since(track.last?.at, case.now)).filter(|left| *left > 0)
}

/// The wait of a step that the host refused, until the value changes or a long pause is over.
fn unchanged_since_refusal(case: &Case<'_>, track: Track) -> Option<Verdict> {
    let last = track.last.filter(|last| last.fate == Fate::Refused && last.value == Value::of(case.state, case.now))?;
    let left = case.config.backoff_max().checked_sub(since(last.at, case.now)).filter(|left| *left > 0)?;
    let reason = format!("refused, and nothing changed since; next in {}", span(left));
    Some(Verdict::Wait { until: Some(case.now.saturating_add(left)), reason })
}

fn times(failures: u32) -> String {
    if failures == 1 { "a failure".to_owned() } else { format!("{failures} failures") }
}

fn promotions(failures: u32) -> String {
    if failures == 1 { "a promotion".to_owned() } else { format!("{failures} promotions") }
}
