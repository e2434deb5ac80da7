//! Gathering: what the next plan is told.

use std::collections::BTreeSet;

use super::Warm;
use super::warmer::KeyState;
use crate::cache::{Reads, Survey};
use crate::record::{Key, Kind, Time};
use crate::source::SourceState;

/// Keys besides the watched ones that a plan is told of: those that are read most.
const READ_KEYS_MAX: usize = 256;

impl Warm {
    /// The state of every watched key, of those that are read most, and of nothing that is under way.
    pub(super) async fn gather(&self) -> Vec<KeyState> {
        let mut reads = self.cache.take_reads();
        let watched = self.watched();
        let under_way = self.ledger().under_way();
        let mut most_read: Vec<(&Key, u64)> =
            reads.iter().map(|(key, reads)| (key, reads.hits.saturating_add(reads.misses))).collect();
        most_read.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        let read = most_read.into_iter().map(|(key, _)| key).filter(|key| !watched.contains(*key));
        let told: BTreeSet<Key> = watched.iter().chain(read.take(READ_KEYS_MAX)).cloned().collect();

        let keys: Vec<Key> = told.iter().filter(|key| !under_way.contains(*key)).cloned().collect();
        let surveys = self.cache.survey(&keys).await;
        let now = Time::now();
        let warm = keys.iter().zip(&surveys).map(|(key, survey)| (key.clone(), is_warm(survey, now)));
        let mut ledger = self.ledger();
        ledger.keep(warm);
        let states = keys.into_iter().zip(surveys).map(|(key, survey)| {
            let reads = reads.remove(&key).unwrap_or_default();
            let task = ledger.task(&key);
            let source = self.sources.of(&key);
            state(key, survey, reads, source, task.last_attempt, task.failures)
        });
        states.collect()
    }
}

fn is_warm(survey: &Survey, now: Time) -> bool {
    survey.record.as_ref().is_some_and(|record| record.kind == Kind::Real && record.is_fresh(now))
}

fn state(
    key: Key,
    survey: Survey,
    reads: Reads,
    source: Option<SourceState>,
    last_attempt: Option<super::Attempt>,
    failures: u32,
) -> KeyState {
    let Survey { record, in_memory, tiers } = survey;
    let record = record.as_deref();
    KeyState {
        key,
        kind: record.map(|record| record.kind),
        produced_at: record.map(|record| record.produced_at),
        version: record.map_or(0, |record| record.version.0),
        fresh_until: record.map(|record| record.soft_expiry),
        in_memory,
        tiers,
        hits: reads.hits,
        misses: reads.misses,
        source,
        last_attempt,
        failures,
    }
}
