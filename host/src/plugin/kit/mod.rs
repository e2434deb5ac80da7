//! The engine of the author kit: is a component what the contract promises, and what does a call of it cost?
//!
//! [`check`] throws every fixture, damaged copies of them and hostile inputs at a plugin, and holds its answers against the
//! laws of its kind ([`Law`]). What a plugin rejects is no failure; a trap, a crossed limit, a broken law is. Each failure keeps
//! its input in a file, and `check` with that file repeats just it. [`vectors`] is a small part of the same, for the moment when
//! a running gateway loads a plugin. [`bench`] measures.
//!
//! Everything here runs in the sandbox, under the limits of the gateway: what passes here passes there.

mod aggregator;
mod bench;
mod blob;
mod codec;
mod law;
mod material;
mod patience;
mod report;
mod run;
mod stateful;
mod subject;
mod warmer;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bindings::{AggregatorPlugin, CodecPlugin, WarmerPlugin, World as _};
use super::config::{Config, PluginSpec};
use super::loader::Loader;
use super::{PluginError, engine};

pub use bench::{Bench, Timing};
pub use law::Law;
pub use report::{CheckLine, Failure, Report};
pub(super) use subject::{Subject, vectors};

/// Instances that a check holds at once, with some to spare.
const INSTANCES_MAX: usize = 8;

/// A kind of plugin: one of the worlds of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// What a payload of a key must look like.
    Codec,
    /// What the signals of many symbols add up to.
    Aggregator,
    /// What to refresh, and when.
    Warmer,
}

/// What is to be checked or measured.
#[derive(Clone, Debug)]
pub struct Request {
    /// The component.
    pub file: PathBuf,
    /// Its kind; by default that of the first world whose interface it exports.
    pub kind: Option<PluginKind>,
    /// The operator's document for it; by default that of a saved input, and else none.
    pub config: Option<serde_json::Value>,
    /// Damage and hostile inputs are made from this number: the same number gives the same inputs.
    pub seed: u64,
    /// One saved input to be repeated, instead of all.
    pub input: Option<PathBuf>,
    /// Where the inputs of failures are saved.
    pub save_dir: PathBuf,
    /// Where native code is kept.
    pub cache_dir: PathBuf,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// The engine did not start.
    #[error("the plugin engine: {0}")]
    Engine(String),
    /// A saved input cannot be read.
    #[error("{}: {why}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The input of a failure cannot be saved.
    #[error("saving an input in {}: {why}", dir.display())]
    Save {
        /// The directory.
        dir: PathBuf,
        /// What went wrong.
        why: std::io::Error,
    },
    /// The plugin does not load, so there is nothing to measure.
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

/// Checks a component against the contract.
///
/// # Errors
///
/// When there is no report. A plugin that fails is a report that says so.
pub fn check(request: &Request) -> Result<Report, KitError> {
    let kit = Kit::new(&request.cache_dir)?;
    let spec = request.spec();
    let exports = match kit.loader.exports(&spec) {
        Ok(exports) => exports,
        Err(error) => return Ok(Report::not_loaded(request, request.kind, &error.to_string())),
    };
    let Some(kind) = request.kind.or_else(|| PluginKind::of(&exports)) else {
        let why = format!(
            "it exports none of the interfaces `codec`, `aggregator` and `warmer` of `tiergate:plugin`; it exports `{}`",
            exports.join("`, `")
        );
        return Ok(Report::not_loaded(request, None, &why));
    };
    match kind {
        PluginKind::Codec => run::check::<CodecPlugin>(&kit, request),
        PluginKind::Aggregator => run::check::<AggregatorPlugin>(&kit, request),
        PluginKind::Warmer => run::check::<WarmerPlugin>(&kit, request),
    }
}

/// Measures a component, and the built-in one of its kind beside it.
///
/// # Errors
///
/// When it does not load, or a call fails.
pub fn bench(request: &Request) -> Result<Bench, KitError> {
    let kit = Kit::new(&request.cache_dir)?;
    let exports = kit.loader.exports(&request.spec())?;
    match request.kind.or_else(|| PluginKind::of(&exports)) {
        Some(PluginKind::Aggregator) => bench::bench::<AggregatorPlugin>(&kit, request),
        Some(PluginKind::Warmer) => bench::bench::<WarmerPlugin>(&kit, request),
        // One that is nothing else is told that it is no codec.
        Some(PluginKind::Codec) | None => bench::bench::<CodecPlugin>(&kit, request),
    }
}

/// A loader of its own, with the limits of a gateway.
struct Kit {
    loader: Loader,
    config: Config,
}

// === impl Kit ===

impl Kit {
    fn new(cache_dir: &Path) -> Result<Self, KitError> {
        let config = Config::default();
        let loader = super::room(&config, INSTANCES_MAX)
            .and_then(engine::start)
            .and_then(|engine| Loader::new(engine, cache_dir));
        Ok(Self { loader: loader.map_err(|error| KitError::Engine(format!("{error:#}")))?, config })
    }
}

// === impl Request ===

impl Request {
    fn spec(&self) -> PluginSpec {
        let name = self.file.file_stem().map_or_else(|| "plugin".into(), |stem| stem.to_string_lossy().into_owned());
        PluginSpec { name, path: Some(self.file.clone()), config: self.config.clone().unwrap_or_default() }
    }
}

// === impl PluginKind ===

impl PluginKind {
    const ALL: [Self; 3] = [Self::Codec, Self::Aggregator, Self::Warmer];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Codec => "codec",
            Self::Aggregator => "aggregator",
            Self::Warmer => "warmer",
        }
    }

    /// The world that it exports.
    pub const fn world(self) -> &'static str {
        match self {
            Self::Codec => CodecPlugin::NAME,
            Self::Aggregator => AggregatorPlugin::NAME,
            Self::Warmer => WarmerPlugin::NAME,
        }
    }

    fn of(exports: &[String]) -> Option<Self> {
        let exported = |kind: &Self| {
            let interface = format!("tiergate:plugin/{}", kind.name());
            exports.iter().any(|export| export.split('@').next() == Some(&*interface))
        };
        Self::ALL.into_iter().find(exported)
    }
}

