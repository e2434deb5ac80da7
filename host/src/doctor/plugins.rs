//! Plugins: those that fail, those on probation, and those that did not pass it.

use super::{Code, Doctor, Finding, Place, RECENT, REMEMBERED, span};
use crate::plugin::{Mode, PROBATION, SlotStatus};
use crate::record::Time;

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
        match self.plugins.audit(AUDIT_READ_MAX) {
            Ok(entries) => {
                let rolled_back = entries.iter().filter(|entry| entry.step == "rollback" && entry.by == PROBATION);
                let recent = rolled_back.filter(|entry| now.since(entry.at) < REMEMBERED);
                findings.extend(recent.map(|entry| {
                    let why = entry.note.as_deref().unwrap_or(&entry.result);
                    Code::PluginRolledBack
                        .at(Place::plugin(&entry.slot), format!("{} ago: {why}", span(now.since(entry.at))))
                }));
            }
            Err(error) => {
                findings.push(Code::CheckNotDone.at(Place::default(), format!("the audit log of plugins: {error}")))
            }
        }
        findings
    }
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
