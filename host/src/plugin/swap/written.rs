//! What is written down of a step, and what its answer says where that cannot be done.

use super::{Operator, SwapError};
use crate::plugin::error::PluginError;
use crate::plugin::slot::GenerationStatus;
use crate::record::Time;
use crate::telemetry::audit::Entry;

/// Who discards what nobody asked to be discarded, in the audit log.
const GATEWAY: &str = "gateway";

/// Why a version before was discarded.
pub(super) const DISCARDED_AS_OLDEST: &str = "by itself: it was the oldest, and only so many versions are kept";
/// Why a candidate was discarded.
pub(super) const DISCARDED_AS_REPLACED: &str = "by itself: another candidate was loaded in its place";

/// What the answer of a `use` says where the version before cannot go on beside the new one.
pub(super) const UNWATCHED: &str =
    "there is no probation: no thread could be had for the version before; the log says why";

/// A step that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Done<T> {
    /// What it led to.
    #[serde(flatten)]
    pub now: T,
    /// What of it could not be done or written down, and why; `None` when everything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Which plugin a step is about, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) plugin: Option<String>,
    pub(super) version: Option<String>,
    pub(super) sha256: Option<String>,
}

impl Operator {
    /// Writes down a step that was carried out, with a note; answers it, with what of it could not be done or written.
    pub(super) async fn done<T>(
        &self,
        step: (&'static str, &str),
        now: T,
        about: About,
        (note, warning): (Option<String>, Option<String>),
        by: &str,
    ) -> Done<T> {
        let note = joined([note, warning.clone()]);
        let unwritten = self.tell(step, about, Ok(note), by).await;
        Done { now, warning: joined([warning, unwritten]) }
    }

    /// Writes down a step that was not carried out; answers why it was not.
    pub(super) async fn not_done(
        &self,
        step: (&'static str, &str),
        about: About,
        why: SwapError,
        by: &str,
    ) -> SwapError {
        // Nothing has changed, so that an entry less misleads nobody; that it is missing is in the log.
        self.tell(step, about, Err(&why), by).await;
        why
    }

    /// Writes down that a version was discarded that nobody asked to be.
    pub(super) async fn discarded(&self, slot: &str, gone: GenerationStatus, why: &str) {
        // Nobody waits for an answer; what cannot be written is in the log.
        self.tell(("discard", slot), gone.into(), Ok(Some(why.to_owned())), GATEWAY).await;
    }

    /// Writes down what a slot holds, for the next start, after a step that cannot be taken back; answers what a restart makes
    /// of it where that fails.
    pub(super) async fn unnoted(&self, slot: &str) -> Option<String> {
        let error = self.note(slot).await.err()?;
        tracing::error!(slot, %error, "what the slot holds could not be noted: a restart forgets this step");
        Some(format!("a restart forgets this: {error}"))
    }

    /// Writes a step down: what came of it, with a note, or why it was not carried out. Answers why it could not be written.
    pub(super) async fn tell(
        &self,
        (step, slot): (&'static str, &str),
        About { plugin, version, sha256 }: About,
        outcome: Result<Option<String>, &SwapError>,
        by: &str,
    ) -> Option<String> {
        let (result, note) = match outcome {
            Ok(note) => {
                tracing::info!(slot, plugin, version, step, by, note, "plugin swap");
                ("done".to_owned(), note)
            }
            Err(error) => {
                tracing::warn!(slot, plugin, version, sha256, step, by, %error, "a plugin swap was not carried out");
                (error.to_string(), None)
            }
        };
        let (at, by, name, place) = (Time::now(), by.to_owned(), step.to_owned(), Some(slot.to_owned()));
        let entry = Entry { at, by, step: name, slot: place, what: None, plugin, version, sha256, result, note };
        let error = self.audit.add_aside(entry).await.err()?;
        tracing::error!(slot, step, %error, "a plugin swap could not be written to the audit log");
        Some(format!("the audit log does not have this: {error}"))
    }
}

pub(super) fn joined(texts: [Option<String>; 2]) -> Option<String> {
    let texts: Vec<_> = texts.into_iter().flatten().collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

// === impl About ===

impl About {
    /// A component of which nothing is known but its digest.
    pub(super) fn digest(sha256: &str) -> Self {
        Self { sha256: Some(sha256.to_owned()), ..Self::default() }
    }

    /// What is known of a plugin, or nothing.
    pub(super) fn some(known: Option<GenerationStatus>) -> Self {
        known.map_or_else(Self::default, Self::from)
    }

    /// What a plugin has said of itself before it failed.
    pub(super) fn learn(&mut self, error: &PluginError) {
        // Until it has, its name is the operator's for the slot.
        if let Some(version) = &error.version {
            (self.plugin, self.version) = (Some(error.plugin.to_string()), Some(version.to_string()));
        }
    }
}

impl From<GenerationStatus> for About {
    fn from(known: GenerationStatus) -> Self {
        Self { plugin: Some(known.plugin), version: known.version, sha256: Some(known.sha256) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sha2::{Digest as _, Sha256};

    use super::super::tests::{offer, operator, operator_over};
    use super::*;
    use crate::plugin::{guest, loader};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_component_that_is_refused_is_in_the_audit_log_by_its_digest_and_by_name_where_it_has_told_it() {
        let (_dir, operator) = operator();
        let last = || operator.audit().last(1).unwrap().remove(0);
        let digest = |component: &[u8]| Some(loader::hex(&Sha256::digest(component)));
        let noise = Bytes::from_static(b"no component");
        operator.load("aggregator", noise.clone(), None, None, None, "ann").await.unwrap_err();
        assert_eq!((last().sha256, last().plugin), (digest(&noise), None));
        // The one that runs is compiled already; it refuses this configuration.
        let component = Bytes::from(guest::aggregator());
        let config = Some(serde_json::json!({ "unknown": 1 }));
        let refused = operator.load("aggregator", component.clone(), config, None, None, "ann").await.unwrap_err();
        assert_eq!((last().result, last().sha256), (refused.to_string(), digest(&component)));
        assert_eq!((last().plugin.as_deref(), last().version.as_deref()), (Some("test-plugin"), Some("1.2.3")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_version_that_is_discarded_because_only_so_many_are_kept_is_in_the_audit_log() {
        let (dir, operator) = operator();
        for _ in 0..3 {
            offer(&operator, &dir, &guest::aggregator());
            operator.use_candidate("aggregator", false, "ann").await.unwrap();
        }
        let log = operator.audit().last(10).unwrap();
        let told: Vec<_> = log.iter().map(|entry| (&*entry.step, &*entry.by)).collect();
        assert_eq!(told, [("use", "ann"), ("discard", "gateway"), ("use", "ann"), ("use", "ann")]);
        assert_eq!((log[1].note.as_deref(), log[1].version.as_deref()), (Some(DISCARDED_AS_OLDEST), Some("1.2.3")));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_swap_that_the_audit_log_has_no_room_for_is_done_and_says_so() {
        let full = |data: &std::path::Path| std::os::unix::fs::symlink("/dev/full", data.join("audit.jsonl")).unwrap();
        let (dir, operator) = operator_over(full);
        offer(&operator, &dir, &guest::aggregator());
        let used = operator.use_candidate("aggregator", false, "ann").await.unwrap();
        assert_eq!(used.now.generation, 2);
        assert!(used.warning.is_some_and(|warning| warning.contains("the audit log does not have this")));
        // What is refused says why it is, and not that this could not be written.
        let refused = operator.use_candidate("aggregator", false, "ann").await.unwrap_err();
        assert!(matches!(refused, SwapError::Nothing { .. }), "{refused}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_swap_that_cannot_be_noted_for_the_next_start_is_done_and_says_that_a_restart_forgets_it() {
        let (dir, operator) = operator();
        std::fs::create_dir(dir.path().join("data/plugins/slots.json")).unwrap();
        offer(&operator, &dir, &guest::aggregator());
        let used = operator.use_candidate("aggregator", false, "ann").await.unwrap();
        assert_eq!(used.now.generation, 2);
        let warning = used.warning.unwrap();
        assert!(warning.starts_with("a restart forgets this: "), "{warning}");
        let note = operator.audit().last(1).unwrap().remove(0).note.unwrap();
        assert!(note.ends_with(&warning), "{note}");
    }
}
