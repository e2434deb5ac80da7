//! [`Bench`]: what a call costs, on a new instance and on a warm one, beside the built-in plugin of the same kind.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::subject::Subject;
use super::{Kit, KitError, PluginKind, Request};
use crate::plugin::builtin;
use crate::plugin::config::PluginSpec;
use crate::plugin::error::PluginError;
use crate::plugin::loaded::Loaded;

/// Times that a call on a new instance is measured.
const COLD: usize = 20;

/// Times that a call on a warm instance is measured, at most.
const WARM_MAX: usize = 2_000;

/// How long warm calls are measured, at most.
const WARM_FOR: Duration = Duration::from_secs(2);

/// What a component costs.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// The component.
    pub file: PathBuf,
    /// Its kind.
    pub kind: PluginKind,
    /// The plugin, then the built-in one.
    pub plugins: Vec<Timing>,
}

/// What the calls of one plugin cost.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// Its name and version.
    pub plugin: String,
    /// What it was asked.
    pub work: String,
    /// Size of the component.
    pub bytes: u64,
    /// Making an instance and the first call, in microseconds: the median.
    pub cold_micros: f64,
    /// A call on a warm instance: the median.
    pub warm_micros: f64,
    /// The slowest of a hundred warm calls.
    pub warm_p99_micros: f64,
    /// Calls that were measured warm.
    pub warm_calls: usize,
    /// What an instance holds after its first call, in bytes of memory and tables.
    pub memory_first: usize,
    /// What it holds after the last one.
    pub memory_last: usize,
}

pub(super) fn bench<S: Subject>(kit: &Kit, request: &Request) -> Result<Bench, KitError> {
    let limits = S::limits(&kit.config);
    let plugin = kit.loader.load::<S>(&request.spec(), limits)?;
    let bytes = fs::metadata(&request.file).map_or(0, |metadata| metadata.len());
    // The built-in codecs come first among the built-in plugins of their kind.
    let name = if S::KIND == PluginKind::Codec { "codecs" } else { S::KIND.name() };
    let built_in = kit.loader.load::<S>(&PluginSpec::built_in(name), limits)?;
    let built_in_bytes = builtin::component(name).map_or(0, |component| component.len() as u64);
    let plugins = vec![measure(&plugin, bytes)?, measure(&built_in, built_in_bytes)?];
    Ok(Bench { file: request.file.clone(), kind: S::KIND, plugins })
}

fn measure<S: Subject>(plugin: &Loaded<S>, bytes: u64) -> Result<Timing, PluginError> {
    let (work, case) = S::labour(plugin)?;
    let mut cold = Vec::new();
    let mut instance = plugin.start()?;
    for _ in 0..COLD {
        let begun = Instant::now();
        instance = S::work(plugin.start()?, &case)?;
        cold.push(begun.elapsed());
    }
    let memory_first = instance.memory();
    let (mut warm, begun) = (Vec::new(), Instant::now());
    while warm.len() < WARM_MAX && begun.elapsed() < WARM_FOR {
        let called = Instant::now();
        instance = S::work(instance, &case)?;
        warm.push(called.elapsed());
        if instance.is_worn() {
            break;
        }
    }
    let version = plugin.identity.version.as_deref().unwrap_or_default();
    Ok(Timing {
        plugin: format!("{} {version}", plugin.identity.name),
        work,
        bytes,
        cold_micros: quantile(&mut cold, 50),
        warm_micros: quantile(&mut warm, 50),
        warm_p99_micros: quantile(&mut warm, 99),
        warm_calls: warm.len(),
        memory_first,
        memory_last: instance.memory(),
    })
}

fn quantile(spans: &mut [Duration], percent: usize) -> f64 {
    spans.sort();
    let at = spans.len().saturating_mul(percent) / 100;
    spans.get(at.min(spans.len().saturating_sub(1))).map_or(0.0, |span| span.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_measurements() {
        let mut spans: Vec<_> = (1..=100).rev().map(Duration::from_micros).collect();
        assert_eq!((quantile(&mut spans, 50).round(), quantile(&mut spans, 99).round()), (51.0, 100.0));
        assert_eq!(quantile(&mut [], 50), 0.0);
    }
}
