//! Metric names, each in one place, with the words of the outcomes as labels.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::record::{DeleteOutcome, Key, ReadOutcome, Repair, TierName, WriteOutcome};

const WRITES: &str = "tiergate_writes_total";
const DELETES: &str = "tiergate_deletes_total";
pub(super) const READS: &str = "tiergate_reads_total";
const COPIES: &str = "tiergate_copies_total";
const TIER_READS: &str = "tiergate_tier_reads_total";
const TIER_ANSWERS: &str = "tiergate_tier_answers";
const TIER_FAILURES: &str = "tiergate_tier_failures_total";
const BREAKER_OPEN: &str = "tiergate_breaker_open";
const BREAKER_TURNS: &str = "tiergate_breaker_transitions_total";
pub(super) const RECOVERY_DEPTH: &str = "tiergate_recovery_depth";
const RECOVERY_BYTES: &str = "tiergate_recovery_bytes";
const RECOVERY_AGE: &str = "tiergate_recovery_oldest_age_seconds";
const RECOVERIES: &str = "tiergate_recovery_total";
const QUARANTINE: &str = "tiergate_quarantine_entries";
const QUARANTINED: &str = "tiergate_quarantined_total";
const REPAIRS: &str = "tiergate_repairs_total";
const REJECTIONS: &str = "tiergate_rejections_total";
const SOURCE_FETCHES: &str = "tiergate_source_fetches_total";
const SOURCE_FETCH_SECONDS: &str = "tiergate_source_fetch_seconds";
const SIGNALS: &str = "tiergate_signals_total";
const SNAPSHOT_SECONDS: &str = "tiergate_snapshot_seconds";
pub(super) const HTTP_REQUESTS: &str = "tiergate_http_requests_total";
const WORKER_RESTARTS: &str = "tiergate_worker_restarts_total";
const CONNECTIONS: &str = "tiergate_connections";
const STREAMS: &str = "tiergate_streams";
const WARMER_ACTIONS: &str = "tiergate_warmer_actions_total";
const WARMER_PLAN_FAILURES: &str = "tiergate_warmer_plan_failures";
const WARMER_PLAN_AGE: &str = "tiergate_warmer_last_plan_age_seconds";
const WARMER_WARM: &str = "tiergate_warmer_warm";
const WARMER_FAILURES: &str = "tiergate_warmer_failures";
const WARMER_LAST: &str = "tiergate_warmer_last_warmed_age_seconds";
const WARMER_NEXT: &str = "tiergate_warmer_next_attempt_seconds";
const DEGRADED: &str = "tiergate_degraded";
const CHANGES_MISSED: &str = "tiergate_changes_missed_total";
const SIGNALS_MISSED: &str = "tiergate_signals_missed_total";
const PUBLISHES: &str = "tiergate_publishes";
const HINTS: &str = "tiergate_hints_total";
const LOSSES: &str = "tiergate_losses_total";
pub(super) const AGE: &str = "cache_age_seconds";
const VERIFIED_AGE: &str = "tier_last_verified_write_age_seconds";

/// Seconds, from a cheap call to a slow tier.
const BUCKETS: [f64; 14] = [1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0];

