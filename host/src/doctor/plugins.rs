//! Plugins: those that fail, those on probation, and those that did not pass it.

use super::{Code, Doctor, Finding, Place, RECENT, REMEMBERED, span};
use crate::plugin::{Mode, PROBATION, SlotStatus};
use crate::record::Time;
use crate::telemetry::audit::Entry;

/// Entries of the audit log that are read.
const AUDIT_READ_MAX: usize = 100;

impl Doctor {
    pub(super) fn plugins(&self) -> Vec<Finding> {
        let now = Time::now();
        let mut findings: Vec<Finding> = self
            .plugins
            .plugins()
            .status()
            .iter()
            .flat_map(|slot| [failing(slot, now), on_probation(slot)])
            .flatten()
            .collect();
        match self.plugins.audit().last(AUDIT_READ_MAX) {
            Ok(entries) => findings.extend(entries.iter().filter_map(|entry| rolled_back(entry, now))),
            Err(error) => {
                findings.push(Code::CheckNotDone.at(Place::default(), format!("the audit log of plugins: {error}")))
            }
        }
        findings
    }
}

fn rolled_back(entry: &Entry, now: Time) -> Option<Finding> {
    let ago = now.since(entry.at);
    let is_it = entry.step == "rollback" && entry.by == PROBATION && ago < REMEMBERED;
    let why = entry.note.as_deref().unwrap_or(&entry.result);
    let place = Place::plugin(entry.slot.as_deref().unwrap_or_default());
    is_it.then(|| Code::PluginRolledBack.at(place, format!("{} ago: {why}", span(ago))))
}

fn failing(slot: &SlotStatus, now: Time) -> Option<Finding> {
    let last = slot.losses.first().filter(|loss| now.since(loss.at) < RECENT)?;
    let count = slot.losses.iter().filter(|loss| now.since(loss.at) < RECENT).count();
    let evidence = format!("{count} in the last {}; {} ago: {}", span(RECENT), span(now.since(last.at)), last.error);
    Some(Code::PluginFailing.at(Place::plugin(&slot.slot), evidence))
}

fn on_probation(slot: &SlotStatus) -> Option<Finding> {
    let beside = slot.beside.as_ref().filter(|beside| beside.mode == Mode::Probation)?;
    let evidence = format!("generation {} serves, {} runs beside it", slot.generation, beside.generation);
    Some(Code::PluginOnProbation.at(Place::plugin(&slot.slot), evidence))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rollback_by_the_probation_is_found_for_ten_minutes_with_the_slot_and_the_reason_and_no_other_step_is() {
        let at = Time::from_micros(1_700_000_000_000_000);
        let entry = |step: &str, by: &str| Entry {
            at,
            by: by.to_owned(),
            step: step.to_owned(),
            slot: Some("warmer".to_owned()),
            what: None,
            plugin: Some("warmer".to_owned()),
            version: None,
            sha256: None,
            result: "done".to_owned(),
            note: Some("it trapped".to_owned()),
        };
        let after = |seconds: u64| rolled_back(&entry("rollback", PROBATION), at.after(Duration::from_secs(seconds)));
        let found = after(599).expect("a finding");
        assert_eq!((found.code.as_str(), &found.place), ("plugin-rolled-back", &Place::plugin("warmer")));
        assert_eq!(found.evidence, "9m 59s ago: it trapped");
        assert_eq!(after(600), None);
        for (step, by) in [("rollback", "operator"), ("confirm", PROBATION)] {
            assert_eq!(rolled_back(&entry(step, by), at), None, "{step} by {by}");
        }
    }
}