#[cfg(test)]
mod tests {
    use super::super::guest;
    use super::*;

    fn request(dir: &Path, component: &[u8]) -> Request {
        let file = dir.join("mine.wasm");
        std::fs::write(&file, component).unwrap();
        let (save_dir, cache_dir) = (dir.join("failures"), dir.join("code"));
        Request { file, kind: None, config: None, seed: 1, input: None, save_dir, cache_dir }
    }

    fn line<'a>(report: &'a Report, name: &str) -> &'a CheckLine {
        report.checks.iter().find(|line| line.name == name).unwrap_or_else(|| panic!("no {name} in {report:#?}"))
    }

    #[test]
    fn a_codec_that_takes_anything_fails_and_each_failure_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let request = request(dir.path(), &guest::codec("test:*"));
        let report = check(&request).unwrap();
        assert!(!report.passed && report.kind == Some(PluginKind::Codec), "{report:#?}");
        assert!(line(&report, "loads").passed && line(&report, "repeatable").passed);
        let hostile = line(&report, "hostile");
        assert!(!hostile.passed && hostile.failed > hostile.failures.len(), "{hostile:#?}");
        let Failure { input, what, saved: Some(saved), repeat: Some(repeat) } = &hostile.failures[0] else {
            panic!("{hostile:#?}")
        };
        assert!(input == "empty" && what.contains("the canonical bytes are not JSON"), "{input}: {what}");
        assert!(repeat.contains("mine.wasm") && repeat.ends_with("hostile-empty.json'"), "{repeat}");
        let again = check(&Request { input: Some(saved.clone()), ..request.clone() }).unwrap();
        assert_eq!(line(&again, "input").failures[0].what, *what);

        // One that it answers as it should.
        let sound =
            r#"{"kind": "codec", "config": {}, "case": {"key": "test:a", "flags": 0, "payload": {"text": "{}"}}}"#;
        std::fs::write(saved, sound).unwrap();
        let sound = check(&Request { input: Some(saved.clone()), ..request.clone() }).unwrap();
        assert!(sound.passed, "{sound:#?}");
        std::fs::write(saved, "{}").unwrap();
        let none = check(&Request { input: Some(saved.clone()), ..request }).unwrap_err().to_string();
        assert!(none.contains("this is no saved input of a codec"), "{none}");
    }

    #[test]
    fn a_warmer_that_plans_for_a_key_of_which_it_was_not_told_fails() {
        let dir = tempfile::tempdir().unwrap();
        let report = check(&request(dir.path(), &guest::warmer())).unwrap();
        let line = line(&report, Law::OneActionPerKey.name());
        assert!(line.failures[0].what.contains("\"good\", of which it was not told"), "{line:#?}");
    }

    #[test]
    fn a_component_of_no_world_fails_to_load_with_what_it_exports() {
        let dir = tempfile::tempdir().unwrap();
        let report = check(&request(dir.path(), b"\0asm\x0d\0\x01\0")).unwrap();
        assert!(!report.passed && line(&report, "loads").failures[0].what.contains("exports none"), "{report:#?}");
    }

    #[test]
    fn the_vectors_refuse_a_codec_that_takes_anything_and_take_the_built_in_plugins() {
        let dir = tempfile::tempdir().unwrap();
        let Kit { loader, config } = Kit::new(&dir.path().join("code")).unwrap();
        let spec = guest::spec(dir.path(), "mine", &guest::codec("test:*"));
        let refused =
            vectors(&loader.load::<CodecPlugin>(&spec, &config.codec_limits).unwrap()).unwrap_err().to_string();
        assert!(refused.contains("fails the conformance vector `") && refused.contains("plugin check"), "{refused}");
        for name in ["codecs", "binance"] {
            vectors(&loader.load::<CodecPlugin>(&PluginSpec::built_in(name), &config.codec_limits).unwrap()).unwrap();
        }
        let built_in = PluginSpec::built_in;
        vectors(&loader.load::<AggregatorPlugin>(&built_in("aggregator"), &config.aggregator_limits).unwrap()).unwrap();
        vectors(&loader.load::<WarmerPlugin>(&built_in("warmer"), &config.warmer_limits).unwrap()).unwrap();
    }
}