/// Seconds, from an origin nearby to the deadline of one far away.
const FETCH_BUCKETS: [f64; 11] = [5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Starts collecting; the handle renders what `GET /metrics` answers.
///
/// # Errors
///
/// When another recorder is installed in this process.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(SOURCE_FETCH_SECONDS.to_owned()), &FETCH_BUCKETS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    super::plugin_metrics::describe();
    describe_counter!(WRITES, "Writes by tier and outcome");
    describe_counter!(DELETES, "Deletes by tier and outcome");
    describe_counter!(READS, "Reads of keys by outcome and tier");
    describe_counter!(COPIES, "Promotions, and greater values put back, by tier and outcome");
    describe_counter!(
        TIER_READS,
        "Reads of tiers, each for one or many keys: for readers and documents, to survey, to fill again"
    );
    describe_gauge!(TIER_ANSWERS, "1 while a tier answers looks below memory, else 0");
    describe_counter!(TIER_FAILURES, "Calls that a tier did not answer, or not in time");
    describe_gauge!(BREAKER_OPEN, "1 while calls of a tier are not made because it did not answer others, else 0");
    describe_counter!(BREAKER_TURNS, "Transitions of the breakers by tier, side and new state");
    describe_gauge!(RECOVERY_DEPTH, "Keys of which something waits for a tier that does not answer");
    describe_gauge!(RECOVERY_BYTES, Unit::Bytes, "Bytes of what waits for a tier");
    describe_gauge!(RECOVERY_AGE, Unit::Seconds, "How long the oldest has waited for a tier; 0 when nothing waits");
    describe_counter!(
        RECOVERIES,
        "What came to wait for a tier (queued, overflow), and how each ended, by tier and outcome; rows of the journal that were damaged"
    );
    describe_gauge!(QUARANTINE, "Payloads in quarantine: seen in a tier, and no value of their key");
    describe_counter!(
        QUARANTINED,
        "Payloads that came into quarantine by tier, and old ones that were pushed out of it"
    );
    describe_counter!(REPAIRS, "Payloads repaired by schema and kind of repair");
    describe_counter!(REJECTIONS, "Payloads refused by code");
    describe_counter!(SOURCE_FETCHES, "Requests to the origins of sources by outcome");
    describe_histogram!(SOURCE_FETCH_SECONDS, Unit::Seconds, "Time from asking an origin to the end of its answer");
    describe_counter!(SIGNALS, "Signals posted by outcome");
    describe_counter!(HTTP_REQUESTS, "Requests by listener and status");
    describe_counter!(WORKER_RESTARTS, "How often work beside the listeners died and was begun again, by worker");
    describe_gauge!(CONNECTIONS, "Open connections of the data listeners");
    describe_gauge!(STREAMS, "Open event streams and WebSockets");
    describe_counter!(WARMER_ACTIONS, "Actions of the warmer by step and fate");
    describe_gauge!(WARMER_PLAN_FAILURES, "Plans in a row that the warmer did not make");
    describe_gauge!(WARMER_PLAN_AGE, Unit::Seconds, "Time since the warmer's last plan");
    describe_gauge!(WARMER_WARM, "1 while a watched key has real and fresh data, else 0");
    describe_gauge!(WARMER_FAILURES, "Attempts in a row that failed to warm a watched key");
    describe_gauge!(WARMER_LAST, Unit::Seconds, "Time since a watched key was last warmed");
    describe_gauge!(WARMER_NEXT, Unit::Seconds, "Time until the warmer means to look at a watched key again");
    describe_gauge!(DEGRADED, "1 while changes that others make may be missed, and memory is not trusted, else 0");
    describe_counter!(CHANGES_MISSED, "Times that changes which others made may have been missed");
    describe_counter!(SIGNALS_MISSED, "Times that signals of other gateways were trimmed away before they were read");
    describe_gauge!(PUBLISHES, "1 while this gateway publishes what all gateways' signals add up to, else 0");
    describe_counter!(HINTS, "Changes by others that tiers told of, by tier and kind");
    describe_counter!(LOSSES, "Writes that lost, by whether the other gateways were told");
    describe_gauge!(
        AGE,
        Unit::Seconds,
        "Age of the data of each dashboard document: now less its producer's timestamp"
    );
    describe_gauge!(
        VERIFIED_AGE,
        Unit::Seconds,
        "Time since a write to the tier was read back on another connection; before the first one, since the start"
    );
    describe_histogram!(SNAPSHOT_SECONDS, Unit::Seconds, "Time to compose, encode and compress the dashboard's views");
}

/// A worker died this often more. With 0 it is known from its beginning on.
pub fn worker_restarted(worker: &'static str, times: u64) {
    counter!(WORKER_RESTARTS, "worker" => worker).increment(times);
}

/// One tier's answer to a write.
pub fn written(tier: &TierName, outcome: &WriteOutcome) {
    counter!(WRITES, "tier" => tier.to_string(), "outcome" => outcome.label()).increment(1);
    if matches!(outcome, WriteOutcome::Queued(_) | WriteOutcome::Failed(_) | WriteOutcome::Unknown(_)) {
        tier_failed(tier, "write");
    }
}

/// One tier's answer to a delete.
pub fn deleted(tier: &TierName, outcome: &DeleteOutcome) {
    counter!(DELETES, "tier" => tier.to_string(), "outcome" => outcome.label()).increment(1);
    if matches!(outcome, DeleteOutcome::Queued(_) | DeleteOutcome::Failed(_) | DeleteOutcome::Unknown(_)) {
        tier_failed(tier, "delete");
    }
}

