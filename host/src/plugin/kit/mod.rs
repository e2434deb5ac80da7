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

    /// Checks a specimen, which must fail this check, at first by this, and no other.
    fn fails(component: &[u8], name: &str, by: &str) {
        let dir = tempfile::tempdir().unwrap();
        let report = check(&request(dir.path(), component)).unwrap();
        let failed: Vec<_> = report.checks.iter().filter(|line| !line.passed).collect();
        let [line] = failed[..] else { panic!("{name} alone fails by {by:?}, not {failed:#?}") };
        assert!(line.name == name && line.failures[0].what.contains(by), "{name} fails by {by:?}, not {line:#?}");
    }

    #[test]
    fn what_keeps_every_law_passes() {
        for component in [guest::lawful_codec("", &[]), guest::lawful_aggregator(&[]), guest::lawful_warmer(&[])] {
            let dir = tempfile::tempdir().unwrap();
            let report = check(&request(dir.path(), &component)).unwrap();
            assert!(report.passed, "{report:#?}");
        }
    }

    #[test]
    fn a_plugin_whose_introduction_is_not_in_order_fails_it() {
        let claim = ("\"test:*\"", "\"te t:*\"");
        fails(&guest::lawful_codec("", &[claim]), "introduction", "its claim \"te t:*\" is not a pattern of keys");
        // `bad key` in place of `good`.
        let list = |key: &str| format!("(i32.const 840) \"\\50\\03\\00\\00\\01\\00\\00\\00{key}\"");
        let (good, bad) = (list("\\20\\03\\00\\00\\04\\00\\00\\00"), list("\\28\\03\\00\\00\\07\\00\\00\\00"));
        let bad = [(&*good, &*bad)];
        fails(&guest::lawful_aggregator(&bad), "introduction", "its input \"bad key\" is no key");
        fails(&guest::lawful_warmer(&bad), "introduction", "\"bad key\" is no key");
    }

    #[test]
    fn a_plugin_that_takes_an_unknown_field_or_does_not_name_it_fails() {
        let name = ("no-such-field", "unknown field");
        fails(&guest::lawful_codec("", &[name]), "configuration", "but does not name it: unknown field");
        let refuses = "(then (i32.const 200)) (else (i32.const 512))";
        let takes = (refuses, "(then (i32.const 512)) (else (i32.const 512))");
        fails(&guest::lawful_codec("", &[takes]), "configuration", "`init` takes a configuration with the field");
        let traps = (refuses, "(then unreachable) (else (i32.const 512))");
        fails(&guest::lawful_codec("", &[traps]), "configuration", "trap in init");
    }

    #[test]
    fn a_codec_that_does_not_take_its_own_answer_as_it_is_fails() {
        for (at_own_answer, by) in [
            ("(return (i32.const 1104))", r#"it rejects its own answer "\"own answer\"": test: 1.0"#),
            ("(call $canonical (i32.const 2064) (i32.const 1))", r#"it answers "\"own answer\"", and to that "1""#),
            ("(i32.store8 (i32.const 1044) (i32.const 0))", r#"answer "\"own answer\"" was real and is a placeholder"#),
            ("(i32.store (i32.const 1080) (i32.const 1))", r#"it mends its own answer "\"own answer\"": test"#),
            ("unreachable", "trap in decode"),
        ] {
            fails(&guest::lawful_codec(at_own_answer, &[]), Law::OwnAnswer.name(), by);
        }
    }

    #[test]
    fn an_aggregator_that_breaks_a_law_of_its_kind_fails() {
        let no_signal = "(select (i32.const 700) (i32.const 640) (i32.load (i32.const 3000)))";
        let took =
            "(i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (local.get $len)))\n    (i32.const 640)";
        let composed = "    (i32.const 900))";
        let composes_and_counts =
            "(i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (i32.const 1))) (i32.const 900))";
        for (law, change, by) in [
            (Law::NothingFromNothing, (no_signal, "(i32.const 700)"), "it publishes good and has taken no signal"),
            (Law::EachSignalAlone, (took, "(i32.const 200)"), "invalid input in ingest"),
            (Law::ComposeIsPure, (composed, composes_and_counts), "and after composing is"),
        ] {
            fails(&guest::lawful_aggregator(&[change]), law.name(), by);
        }
    }

    #[test]
    fn a_plugin_that_does_not_save_and_restore_its_state_fails() {
        let restores = "(i32.store (i32.const 3000) (i32.load (local.get 0)))";
        let forgets = (restores, "(i32.store (i32.const 3000) (i32.const 0))");
        let others = "(if (i32.ne (local.get 1) (i32.const 4)) (then ";
        let refuses = (others, "(if (i32.const 1) (then ");
        let spoils =
            (others, "(if (i32.ne (local.get 1) (i32.const 4)) (then (i32.store (i32.const 3000) (i32.const 7)) ");
        let saves = "#save\") (result i32) (i32.const 600)";
        let saves_nothing = (saves, "#save\") (result i32) (i32.const 200)");
        // Whether it was given any state but that of a new one: it shows that, and does not save it.
        let notes = format!("(i32.store (i32.const 3008) (i32.ne (i32.load (local.get 0)) (i32.const 0))) {restores}");
        let remembers =
            [(restores, &*notes), ("(i32.const 48)", "(i32.add (i32.const 48) (i32.load (i32.const 3008)))")];
        for (law, changes, by) in [
            (Law::StateRoundTrip, &[forgets][..], ["and after restoring that", "and after restoring that"]),
            (Law::StateRoundTrip, &[refuses][..], ["invalid input in restore", "invalid input in restore"]),
            (Law::StateRoundTrip, &[saves_nothing][..], ["invalid input in save", "invalid input in save"]),
            (
                Law::StateRoundTrip,
                &remembers[..],
                ["saving and restoring, it answers otherwise", "after its state was saved and restored"],
            ),
            (
                Law::RefusedStateChangesNothing,
                &[spoils][..],
                ["it refuses the state \"\", and then saves", "it refuses the state \"\", and then saves"],
            ),
        ] {
            fails(&guest::lawful_aggregator(changes), law.name(), by[0]);
            fails(&guest::lawful_warmer(changes), law.name(), by[1]);
        }
    }

    #[test]
    fn a_plugin_that_answers_otherwise_once_it_was_used_fails() {
        // That it was is in no state.
        let shows = ("(i32.const 48)", "(i32.add (i32.const 48) (i32.load (i32.const 3008)))");
        let used = "(i32.store (i32.const 3008) (i32.const 1))";
        let by = "on a used instance whose state was replaced by that of a new one";
        let (composes, plans) = (format!("{used} (i32.const 900))"), format!("{used} (i32.const 1100))"));
        let composes = [shows, ("    (i32.const 900))", &*composes)];
        fails(&guest::lawful_aggregator(&composes), Law::Repeatable.name(), by);
        let plans = [shows, ("    (i32.const 1100))", &*plans)];
        fails(&guest::lawful_warmer(&plans), Law::Repeatable.name(), by);
    }

    #[test]
    fn a_warmer_that_plans_twice_for_a_key_fails() {
        let copies = "(memory.copy (i32.const 1168) (i32.const 1120) (i32.const 48))";
        let twice = format!("{copies} (i32.store (i32.const 1108) (i32.const 2)) (i32.const 1100))");
        let twice = guest::lawful_warmer(&[("    (i32.const 1100))", &*twice)]);
        fails(&twice, Law::OneActionPerKey.name(), "it plans twice for");
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
