//! [`Report`]: what a check found, for a person and for a program.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::law::Broken;
use super::{KitError, PluginKind, Request};

/// Failures of one check whose inputs are kept. The others are counted.
const KEPT_MAX: usize = 3;

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether nothing failed.
    pub passed: bool,
    /// The component.
    pub file: PathBuf,
    /// Its kind, where it is known.
    pub kind: Option<PluginKind>,
    /// The name that it gives itself.
    pub plugin: Option<String>,
    /// The version that it gives itself.
    pub version: Option<String>,
    /// SHA-256 of the file.
    pub sha256: Option<String>,
    /// Size of the file.
    pub bytes: u64,
    /// What the inputs were made from.
    pub seed: u64,
    /// Each check.
    pub checks: Vec<CheckLine>,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct CheckLine {
    /// Its name.
    pub name: &'static str,
    /// What it checks.
    pub promise: String,
    /// Whether nothing failed.
    pub passed: bool,
    /// Inputs that were tried.
    pub inputs: usize,
    /// Failures, of which the first are listed.
    pub failed: usize,
    /// The first failures.
    pub failures: Vec<Failure>,
}

/// One failure.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The input's name.
    pub input: String,
    /// What happened.
    pub what: String,
    /// The file with the input.
    pub saved: Option<PathBuf>,
    /// The command that repeats just this.
    pub repeat: Option<String>,
}

// === impl Report ===

impl Report {
    pub(super) fn new(request: &Request, kind: Option<PluginKind>) -> Self {
        let bytes = fs::metadata(&request.file).map_or(0, |metadata| metadata.len());
        let (file, seed) = (request.file.clone(), request.seed);
        Self { passed: true, file, kind, plugin: None, version: None, sha256: None, bytes, seed, checks: Vec::new() }
    }

    /// Of a component that cannot be loaded.
    pub(super) fn not_loaded(request: &Request, kind: Option<PluginKind>, why: &str) -> Self {
        let mut report = Self::new(request, kind);
        report.one(
            "loads",
            "it is a component of one of the worlds, with no imports but those granted",
            Err(why.to_owned()),
        );
        report
    }

    /// Adds a check that has no input.
    pub(super) fn one(&mut self, name: &'static str, promise: &str, outcome: Result<String, String>) {
        let mut line = CheckLine::new(name, promise);
        match outcome {
            Ok(detail) => line.promise = detail,
            Err(what) => line.fail(Failure { input: name.to_owned(), what, saved: None, repeat: None }),
        }
        self.add(line);
    }

    pub(super) fn add(&mut self, line: CheckLine) {
        self.passed &= line.passed;
        self.checks.push(line);
    }
}

// === impl CheckLine ===

impl CheckLine {
    pub(super) fn new(name: &'static str, promise: &str) -> Self {
        Self { name, promise: promise.to_owned(), passed: true, inputs: 0, failed: 0, failures: Vec::new() }
    }

    fn fail(&mut self, failure: Failure) {
        self.passed = false;
        self.failed += 1;
        if self.failures.len() < KEPT_MAX {
            self.failures.push(failure);
        }
    }

    /// Notes that an input broke a law, and saves the input.
    pub(super) fn broke(
        &mut self,
        request: &Request,
        name: &str,
        broken: &Broken,
        input: impl FnOnce() -> serde_json::Result<Vec<u8>>,
    ) -> Result<(), KitError> {
        let mut failure = Failure { input: name.to_owned(), what: broken.what.clone(), saved: None, repeat: None };
        if let Some(saved) = &request.input {
            failure.saved = Some(saved.clone());
        } else if self.failures.len() < KEPT_MAX {
            let saved = save(&request.save_dir, &format!("{}-{name}.json", self.name), input)?;
            failure.repeat = Some(repeat(request, &saved));
            failure.saved = Some(saved);
        }
        self.fail(failure);
        Ok(())
    }
}

fn save(dir: &Path, name: &str, input: impl FnOnce() -> serde_json::Result<Vec<u8>>) -> Result<PathBuf, KitError> {
    let failed = |why: std::io::Error| KitError::Save { dir: dir.to_owned(), why };
    let bytes = input().map_err(|error| failed(error.into()))?;
    fs::create_dir_all(dir).map_err(failed)?;
    // Names of fixtures have slashes and colons.
    let tame = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let path = dir.join(name.chars().map(tame).collect::<String>());
    fs::write(&path, bytes).map_err(failed)?;
    Ok(path)
}

/// The command that repeats one input, for a shell.
fn repeat(request: &Request, saved: &Path) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    format!("tiergate plugin check {} --input {}", quoted(&request.file), quoted(saved))
}