/// The outcome of a read.
pub fn read(outcome: &ReadOutcome) {
    let tier = match outcome {
        ReadOutcome::Hit { tier } | ReadOutcome::Stale { tier, .. } => tier.to_string(),
        ReadOutcome::Miss | ReadOutcome::Unavailable { .. } => String::new(),
    };
    counter!(READS, "outcome" => outcome.label(), "tier" => tier).increment(1);
}

/// What memory answers, which is too frequent to look a counter up by its labels.
pub struct HitCounters {
    /// Fresh values.
    pub hit: Counter,
    /// Stale values.
    pub stale: Counter,
}

impl HitCounters {
    /// The counters of the recorder that is installed now.
    pub fn new() -> Self {
        let of = |outcome| counter!(READS, "outcome" => outcome, "tier" => "memory");
        Self { hit: of("hit"), stale: of("stale") }
    }
}

impl Default for HitCounters {
    fn default() -> Self {
        Self::new()
    }
}

/// A copy of a greater value that a tier was given.
pub fn copied(why: &'static str, tier: &TierName, outcome: &WriteOutcome) {
    counter!(COPIES, "why" => why, "tier" => tier.to_string(), "outcome" => outcome.label()).increment(1);
    if matches!(outcome, WriteOutcome::Failed(_) | WriteOutcome::Unknown(_)) {
        tier_failed(tier, "copy");
    }
}

/// A tier was asked, for one key or many.
pub fn tier_read(tier: &TierName, why: &'static str) {
    counter!(TIER_READS, "tier" => tier.to_string(), "why" => why).increment(1);
}

/// Whether a tier answered when it was last asked.
pub fn tier_answers(tier: &TierName, answers: bool) {
    gauge!(TIER_ANSWERS, "tier" => tier.to_string()).set(if answers { 1.0 } else { 0.0 });
}

/// A tier did not answer.
pub fn tier_failed(tier: &TierName, call: &'static str) {
    counter!(TIER_FAILURES, "tier" => tier.to_string(), "call" => call).increment(1);
}

/// Whether the breaker of a tier's reads or writes keeps calls back.
pub fn breaker(tier: &TierName, side: &'static str, is_open: bool) {
    gauge!(BREAKER_OPEN, "tier" => tier.to_string(), "side" => side).set(if is_open { 1.0 } else { 0.0 });
}

/// A breaker went over into another state.
pub fn breaker_turned(tier: &TierName, side: &'static str, to: &'static str) {
    counter!(BREAKER_TURNS, "tier" => tier.to_string(), "side" => side, "to" => to).increment(1);
}

/// Whether changes that others make may be missed.
pub fn degraded(is_degraded: bool) {
    gauge!(DEGRADED).set(if is_degraded { 1.0 } else { 0.0 });
}

/// Changes that others made may have been missed.
pub fn changes_missed() {
    counter!(CHANGES_MISSED).increment(1);
}

/// Signals of other gateways were trimmed away before this one read them.
pub fn signals_missed() {
    counter!(SIGNALS_MISSED).increment(1);
}

/// Whether this gateway publishes for all that share their signals.
pub fn publishes(publishes: bool) {
    gauge!(PUBLISHES).set(if publishes { 1.0 } else { 0.0 });
}

/// A tier told of a change.
pub fn hint(tier: &TierName, kind: &'static str) {
    counter!(HINTS, "tier" => tier.to_string(), "kind" => kind).increment(1);
}

/// The other gateways were to be told of a write that lost.
pub fn loss(outcome: &'static str) {
    counter!(LOSSES, "outcome" => outcome).increment(1);
}

/// What waits for a tier.
pub fn lane(tier: &TierName, depth: usize, bytes: u64, oldest: Option<Duration>) {
    gauge!(RECOVERY_DEPTH, "tier" => tier.to_string()).set(depth as f64);
    gauge!(RECOVERY_BYTES, "tier" => tier.to_string()).set(bytes as f64);
    gauge!(RECOVERY_AGE, "tier" => tier.to_string()).set(oldest.unwrap_or_default().as_secs_f64());
}

/// Something came to wait for a tier, or ended waiting.
pub fn recovered(tier: &TierName, outcome: &'static str) {
    counter!(RECOVERIES, "tier" => tier.to_string(), "outcome" => outcome).increment(1);
}

/// A payload came into quarantine, which now holds so many.
pub fn quarantined(tier: &TierName, entries: usize) {
    counter!(QUARANTINED, "tier" => tier.to_string(), "what" => "new").increment(1);
    quarantine_entries(entries);
}

