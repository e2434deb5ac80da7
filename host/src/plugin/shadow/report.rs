//! [`Tally`]: what was found so far, and the [`Report`] that an operator reads. [`Bounds`]: what a new version may do worse
//! than the old one on probation.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::difference::Difference;
use crate::plugin::call::{Answer, Faults, Taken};
use crate::plugin::slot::GenerationStatus;
use crate::record::Time;

/// Examples that are kept, the first ones of each call.
const EXAMPLES_MAX: usize = 5;

/// Why a version runs beside the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is a candidate.
    Shadow,
    /// It was active before, and the active one is on probation.
    Probation,
}

/// What the companion of a slot has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Why it runs.
    pub mode: Mode,
    /// What runs beside the active version.
    pub companion: GenerationStatus,
    /// Since when, in Unix microseconds.
    pub since: Time,
    /// How it came by its state.
    pub state: String,
    /// Calls that the active version was asked since then.
    pub calls: u64,
    /// Those that the companion was asked too.
    pub compared: u64,
    /// Those that it was not asked, because it is bounded: what is compared is a sample.
    pub skipped: u64,
    /// Calls that wait for it, in bytes.
    pub queued_bytes: usize,
    /// How often it was given the active version's state again, after it had missed something.
    pub reseeded: u64,
    /// Answers, each view and each document counted by itself, that were held against each other.
    pub answers: u64,
    /// Those that differ.
    pub different: u64,
    /// Their share.
    pub difference_rate: f64,
    /// Those of each call.
    pub by_call: BTreeMap<&'static str, CallReport>,
    /// How the two did in the calls that both were asked.
    pub active: SideReport,
    /// See [`Report::active`].
    pub other: SideReport,
    /// The first differences of each call.
    pub examples: Vec<Example>,
}

/// One kind of call.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CallReport {
    /// See [`Report::answers`].
    pub answers: u64,
    /// Those that differ.
    pub different: u64,
}

/// One version.
#[derive(Clone, Debug, Serialize)]
pub struct SideReport {
    /// Instances that were lost, and calls that failed, by cause.
    pub faults: BTreeMap<&'static str, u64>,
    /// Records that were given.
    pub records: u64,
    /// Those that were refused.
    pub rejections: u64,
    /// Processor time of a call in microseconds.
    pub mean_us: f64,
    /// The median.
    pub p50_us: u64,
    /// What one call in a hundred takes longer than.
    pub p99_us: u64,
}

/// A difference.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// When the call was made, in Unix microseconds.
    pub at: Time,
    /// The call.
    pub call: &'static str,
    /// What of its answer.
    pub what: String,
    /// The first place that differs, as a JSON pointer.
    pub path: String,
    /// Places that differ.
    pub places: usize,
    /// What the active version says there.
    pub active: String,
    /// What the companion says there.
    pub other: String,
}

/// What the active version may do worse than the one before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Faults more than the old version had.
    pub faults_max: u64,
    /// Share of the records, from 0 to 1, that is refused beyond the old version's.
    pub rejections_max: f64,
    /// Mean processor time of a call as a multiple of the old version's.
    pub latency_max: f64,
}

/// What was found so far.
pub(in crate::plugin) struct Tally {
    mode: Mode,
    since: Time,
    pub(super) state: String,
    calls: u64,
    compared: u64,
    skipped: u64,
    pub(super) reseeded: u64,
    by_call: BTreeMap<&'static str, CallReport>,
    active: Side,
    other: Side,
    examples: Vec<Example>,
}

struct Side {
    faults: BTreeMap<&'static str, u64>,
    records: u64,
    rejections: u64,
    /// Nanoseconds.
    took: Histogram<u64>,
}

/// The longest latency that is told apart: an hour.
const TOOK_MAX_NANOS: u64 = 3_600_000_000_000;

/// Significant digits of a latency.
const DIGITS: u8 = 2;

/// Calls that both must have answered before their latency says something.
const LATENCY_CALLS_MIN: u64 = 50;

/// Records that both must have been given before the share of refused ones says something.
const RECORDS_MIN: u64 = 50;

/// A mean that is longer by less than this is not felt by anybody, whatever multiple it is.
const LATENCY_FELT: Duration = Duration::from_millis(1);

// === impl Tally ===

