//! The configuration in the README is one that the gateway takes, and tells its defaults.

use std::path::Path;
use std::process::Command;

use tiergate::config::Config;
use tiergate_tests::{binary, certificate};

/// The fenced TOML of the README, in order.
fn samples() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the README");
    let after = readme.split("```toml\n").skip(1);
    after.map(|block| block.split("```").next().expect("an end").to_owned()).collect()
}

/// The sample with every key.
fn sample() -> String {
    samples().into_iter().find(|sample| sample.contains("data_dir")).expect("the sample with every key")
}

/// Whether a line is a key that is commented out, and its name.
fn commented(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("# ")?.split_once(" = ")?;
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(name)
}

/// What `tiergate config check` says of a configuration; empty when it has no mistake.
fn mistakes(toml: &str, dir: &Path) -> String {
    let path = dir.join("tiergate.toml");
    std::fs::write(&path, toml).expect("written");
    let mut command = Command::new(binary());
    command.args(["config", "check", "--config"]).arg(path).env("TIERGATE_DATA_DIR", dir.join("data"));
    command.env("MARKET_API_KEY", "abc");
    let output = command.output().expect("tiergate runs");
    if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}

#[test]
fn the_sample_is_taken_as_it_is_and_with_each_commented_key() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(mistakes(&sample(), dir.path()), "");
    let names: Vec<String> = sample().lines().filter_map(commented).map(str::to_owned).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let value = match &*name {
            "data_dir" => Some(format!("{:?}", dir.path().join("data"))),
            "unix" => Some(format!("{:?}", dir.path().join("tiergate.sock"))),
            "watch" => Some(format!("{:?}", dir.path())),
            "tls" => {
                let (cert, key) = certificate(dir.path());
                Some(format!("{{ cert = {cert:?}, key = {key:?} }}"))
            }
            // The README names no token that somebody could copy.
            "write_token" => Some("\"0123456789abcdef\"".to_owned()),
            _ => None,
        };
        let line = |line: &str| match (commented(line), &value) {
            (Some(found), Some(value)) if found == name => format!("{name} = {value}"),
            (Some(found), None) if found == name => line.trim_start_matches("# ").to_owned(),
            _ => line.to_owned(),
        };
        let toml: Vec<String> = sample().lines().map(line).collect();
        assert_eq!(mistakes(&toml.join("\n"), dir.path()), "", "with {name}");
    }
}

#[test]
fn the_values_of_the_sample_are_the_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiergate.toml");
    std::fs::write(&path, sample()).unwrap();
    let (sample, mistakes) = Config::read(Some(&path));
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let (defaults, _) = Config::read(None);
    assert_eq!(format!("{:#?}", sample.expect("a configuration")), format!("{:#?}", defaults.expect("defaults")));
}

#[test]
fn every_other_sample_names_known_keys_only() {
    let dir = tempfile::tempdir().unwrap();
    // The author's manifest is no configuration of the gateway.
    for sample in samples().into_iter().filter(|sample| !sample.starts_with("# Cargo.toml")) {
        let told = mistakes(&sample, dir.path());
        // The plugins of the sample are the reader's own; nothing else may be wrong.
        let wrong: Vec<&str> = told.lines().skip(1).filter(|line| !line.contains("the file cannot be read")).collect();
        assert!(wrong.is_empty(), "{told}");
    }
}
