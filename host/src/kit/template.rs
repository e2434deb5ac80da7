//! Templates: the example plugins, embedded file by file, so that nothing that was built beside them can slip in.

use std::fs;
use std::path::Path;

use super::manifest::is_name;
use super::{Kind, KitError, Language, file_error};

/// An example plugin.
struct Example {
    kind: Kind,
    language: Language,
    /// Its name, which a new project replaces by its own.
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
}

/// The files of a folder in `plugins/examples/`.
macro_rules! files {
    ($folder:literal: $($file:literal),+) => {
        &[$(($file, include_str!(concat!("../../../plugins/examples/", $folder, "/", $file)))),+]
    };
}

/// An example in Rust, Python or JavaScript; all of one language have the same files.
macro_rules! example {
    ($kind:ident, Rust, $name:literal, $folder:literal) => {
        Example {
            kind: Kind::$kind,
            language: Language::Rust,
            name: $name,
            files: files!($folder: "Cargo.toml", "Cargo.lock", "plugin.toml", "src/lib.rs"),
        }
    };
    ($kind:ident, Python, $name:literal, $folder:literal) => {
        Example {
            kind: Kind::$kind,
            language: Language::Python,
            name: $name,
            files: files!($folder: "app.py", "plugin.toml", "requirements.txt"),
        }
    };
    ($kind:ident, JavaScript, $name:literal, $folder:literal) => {
        Example {
            kind: Kind::$kind,
            language: Language::JavaScript,
            name: $name,
            files: files!($folder: "app.js", "package.json", "plugin.toml"),
        }
    };
}

const EXAMPLES: [Example; 9] = [
    example!(Codec, Rust, "record-lines", "codec-rust"),
    example!(Codec, Python, "python-literals", "codec-python"),
    example!(Codec, JavaScript, "quoted-numbers", "codec-javascript"),
    example!(Aggregator, Rust, "strongest-symbols", "aggregator-rust"),
    example!(Aggregator, Python, "score-quartiles", "aggregator-python"),
    example!(Aggregator, JavaScript, "threshold-alerts", "aggregator-javascript"),
    example!(Warmer, Rust, "keep-near", "warmer-rust"),
    example!(Warmer, Python, "trading-hours", "warmer-python"),
    example!(Warmer, JavaScript, "read-first", "warmer-javascript"),
];

/// What every project has: the contract as it is published, and what git should not see.
const COMMON: [(&str, &str); 4] = [
    ("wit/tiergate.wit", include_str!("../../../wit/tiergate.wit")),
    ("wit/README.md", include_str!("../../../wit/README.md")),
    ("wit/wkg.toml", include_str!("../../../wit/wkg.toml")),
    (".gitignore", include_str!("../../../plugins/examples/.gitignore")),
];

/// Writes a project into `dir`, which must be empty if it is there.
///
/// # Errors
///
/// When the name cannot be a plugin's, when there is something already, or when a file cannot be written.
pub fn create(kind: Kind, language: Language, name: &str, dir: &Path) -> Result<(), KitError> {
    if !is_name(name) {
        return Err(KitError::Name(name.to_owned()));
    }
    let is_empty = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(file_error(dir)(error)),
    };
    if !is_empty {
        return Err(KitError::NotEmpty(dir.to_owned()));
    }
    let examples = EXAMPLES.iter().filter(|example| (example.kind, example.language) == (kind, language));
    for (file, text) in examples.flat_map(|example| example.named(name)) {
        write(&dir.join(file), &text)?;
    }
    COMMON.iter().try_for_each(|(file, text)| write(&dir.join(file), text))
}

fn write(path: &Path, text: &str) -> Result<(), KitError> {
    path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text)).map_err(file_error(path))
}

// === impl Example ===

impl Example {
    /// Its files under another name.
    fn named(&self, name: &str) -> impl Iterator<Item = (&'static str, String)> {
        self.files.iter().map(move |(file, text)| (*file, text.replace(self.name, name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kit::Manifest;

    const KINDS: [Kind; 3] = [Kind::Codec, Kind::Aggregator, Kind::Warmer];
    const LANGUAGES: [Language; 3] = [Language::Rust, Language::Python, Language::JavaScript];

    /// What the tools leave beside the source.
    const BUILT: [&str; 6] = ["target", ".venv", "node_modules", "__pycache__", "package-lock.json", "wit"];

    fn files(dir: &Path, below: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if BUILT.iter().any(|built| path.ends_with(built)) || path.extension().is_some_and(|ext| ext == "wasm") {
                continue;
            }
            if path.is_dir() {
                files(&path, below, found);
            } else {
                found.insert(path.strip_prefix(below).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn every_file_of_every_example_is_in_its_template_and_has_its_name() {
        for example in &EXAMPLES {
            let folder =
                format!("{}/../plugins/examples/{}-{}", env!("CARGO_MANIFEST_DIR"), example.kind, example.language);
            let mut found = BTreeSet::new();
            files(Path::new(&folder), Path::new(&folder), &mut found);
            assert_eq!(found, example.files.iter().map(|(file, _)| (*file).to_owned()).collect(), "{folder}");
            let source = ["src/lib.rs", "app.py", "app.js"];
            let named = |(file, text): &&(&str, &str)| !source.contains(file) && text.contains(example.name);
            assert!(example.files.iter().any(|file| named(&file)), "{folder}: no file has the name {}", example.name);
        }
    }

    #[test]
    fn a_project_of_any_kind_and_language_is_written_under_its_own_name() {
        for kind in KINDS {
            for language in LANGUAGES {
                let dir = tempfile::tempdir().unwrap();
                let project = dir.path().join("new");
                create(kind, language, "my-own", &project).unwrap();
                let manifest = Manifest::read(&project).unwrap();
                assert_eq!((&*manifest.name, manifest.kind, manifest.language), ("my-own", kind, language));
                let wit = fs::read_to_string(project.join("wit/tiergate.wit")).unwrap();
                assert!(wit.contains(&format!("world {}", manifest.world())));
                let mut found = BTreeSet::new();
                files(&project, &project, &mut found);
                for file in found {
                    let text = fs::read_to_string(project.join(&file)).unwrap();
                    let example = EXAMPLES.iter().find(|e| (e.kind, e.language) == (kind, language)).unwrap();
                    assert!(!text.contains(example.name), "{file} still has the name of the example");
                }
            }
        }
    }

    #[test]
    fn what_is_there_is_not_overwritten_and_a_bad_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "text").unwrap();
        let refused = create(Kind::Codec, Language::Rust, "a", dir.path()).unwrap_err();
        assert!(refused.to_string().contains("is not empty"), "{refused}");
        for bad in ["", "A", "a_b", "-a", "a--b", "1a", "../a", &"a".repeat(65)] {
            let refused = create(Kind::Codec, Language::Rust, bad, &dir.path().join("new")).unwrap_err();
            assert!(matches!(refused, KitError::Name(_)), "{bad:?}: {refused}");
        }
        assert!(!dir.path().join("new").exists());
        create(Kind::Codec, Language::Rust, &"a".repeat(64), &dir.path().join("new")).unwrap();
    }
}
