//! Building: from a project to a component, by the ordinary tools of its language with the flags that a plugin needs.
//!
//! What they all come to is a component without WASI: a plugin has no files, no network, no environment and no clock but the
//! host's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_component::ComponentEncoder;

use super::tool::Tool;
use super::{KitError, Language, Manifest, file_error};

/// What a Rust plugin is compiled for. It has no WASI.
const TARGET: &str = "wasm32-unknown-unknown";

const CARGO: Tool = Tool { language: Language::Rust, name: "cargo", fix: "install Rust from https://rustup.rs" };
const RUSTC: Tool = Tool { name: "rustc", ..CARGO };
const RUST_TARGET: Tool = Tool {
    name: "the target wasm32-unknown-unknown",
    fix: "install it with `rustup target add wasm32-unknown-unknown`",
    ..CARGO
};
const PYTHON: Tool = Tool {
    language: Language::Python,
    name: "python3",
    fix: "install Python 3.10 or later; on Debian `apt install python3 python3-venv`",
};
const VENV: Tool = Tool { name: "python3 with `venv`", fix: "on Debian `apt install python3-venv`", ..PYTHON };
const NODE: Tool = Tool {
    language: Language::JavaScript,
    name: "node",
    fix: "install Node.js 20 or later; on Debian `apt install nodejs npm`",
};
const NPM: Tool = Tool { name: "npm", ..NODE };

/// The parts of JavaScript's runtime that need WASI.
const FEATURES_WITH_WASI: [&str; 5] = ["random", "stdio", "clocks", "http", "fetch-event"];

/// Builds the project in `dir`; answers the component's path.
///
/// # Errors
///
/// When a tool is missing, with the way to it, or fails.
pub fn build(dir: &Path) -> Result<PathBuf, KitError> {
    let manifest = Manifest::read(dir)?;
    let component = manifest.component(dir);
    match manifest.language {
        Language::Rust => rust(dir, &component)?,
        Language::Python => python(dir, &manifest)?,
        Language::JavaScript => javascript(dir, &manifest)?,
    }
    Ok(component)
}

fn rust(dir: &Path, component: &Path) -> Result<(), KitError> {
    CARGO.output(Command::new("cargo").arg("--version").current_dir(dir))?;
    let libdir =
        RUSTC.output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(dir))?;
    if !Path::new(String::from_utf8_lossy(&libdir).trim()).is_dir() {
        return Err(RUST_TARGET.missing());
    }
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .current_dir(dir);
    let messages = CARGO.output(&mut cargo)?;
    let module = core_module(&messages).ok_or_else(|| KitError::Component {
        path: dir.join("Cargo.toml"),
        why: "cargo made no WebAssembly module; it needs `[lib] crate-type = [\"cdylib\"]`".to_owned(),
    })?;
    let bytes = fs::read(&module).map_err(file_error(&module))?;
    let encoded = ComponentEncoder::default().validate(true).module(&bytes).and_then(|encoder| encoder.encode());
    let bytes = encoded.map_err(|error| KitError::Component { path: module, why: format!("{error:#}") })?;
    fs::write(component, bytes).map_err(file_error(component))
}

/// The core module among the messages of a `cargo build`: the last one is that of the project.
fn core_module(messages: &[u8]) -> Option<PathBuf> {
    messages.rsplit(|byte| *byte == b'\n').find_map(|line| {
        let message: serde_json::Value = serde_json::from_slice(line).ok()?;
        let mut files = message["filenames"].as_array()?.iter().filter_map(|file| file.as_str().map(PathBuf::from));
        files.find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
    })
}

fn python(dir: &Path, manifest: &Manifest) -> Result<(), KitError> {
    let (venv, requirements) = (dir.join(".venv"), dir.join("requirements.txt"));
    PYTHON.output(Command::new("python3").arg("--version"))?;
    once(&requirements, &venv.join("installed"), || {
        // A folder that an attempt left half made is made again.
        let made = PYTHON.run(Command::new("python3").args(["-m", "venv", "--clear", ".venv"]).current_dir(dir));
        made.map_err(|_| VENV.missing())?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
        PYTHON.run(Command::new(".venv/bin/python").args(pip).current_dir(dir))
    })?;
    let mut componentize = Command::new(".venv/bin/componentize-py");
    componentize.args(["-d", "wit", "-w", &manifest.world(), "componentize", "--stub-wasi", "app", "-o"]);
    // Packages that the plugin imports are those of its requirements.
    componentize.arg(manifest.component(Path::new("."))).env("VIRTUAL_ENV", ".venv").current_dir(dir);
    PYTHON.run(&mut componentize)
}

fn javascript(dir: &Path, manifest: &Manifest) -> Result<(), KitError> {
    NODE.output(Command::new("node").arg("--version"))?;
    once(&dir.join("package.json"), &dir.join("node_modules/.installed"), || {
        NPM.run(
            Command::new("npm").args(["install", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(dir),
        )
    })?;
    let mut componentize = Command::new("node_modules/.bin/componentize-js");
    componentize
        .args(["app.js", "--wit", "wit", "--world-name", &manifest.world(), "--disable"])
        .args(FEATURES_WITH_WASI);
    componentize.arg("--out").arg(manifest.component(Path::new("."))).current_dir(dir);
    NODE.run(&mut componentize)
}

/// Installs what `wanted` names, unless that was done before: then `stamp` is a copy of it.
fn once(wanted: &Path, stamp: &Path, install: impl FnOnce() -> Result<(), KitError>) -> Result<(), KitError> {
    let text = fs::read(wanted).map_err(file_error(wanted))?;
    if fs::read(stamp).is_ok_and(|installed| installed == text) {
        return Ok(());
    }
    install()?;
    fs::write(stamp, text).map_err(file_error(stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_installed_again_when_something_else_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let (wanted, stamp) = (dir.path().join("wanted"), dir.path().join("stamp"));
        let mut installed = 0;
        let mut install = |text: &str| {
            fs::write(&wanted, text).unwrap();
            once(&wanted, &stamp, || {
                installed += 1;
                Ok(())
            })
            .unwrap();
            installed
        };
        assert_eq!([install("a"), install("a"), install("b"), install("b"), install("a")], [1, 1, 2, 2, 3]);
    }

    #[test]
    fn the_module_of_a_build_is_the_last_one_that_cargo_names() {
        let messages = b"{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/libserde.rlib\"]}\nnot json\n\
            {\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/a.wasm\"]}\n{\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(core_module(messages), Some(PathBuf::from("/t/a.wasm")));
        assert_eq!(core_module(b""), None);
    }

    #[test]
    fn a_folder_without_a_manifest_is_not_built() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(build(dir.path()), Err(KitError::Manifest { .. })));
    }
}
