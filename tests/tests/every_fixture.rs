//! Every payload of a real producer, through the codecs as the host runs them. The folders are walked, so that a payload
//! that is added is tested, too.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use tiergate::cache::{Codec as _, DecodeError};
use tiergate::plugin::{Config, Plugins};
use tiergate::record::Key;
use tiergate_tests::{Gateway, fixture};

/// Folders of payloads. The others hold vectors (`golden`) and answers (`http`).
const FOLDERS: [&str; 5] = ["aggregator", "bridge", "warmer", "legacy_writer", "edge"];

/// What no codec takes, with the code of the rejection.
const REJECTED: [(&str, &str); 2] =
    [("edge/analysis:signals.pickled.bin", "python-pickle"), ("edge/dashboard:alerts.pickled.bin", "python-pickle")];

/// A captured payload.
struct Capture {
    /// Its path below the fixtures.
    name: String,
    key: Key,
    payload: Bytes,
    flags: u32,
}

impl Capture {
    /// `None` for what is no payload: lists of the folders' contents, events, notes.
    fn at(path: &Path) -> Option<Self> {
        let name = path.strip_prefix(root()).ok()?.to_str()?.to_owned();
        let file = path.file_name()?.to_str()?;
        if file == "index.json" || file.ends_with(".meta.json") {
            return None;
        }
        let key = file.strip_suffix(".json").or_else(|| file.strip_suffix(".bin"))?;
        let pickled = key.strip_suffix(".pickled");
        let key = pickled.or_else(|| key.strip_suffix(".nan")).unwrap_or(key);
        let payload = fixture(&name).into();
        Some(Self { key: Key::new(key).expect("a key"), payload, flags: pickled.is_some().into(), name })
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn captures() -> Vec<Capture> {
    let top = root().read_dir().expect("a folder").map(|entry| entry.expect("an entry").path()).filter(|p| p.is_file());
    let below = FOLDERS.iter().flat_map(|folder| files(&root().join(folder)));
    let mut captures: Vec<_> = top.chain(below).filter_map(|path| Capture::at(&path)).collect();
    captures.sort_by(|one, other| one.name.cmp(&other.name));
    captures
}

#[test]
fn every_payload_decodes_to_strict_json_that_decodes_to_itself_or_is_a_known_rejection() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = Plugins::load(Config::default(), dir.path()).expect("the default plugins load");
    let mut wrong = Vec::new();
    let captures = captures();
    for Capture { name, key, payload, flags } in &captures {
        let expected = REJECTED.iter().find(|(rejected, _)| rejected == name).map(|(_, code)| *code);
        match (plugins.codecs.decode(key, payload, *flags), expected) {
            (Err(DecodeError::Rejected(rejection)), Some(code)) if rejection.code == code => {}
            (Ok(decoded), None) => {
                let canonical = decoded.canonical.clone().unwrap_or_else(|| payload.clone());
                if let Err(error) = serde_json::from_slice::<Value>(&canonical) {
                    wrong.push(format!("{name}: the canonical form is not strict JSON: {error}"));
                }
                match plugins.codecs.decode(key, &canonical, 0) {
                    Ok(again) if again.canonical.as_ref().is_none_or(|bytes| *bytes == canonical) => {
                        if again.kind != decoded.kind {
                            wrong.push(format!("{name}: decoded again it is {:?}", again.kind));
                        }
                    }
                    other => wrong.push(format!("{name}: the canonical form decodes to {other:?}")),
                }
            }
            (other, _) => wrong.push(format!("{name}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(captures.len() > 40, "only {} payloads were found", captures.len());
    for (rejected, _) in REJECTED {
        assert!(captures.iter().any(|capture| capture.name == rejected), "{rejected} is gone");
    }
}

#[tokio::test]
async fn every_payload_of_the_old_warmer_is_a_placeholder() {
    let gateway = Gateway::with().start().await;
    let mut real = Vec::new();
    for Capture { name, key, payload, .. } in captures().into_iter().filter(|one| one.name.starts_with("warmer/")) {
        let reply = gateway.put(key.as_str(), payload).await;
        if reply.json()["kind"] != "placeholder" {
            real.push(format!("{name}: {}", reply.text()));
        }
    }
    assert!(real.is_empty(), "{}", real.join("\n"));
}
