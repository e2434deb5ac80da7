//! Builds the default plugins, so that the gateway carries them.
//!
//! A nested cargo compiles each to a core module, `wit-component` makes it a component, and the result lies in `OUT_DIR`
//! as `<package>.wasm`. Nothing is installed: when the WebAssembly target is missing, the build stops and names the command.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use wit_component::ComponentEncoder;

/// The packages, which are also the names of the files in `OUT_DIR`.
const PLUGINS: [&str; 4] = ["tiergate-codecs", "tiergate-binance", "tiergate-aggregator", "tiergate-warmer"];

const TARGET: &str = "wasm32-unknown-unknown";

/// The profile of the workspace that the plugins are built with, in every profile of the gateway.
const PROFILE: &str = "plugin";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", format!("{error:#}").replace('\n', "\ncargo::error="));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let host = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let workspace = host.parent().context("the package lies in a workspace")?;

    rerun_if_changed(workspace)?;
    check_target()?;

    let target_dir = target_dir(&out);
    build(workspace, &target_dir)?;
    for plugin in PLUGINS {
        let module = target_dir.join(TARGET).join(PROFILE).join(format!("{}.wasm", plugin.replace('-', "_")));
        componentize(&module, &out.join(format!("{plugin}.wasm"))).with_context(|| format!("plugin {plugin}"))?;
    }
    Ok(())
}

fn variable(name: &str) -> Result<OsString> {
    env::var_os(name).with_context(|| format!("cargo sets {name}"))
}

fn rerun_if_changed(workspace: &Path) -> Result<()> {
    let mut paths = ["wit", "Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)).to_vec();
    for entry in fs::read_dir(workspace.join("plugins")).context("reading plugins/")? {
        let plugin = entry?.path();
        if !plugin.join("Cargo.toml").is_file() {
            continue;
        }
        paths.extend([plugin.join("src"), plugin.join("Cargo.toml")]);
    }
    for path in paths {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    Ok(())
}

/// Stops with the one command that helps when the standard library for WebAssembly is not installed.
fn check_target() -> Result<()> {
    let rustc = variable("RUSTC")?;
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .with_context(|| format!("running {}", rustc.display()))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let installed = fs::read_dir(libdir).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
    });
    if !installed {
        bail!("the plugins need Rust's WebAssembly target; install it with `rustup target add {TARGET}`");
    }
    Ok(())
}

/// A directory that every profile of the gateway shares, so that the plugins are compiled once. It is not the directory of
/// the cargo that runs this script: that one is locked until this script ends.
fn target_dir(out: &Path) -> PathBuf {
    let outer = out.ancestors().skip(1).find(|dir| dir.join("CACHEDIR.TAG").is_file());
    outer.unwrap_or(out).join("plugins")
}

fn build(workspace: &Path, target_dir: &Path) -> Result<()> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.current_dir(workspace).args(["build", "--locked", "--profile", PROFILE, "--target", TARGET]);
    cargo.arg("--target-dir").arg(target_dir);
    for plugin in PLUGINS {
        cargo.args(["--package", plugin]);
    }
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_outer_build(name)) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", reproducible(workspace));

    let output = cargo.output().context("running cargo for the plugins")?;
    if !output.status.success() {
        bail!("the plugins do not build\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}

/// Whether a variable tells of the package, the flags or the wrapper (clippy's, say) of the build that runs this script.
/// What tells of the machine stays: where cargo's home is, how to reach registries, that it is offline, the job server.
fn is_of_outer_build(name: &OsStr) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    let Some(name) = name.to_str() else { return false };
    match name {
        "RUSTFLAGS" | "RUSTDOCFLAGS" | "RUSTC_WORKSPACE_WRAPPER" | "CLIPPY_ARGS" => true,
        _ => name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept)),
    }
}

/// Flags that keep the paths of this machine out of the plugins: the same sources give the same bytes everywhere.
fn reproducible(workspace: &Path) -> OsString {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    let mut flags = OsString::new();
    for (path, name) in [(workspace, "tiergate"), (&home, "cargo")] {
        if path.as_os_str().is_empty() {
            continue;
        }
        if !flags.is_empty() {
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(path);
        flags.push(format!("=/{name}"));
    }
    flags
}

/// Turns the core module into a component by the interface that `wit-bindgen` described in it.
fn componentize(module: &Path, component: &Path) -> Result<()> {
    let bytes = fs::read(module).with_context(|| format!("reading {}", module.display()))?;
    let bytes = ComponentEncoder::default().validate(true).module(&bytes)?.encode()?;
    fs::write(component, bytes).with_context(|| format!("writing {}", component.display()))
}