/// The oldest payload was pushed out of the quarantine, which was full.
pub fn quarantine_overflow(tier: &TierName) {
    counter!(QUARANTINED, "tier" => tier.to_string(), "what" => "pushed_out").increment(1);
}

/// The quarantine holds so many.
pub fn quarantine_entries(entries: usize) {
    gauge!(QUARANTINE).set(entries as f64);
}

/// A payload was mended.
pub fn repaired(key: &Key, schema: &str, repairs: &[Repair]) {
    for repair in repairs {
        tracing::debug!(%key, code = repair.code, path = repair.path, "{}", repair.message);
        counter!(REPAIRS, "schema" => schema.to_owned(), "code" => repair.code.clone()).increment(1);
    }
}

/// A payload was refused.
pub fn rejected(key: &Key, code: &str) {
    tracing::debug!(%key, code, "rejected");
    counter!(REJECTIONS, "code" => code.to_owned()).increment(1);
}

/// A source's origin was asked.
pub fn source_fetched(source: &str, outcome: &'static str, took: Duration) {
    counter!(SOURCE_FETCHES, "source" => source.to_owned(), "outcome" => outcome).increment(1);
    histogram!(SOURCE_FETCH_SECONDS, "source" => source.to_owned()).record(took.as_secs_f64());
}

/// Signals that the aggregator took and refused.
pub fn signals(accepted: usize, rejected: usize) {
    counter!(SIGNALS, "outcome" => "accepted").increment(accepted as u64);
    counter!(SIGNALS, "outcome" => "rejected").increment(rejected as u64);
}

/// How old a document's data is.
pub fn age(key: &Key, age: Duration) {
    gauge!(AGE, "key" => key.to_string()).set(age.as_secs_f64());
}

/// How long ago a write to a tier was verified.
pub fn last_verified(tier: &TierName, age: Duration) {
    gauge!(VERIFIED_AGE, "tier" => tier.to_string()).set(age.as_secs_f64());
}

/// How long a round of snapshots took.
pub fn snapshots(took: Duration) {
    histogram!(SNAPSHOT_SECONDS).record(took.as_secs_f64());
}

/// The requests of one listener. The counter of each status is looked up once: the look-up costs more than all else that
/// is done for an answer from memory.
pub struct Requests {
    listener: &'static str,
    by_status: Box<[OnceLock<Counter>]>,
}

/// The least number that is no HTTP status.
const STATUS_END: usize = 1_000;

impl Requests {
    /// None so far of this listener.
    pub fn new(listener: &'static str) -> Self {
        Self { listener, by_status: std::iter::repeat_with(OnceLock::new).take(STATUS_END).collect() }
    }

    /// A request was answered.
    pub fn answered(&self, status: u16) {
        let look_up = || counter!(HTTP_REQUESTS, "listener" => self.listener, "status" => status.to_string());
        match self.by_status.get(usize::from(status)) {
            Some(counter) => counter.get_or_init(look_up).increment(1),
            None => look_up().increment(1),
        }
    }
}

/// An event stream or a WebSocket was opened or closed.
pub fn streams(change: f64) {
    gauge!(STREAMS).increment(change);
}

/// A connection was opened (`1.0`) or closed (`-1.0`).
pub fn connections(change: f64) {
    gauge!(CONNECTIONS).increment(change);
}

/// An action of the warmer ended.
pub fn warmer_action(step: &'static str, fate: &'static str) {
    counter!(WARMER_ACTIONS, "step" => step, "fate" => fate).increment(1);
}

/// How planning goes.
pub fn plans(failures: u32, since_last: Option<Duration>) {
    gauge!(WARMER_PLAN_FAILURES).set(failures);
    if let Some(age) = since_last {
        gauge!(WARMER_PLAN_AGE).set(age.as_secs_f64());
    }
}

/// How a watched key stands.
pub fn warmer_task(key: &str, warm: bool, failures: u32, last: Option<Duration>, next: Option<Duration>) {
    let label = || key.to_owned();
    gauge!(WARMER_WARM, "key" => label()).set(if warm { 1.0 } else { 0.0 });
    gauge!(WARMER_FAILURES, "key" => label()).set(failures);
    if let Some(last) = last {
        gauge!(WARMER_LAST, "key" => label()).set(last.as_secs_f64());
    }
    if let Some(next) = next {
        gauge!(WARMER_NEXT, "key" => label()).set(next.as_secs_f64());
    }
}