impl Tally {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            since: Time::now(),
            state: "being taken over".to_owned(),
            calls: 0,
            compared: 0,
            skipped: 0,
            reseeded: 0,
            by_call: BTreeMap::new(),
            active: Side::new(),
            other: Side::new(),
            examples: Vec::new(),
        }
    }

    pub(super) fn skipped(&mut self, taken: &Taken) {
        self.calls += 1;
        self.skipped += 1;
        // A fault of the active version counts whether or not the other was asked.
        self.active.fault(&taken.faults);
    }

    pub(super) fn compared(
        &mut self,
        taken: &Taken,
        answer: &Answer,
        faults: &Faults,
        took: Duration,
        (answers, different): (usize, Vec<Difference>),
    ) {
        let call = taken.question.call();
        self.calls += 1;
        self.compared += 1;
        let counts = self.by_call.entry(call).or_default();
        counts.answers += answers as u64;
        counts.different += different.len() as u64;
        self.active.add(&taken.faults, taken.question.len(), &taken.answer, taken.took);
        self.other.add(faults, taken.question.len(), answer, took);
        let shown = self.examples.iter().filter(|example| example.call == call).count();
        let more = different.into_iter().take(EXAMPLES_MAX.saturating_sub(shown));
        self.examples.extend(more.map(|Difference { what, path, active, other, places }| Example {
            at: taken.question.now(),
            call,
            what,
            path,
            places,
            active,
            other,
        }));
    }

    /// Share of the answers that differ; none while nothing was compared.
    pub(super) fn difference_rate(&self) -> Option<f64> {
        let (answers, different) = self.sums();
        (answers > 0).then(|| ratio(different, answers))
    }

    /// Answers that were held against each other, and those that differ.
    fn sums(&self) -> (u64, u64) {
        let sum = |of: fn(&CallReport) -> u64| self.by_call.values().map(of).sum::<u64>();
        (sum(|call| call.answers), sum(|call| call.different))
    }

    pub(super) fn report(&self, companion: GenerationStatus, queued_bytes: usize) -> Report {
        let (answers, different) = self.sums();
        Report {
            mode: self.mode,
            companion,
            since: self.since,
            state: self.state.clone(),
            calls: self.calls,
            compared: self.compared,
            skipped: self.skipped,
            queued_bytes,
            reseeded: self.reseeded,
            answers,
            different,
            difference_rate: ratio(different, answers),
            by_call: self.by_call.clone(),
            active: self.active.report(),
            other: self.other.report(),
            examples: self.examples.clone(),
        }
    }
}

// === impl Side ===

impl Side {
    fn new() -> Self {
        let took = Histogram::new_with_bounds(1, TOOK_MAX_NANOS, DIGITS).expect("constants that a histogram can have");
        Self { faults: BTreeMap::new(), records: 0, rejections: 0, took }
    }

    fn add(&mut self, faults: &Faults, records: usize, answer: &Answer, took: Duration) {
        self.fault(faults);
        self.records += records as u64;
        self.rejections += answer.rejections() as u64;
        self.took.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn fault(&mut self, faults: &Faults) {
        for fault in faults {
            *self.faults.entry(fault).or_default() += 1;
        }
    }

    fn report(&self) -> SideReport {
        SideReport {
            faults: self.faults.clone(),
            records: self.records,
            rejections: self.rejections,
            mean_us: self.took.mean() / 1e3,
            p50_us: self.took.value_at_quantile(0.5) / 1_000,
            p99_us: self.took.value_at_quantile(0.99) / 1_000,
        }
    }
}

// === impl Report ===

impl Report {
    /// Which bound the active version crosses, held against the one before it, if it crosses one.
    pub fn breach(&self, bounds: &Bounds) -> Option<String> {
        let (new, old) = (&self.active, &self.other);
        let faults = |side: &SideReport| side.faults.values().sum::<u64>();
        let (now, before) = (faults(new), faults(old));
        if now > before.saturating_add(bounds.faults_max) {
            let causes: Vec<_> = new.faults.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
            let most = bounds.faults_max;
            return Some(format!(
                "{now} faults ({}) where the version before had {before}; at most {most} more are borne",
                causes.join(", ")
            ));
        }
        let (now, before) = (ratio(new.rejections, new.records), ratio(old.rejections, old.records));
        if old.records >= RECORDS_MIN && now > before + bounds.rejections_max {
            return Some(format!(
                "it refuses {:.1} % of the records where the version before refused {:.1} %; at most {:.1} % more are borne",
                now * 100.0,
                before * 100.0,
                bounds.rejections_max * 100.0
            ));
        }
        let (now, before) = (new.mean_us, old.mean_us);
        let felt = now - before >= LATENCY_FELT.as_micros() as f64;
        if self.compared >= LATENCY_CALLS_MIN && felt && now > before * bounds.latency_max {
            return Some(format!(
                "a call takes {now:.0} us where the version before took {before:.0} us; at most {} times as long is borne",
                bounds.latency_max
            ));
        }
        None
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { faults_max: 3, rejections_max: 0.05, latency_max: 2.0 };

    fn side(faults: u64, records: u64, rejections: u64, mean_us: f64) -> SideReport {
        let faults = [("trap", faults)].into_iter().filter(|(_, count)| *count > 0).collect();
        SideReport { faults, records, rejections, mean_us, p50_us: 0, p99_us: 0 }
    }

    fn breach(compared: u64, active: SideReport, other: SideReport) -> Option<String> {
        let status = GenerationStatus { generation: 1, plugin: "p".into(), version: None, sha256: "00".into() };
        let mut report = Tally::new(Mode::Probation).report(status, 0);
        (report.compared, report.active, report.other) = (compared, active, other);
        report.breach(&BOUNDS)
    }

    #[test]
    fn each_bound_is_kept_at_it_and_crossed_one_past_it() {
        let old = || side(1, 100, 10, 1_000.0);
        assert_eq!(breach(100, side(4, 100, 15, 2_000.0), old()), None);
        assert!(breach(1, side(5, 100, 15, 2_000.0), old()).unwrap().contains("5 faults (5 trap)"));
        assert!(breach(1, side(4, 100, 16, 2_000.0), old()).unwrap().contains("refuses 16.0 %"));
        assert!(breach(100, side(4, 100, 15, 2_001.0), old()).unwrap().contains("2001 us"));
    }

    #[test]
    fn few_calls_and_differences_that_nobody_feels_say_nothing() {
        assert_eq!(breach(49, side(0, 49, 49, 9_000.0), side(0, 49, 0, 10.0)), None);
        assert_eq!(breach(1_000, side(0, 1_000, 0, 900.0), side(0, 1_000, 0, 10.0)), None);
    }
}
