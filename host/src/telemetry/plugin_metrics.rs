//! The metrics of plugins. Each carries the slot that a plugin runs in and the name that the plugin gives itself.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const CALLS: &str = "tiergate_plugin_calls_total";
const CALL_SECONDS: &str = "tiergate_plugin_call_seconds";
const TRAPS: &str = "tiergate_plugin_traps_total";
const INSTANCES: &str = "tiergate_plugin_instances";
const MEMORY: &str = "tiergate_plugin_memory_bytes";
const ACTIVE: &str = "tiergate_plugin_active";
const QUARANTINED: &str = "tiergate_plugin_quarantined_total";
const PUBLICATIONS_REFUSED: &str = "tiergate_plugin_publications_refused_total";
const LOG_LINES_DROPPED: &str = "tiergate_plugin_log_lines_dropped_total";
const OWN_COUNTER: &str = "tiergate_plugin_counter_total";
const OWN_GAUGE: &str = "tiergate_plugin_gauge";
const OWN_DROPPED: &str = "tiergate_plugin_metrics_dropped_total";

pub(super) fn describe() {
    describe_counter!(CALLS, "Calls of plugins by slot, plugin, call and outcome");
    describe_histogram!(CALL_SECONDS, Unit::Seconds, "Time of calls of plugins by slot, plugin and call");
    describe_counter!(TRAPS, "Instances of plugins that were lost by slot, plugin and cause");
    describe_gauge!(INSTANCES, "Instances of plugins by slot and plugin");
    describe_gauge!(MEMORY, Unit::Bytes, "Memory and tables of the instances of plugins by slot and plugin");
    describe_gauge!(ACTIVE, "1 for the plugin and version that serves in a slot, 0 for those that did before");
    describe_counter!(QUARANTINED, "Inputs that cost the aggregator too many instances and are not tried again");
    describe_counter!(PUBLICATIONS_REFUSED, "Documents of the aggregator that could not be published");
    describe_counter!(LOG_LINES_DROPPED, "Log lines over a plugin's rate");
    describe_counter!(OWN_COUNTER, "Counters of the plugins' own by name");
    describe_gauge!(OWN_GAUGE, "Gauges of the plugins' own by name");
    describe_counter!(OWN_DROPPED, "Metrics of the plugins' own whose name was not taken");
}

/// A plugin, as its metrics name it.
#[derive(Clone, Copy)]
pub struct Of<'a> {
    /// The operator's name for the slot.
    pub slot: &'a Arc<str>,
    /// The plugin's name for itself.
    pub plugin: &'a Arc<str>,
}

/// The labels of `of`, and more.
macro_rules! labelled {
    ($metric:ident!($name:expr, $of:expr $(, $key:expr => $value:expr)*)) => {
        $metric!($name, "slot" => $of.slot.clone(), "plugin" => $of.plugin.clone() $(, $key => $value)*)
    };
}

impl Of<'_> {
    /// A call was answered, or failed.
    pub fn called(self, call: &'static str, outcome: &'static str, took: Duration) {
        labelled!(counter!(CALLS, self, "call" => call, "outcome" => outcome)).increment(1);
        labelled!(histogram!(CALL_SECONDS, self, "call" => call)).record(took);
    }

    /// An instance was lost.
    pub fn lost(self, cause: &'static str) {
        labelled!(counter!(TRAPS, self, "cause" => cause)).increment(1);
    }

    /// The gauges of how many instances there are, and of the memory that they hold.
    pub fn presence(self) -> (Gauge, Gauge) {
        (labelled!(gauge!(INSTANCES, self)), labelled!(gauge!(MEMORY, self)))
    }

    /// Whether this version serves.
    pub fn active(self, version: Option<&Arc<str>>, is_active: bool) {
        let version = version.cloned().unwrap_or_default();
        labelled!(gauge!(ACTIVE, self, "version" => version)).set(if is_active { 1.0 } else { 0.0 });
    }

    /// An input was quarantined.
    pub fn quarantined(self) {
        labelled!(counter!(QUARANTINED, self)).increment(1);
    }

    /// A publication was refused.
    pub fn publication_refused(self) {
        labelled!(counter!(PUBLICATIONS_REFUSED, self)).increment(1);
    }

    /// A log line was dropped.
    pub fn line_dropped(self) {
        labelled!(counter!(LOG_LINES_DROPPED, self)).increment(1);
    }

    /// The plugin counts something of its own.
    pub fn counts(self, name: String, delta: u64) {
        labelled!(counter!(OWN_COUNTER, self, "name" => name)).increment(delta);
    }

    /// The plugin measures something of its own.
    pub fn measures(self, name: String, value: f64) {
        labelled!(gauge!(OWN_GAUGE, self, "name" => name)).set(value);
    }

    /// A name of the plugin's own was not taken.
    pub fn name_dropped(self) {
        labelled!(counter!(OWN_DROPPED, self)).increment(1);
    }
}
