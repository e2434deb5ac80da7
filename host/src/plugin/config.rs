//! [`Config`]: which plugins run, and what they may use.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use bytesize::ByteSize;

use super::limits::{CompileLimits, Limits};
use super::shadow::Bounds;
use super::trust::TrustedKeys;

/// Which plugins run, and what they may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The codecs. Each key goes to the one whose claim fits it best.
    pub codecs: Vec<PluginSpec>,
    /// The aggregator.
    pub aggregator: PluginSpec,
    /// The warmer.
    pub warmer: PluginSpec,
    /// For each instance of a codec.
    pub codec_limits: Limits,
    /// For the aggregator's instance.
    pub aggregator_limits: Limits,
    /// For the warmer's instance.
    pub warmer_limits: Limits,
    /// For compiling a component.
    pub compile_limits: CompileLimits,
    /// Whose components are taken.
    pub trusted_keys: TrustedKeys,
    /// Whether a component that is loaded while the gateway serves must keep the laws of its kind.
    pub conformance: bool,
    /// A directory whose components are loaded and used as they appear.
    pub watch: Option<PathBuf>,
    /// Instances of each codec, which are made when they are needed. A call that finds all of them busy waits a moment.
    pub codec_instances: NonZeroUsize,
    /// What the tape of each slot may hold: its last calls.
    pub tape: ByteSize,
    /// How a version that was just used is watched.
    pub probation: Probation,
}

/// For how long, and by which bounds, a version that was just used is held against the one before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probation {
    /// Zero: there is no probation.
    pub lasts: Duration,
    /// What the new version may do worse.
    pub bounds: Bounds,
}

/// One plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// Name of the slot that it runs in, and of the built-in plugin where there is no path.
    pub name: String,
    /// The component; `None` for a built-in plugin.
    pub path: Option<PathBuf>,
    /// The plugin's own configuration, which the plugin checks.
    pub config: serde_json::Value,
}

/// Instances of a codec for each processor: one that runs, and one whose thread was put aside.
const INSTANCES_PER_PROCESSOR: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

// === impl Probation ===

impl Default for Probation {
    fn default() -> Self {
        let bounds = Bounds { faults_max: 3, rejections_max: 0.05, latency_max: 3.0 };
        Self { lasts: Duration::from_secs(60), bounds }
    }
}

// === impl Config ===

impl Default for Config {
    /// The built-in plugins.
    fn default() -> Self {
        let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            codecs: vec![PluginSpec::built_in("codecs"), PluginSpec::built_in("binance")],
            aggregator: PluginSpec::built_in("aggregator"),
            warmer: PluginSpec::built_in("warmer"),
            codec_limits: Limits::CODEC,
            aggregator_limits: Limits::AGGREGATOR,
            warmer_limits: Limits::WARMER,
            compile_limits: CompileLimits::default(),
            trusted_keys: TrustedKeys::default(),
            conformance: true,
            watch: None,
            codec_instances: INSTANCES_PER_PROCESSOR.saturating_mul(processors),
            tape: ByteSize::mib(4),
            probation: Probation::default(),
        }
    }
}

impl Config {
    /// Every plugin, the codecs first.
    pub fn specs(&self) -> impl Iterator<Item = &PluginSpec> {
        self.codecs.iter().chain([&self.aggregator, &self.warmer])
    }
}

// === impl PluginSpec ===

impl PluginSpec {
    /// A built-in plugin without configuration.
    pub fn built_in(name: impl Into<String>) -> Self {
        Self { name: name.into(), path: None, config: serde_json::Value::Null }
    }
}
