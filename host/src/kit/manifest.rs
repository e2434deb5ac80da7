//! [`Manifest`]: `plugin.toml`, what a build needs to know of a project.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::KitError;

/// The file's name.
const FILE: &str = "plugin.toml";

/// What a project is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name, and that of the component.
    pub name: String,
    /// What it decides.
    pub kind: Kind,
    /// What it is written in.
    pub language: Language,
}

/// What a plugin decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What a payload of a key must look like.
    Codec,
    /// What the signals of many symbols add up to.
    Aggregator,
    /// What to refresh, and when.
    Warmer,
}

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Compiled by cargo.
    Rust,
    /// Made a component by componentize-py.
    Python,
    /// Made a component by componentize-js.
    JavaScript,
}

// === impl Manifest ===

impl Manifest {
    /// The manifest of the project in `dir`.
    ///
    /// # Errors
    ///
    /// When it is not there, or wrong.
    pub fn read(dir: &Path) -> Result<Self, KitError> {
        let path = dir.join(FILE);
        let bad = |why: String| KitError::Manifest { path: path.clone(), why };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| bad(format!("{error}; `tiergate plugin new` writes a project that can be built")))?;
        let manifest: Self = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if is_name(&manifest.name) { Ok(manifest) } else { Err(KitError::Name(manifest.name)) }
    }

    /// The world of the contract that it exports.
    pub fn world(&self) -> String {
        format!("{}-plugin", self.kind)
    }

    /// Where its component is written.
    pub fn component(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.wasm", self.name))
    }
}

/// Whether a plugin may give itself this name.
pub(super) fn is_name(name: &str) -> bool {
    const BYTES_MAX: usize = 64;
    name.len() <= BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('-').all(|word| !word.is_empty())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Codec => "codec",
            Self::Aggregator => "aggregator",
            Self::Warmer => "warmer",
        })
    }
}

// === impl Language ===

impl Language {
    /// How it is written.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title().to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Manifest, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        Manifest::read(dir.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_manifest_names_world_and_component() {
        let manifest = check("name = \"my-codec\"\nkind = \"codec\"\nlanguage = \"javascript\"").unwrap();
        assert_eq!((&*manifest.world(), manifest.language), ("codec-plugin", Language::JavaScript));
        assert_eq!(manifest.component(Path::new("x")), Path::new("x/my-codec.wasm"));
    }

    #[test]
    fn a_manifest_that_is_wrong_or_missing_is_refused_with_the_reason() {
        let kind = check("name = \"a\"\nkind = \"cache\"\nlanguage = \"rust\"").unwrap_err();
        assert!(kind.contains("unknown variant `cache`, expected one of `codec`"), "{kind}");
        let field = check("name = \"a\"\nkind = \"codec\"\nlanguage = \"rust\"\nversion = 1").unwrap_err();
        assert!(field.contains("unknown field `version`"), "{field}");
        let name = check("name = \"../a\"\nkind = \"codec\"\nlanguage = \"rust\"").unwrap_err();
        assert!(name.contains("lower-case words"), "{name}");
        let missing = Manifest::read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/plugin.toml") && missing.contains("plugin new"), "{missing}");
    }
}
