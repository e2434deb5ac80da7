//! Payloads that the real producers wrote, and short ways to decode and compare.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::path::Path;

use serde_json::Value;
use tiergate_codecs::{Decoded, Rejection, decode};

/// The bytes of a captured payload, by its path among the fixtures.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The key of a captured payload: its file name without the ending.
pub fn key(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let file = file.rsplit_once('.').map_or(file, |(key, _)| key);
    file.strip_suffix(".nan").or_else(|| file.strip_suffix(".pickled")).unwrap_or(file)
}

/// Decodes a captured payload.
pub fn read_fixture(name: &str) -> Result<Decoded, Rejection> {
    decode(key(name), &fixture(name), if name.contains("pickled") { 1 } else { 0 })
}

/// Decodes a payload that came with no flags.
pub fn read(key: &str, payload: impl AsRef<[u8]>) -> Result<Decoded, Rejection> {
    decode(key, payload.as_ref(), 0)
}

/// The canonical document of an accepted payload.
pub fn document(key: &str, payload: impl AsRef<[u8]>) -> Value {
    let decoded = read(key, payload.as_ref()).expect("an acceptable payload");
    serde_json::from_slice(&canonical(&decoded, payload.as_ref())).expect("strict JSON")
}

/// The canonical bytes of an accepted payload.
pub fn canonical(decoded: &Decoded, payload: &[u8]) -> Vec<u8> {
    decoded.canonical.clone().unwrap_or_else(|| payload.to_vec())
}

/// The repairs as `code path`.
pub fn repairs(decoded: &Decoded) -> Vec<String> {
    decoded.repairs.iter().map(|repair| format!("{} {}", repair.code, repair.path)).collect()
}

/// Checks that decoding the canonical bytes again changes nothing.
pub fn assert_settled(key: &str, payload: &[u8], decoded: &Decoded) {
    let canonical = canonical(decoded, payload);
    let shown = String::from_utf8_lossy(&canonical);
    let again = read(key, &canonical).unwrap_or_else(|error| panic!("{key}: {error:?} in {shown}"));
    assert_eq!(again.canonical, None, "{key}: {shown}");
    assert_eq!(again.repairs, [], "{key}: {shown}");
    assert_eq!(again.kind, decoded.kind, "{key}: {shown}");
    serde_json::from_slice::<Value>(&canonical).unwrap_or_else(|error| panic!("{key}: {error} in {shown}"));
}

/// The names of all captured payloads. Other folders of the fixtures hold vectors and answers.
pub fn fixtures() -> Vec<String> {
    const FOLDERS: [&str; 5] = ["aggregator", "bridge", "edge", "legacy_writer", "warmer"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let mut names = Vec::new();
    let mut folders: Vec<String> = FOLDERS.map(str::to_owned).to_vec();
    folders.push(String::new());
    while let Some(folder) = folders.pop() {
        for entry in root.join(&folder).read_dir().expect("a folder of fixtures") {
            let entry = entry.expect("an entry");
            let name = Path::new(&folder).join(entry.file_name()).to_string_lossy().into_owned();
            let is_payload = !name.ends_with("index.json") && !name.ends_with(".meta.json");
            if entry.path().is_dir() && !folder.is_empty() {
                folders.push(name);
            } else if is_payload && (name.ends_with(".json") || name.ends_with(".bin")) {
                names.push(name);
            }
        }
    }
    names.sort();
    names
}
