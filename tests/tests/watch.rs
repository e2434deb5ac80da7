//! A watched directory: components that appear in it are loaded and used, by the same steps as any others.

use std::path::Path;
use std::time::{Duration, Instant};

use minisign::KeyPair;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{Gateway, Starting, eventually, hostile};

/// A built-in component with another digest: it carries a section that means nothing.
fn variant(plugin: &str, mark: u8) -> Vec<u8> {
    let mut component = built_in(plugin).expect("a built-in plugin").to_vec();
    component.extend_from_slice(&[0, 3, 2, b'v', mark]);
    component
}

fn watching(dir: &Path, more: &str) -> Starting {
    Gateway::with().config(&format!("[plugins]\nwatch = {dir:?}\n{more}"))
}

async fn slot(gateway: &Gateway, name: &str) -> Value {
    let slots = gateway.admin_get("/api/admin/plugins").await.json()["slots"].clone();
    slots.as_array().expect("slots").iter().find(|slot| slot["slot"] == name).expect("the slot").clone()
}

/// Waits until the watch has let this generation serve, and has written that down.
async fn generation(gateway: &Gateway, name: &str, wanted: u64) -> Value {
    eventually(&format!("generation {wanted} of {name}"), async || {
        let slot = slot(gateway, name).await;
        let is_told = steps(gateway).await.last()?.0 == "use";
        (slot["generation"] == wanted && is_told).then_some(slot)
    })
    .await
}

/// What was done by the watch, the oldest first: step and result.
async fn steps(gateway: &Gateway) -> Vec<(String, String)> {
    let audit = gateway.admin_get("/api/admin/audit").await.json()["audit"].clone();
    let entries = audit.as_array().expect("entries").iter().rev().filter(|entry| entry["by"] == "watch");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    entries.map(|entry| (text(&entry["step"]), text(&entry["result"]))).collect()
}

/// Waits for `count` steps of the watch; answers the last one's result.
async fn told(gateway: &Gateway, count: usize) -> String {
    eventually(&format!("{count} steps of the watch"), async || {
        let steps = steps(gateway).await;
        (steps.len() >= count).then(|| steps[count - 1].1.clone())
    })
    .await
}

#[tokio::test]
async fn a_component_that_appears_or_changes_is_used_and_keeps_the_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let gateway = watching(dir.path(), "").start().await;
    let signal =
        |symbol: &str| json!({ "symbol": symbol, "confluence_score": 60, "price": 10, "change_24h": 1.5 }).to_string();
    assert_eq!(gateway.ingest(signal("AUSDT")).await.status, 200);
    std::fs::write(dir.path().join("aggregator.wasm"), variant("aggregator", b'a')).expect("written");
    let first = generation(&gateway, "aggregator", 2).await;
    assert_eq!(gateway.ingest(signal("BUSDT")).await.status, 200);
    // A configuration beside it is a change.
    std::fs::write(dir.path().join("aggregator.json"), r#"{"dedupe": "highest"}"#).expect("written");
    assert_eq!(generation(&gateway, "aggregator", 3).await["sha256"], first["sha256"]);
    // So is another component, moved into its place.
    std::fs::write(dir.path().join("new"), variant("aggregator", b'b')).expect("written");
    std::fs::rename(dir.path().join("new"), dir.path().join("aggregator.wasm")).expect("renamed");
    assert_ne!(generation(&gateway, "aggregator", 4).await["sha256"], first["sha256"]);
    eventually("both symbols are known", async || {
        let view = gateway.get("/api/dashboard/symbols").await.json();
        (view["symbols"].as_array()?.len() == 2).then_some(())
    })
    .await;
    let done: Vec<_> = steps(&gateway).await;
    assert_eq!(done.len(), 6);
    assert!(done.iter().all(|(_, result)| result == "done"), "{done:?}");
}

#[tokio::test]
async fn a_refused_file_changes_nothing_and_is_told_once() {
    let dir = tempfile::tempdir().expect("a directory");
    // What breaks its contract is let in, and stays.
    let let_in = "conformance = false\n[plugins.probation]\nlasts = \"0s\"";
    let gateway = watching(dir.path(), let_in).start().await;
    let file = dir.path().join("warmer.wasm");
    let before = slot(&gateway, "warmer").await;
    std::fs::write(&file, b"no component").expect("written");
    assert!(told(&gateway, 1).await.contains("not a WebAssembly component"));
    // The same content again is no news, and neither is a file for no slot.
    std::fs::write(&file, b"no component").expect("written");
    std::fs::write(dir.path().join("nobody.wasm"), b"no component").expect("written");
    std::fs::write(dir.path().join("codecs.json"), b"{}").expect("written");
    // One whose configuration is no JSON.
    std::fs::write(dir.path().join("binance.json"), b"{").expect("written");
    std::fs::write(dir.path().join("binance.wasm"), variant("binance", b'a')).expect("written");
    assert!(told(&gateway, 2).await.contains("binance.json in"));
    // One that loads and cannot be used: nothing of it is left.
    std::fs::write(&file, hostile("panic-in-save-after-a-plan")).expect("written");
    generation(&gateway, "warmer", 2).await;
    std::fs::remove_file(dir.path().join("binance.json")).expect("removed");
    std::fs::write(dir.path().join("binance.wasm"), hostile("claims-of-another")).expect("written");
    eventually("it is discarded", async || {
        let steps = steps(&gateway).await;
        (steps.last()?.0 == "discard").then_some(())
    })
    .await;
    assert!(slot(&gateway, "binance").await["candidate"].is_null());
    let refusals = steps(&gateway).await.into_iter().filter(|(_, result)| result.contains("not a WebAssembly")).count();
    assert_eq!(refusals, 1);
    assert_eq!(slot(&gateway, "warmer").await["previous"][0]["sha256"], before["sha256"]);
}

/// What may be seen as rest by the watch, which looks every second, and late when the machine is busy.
const SEEN_AS_REST: Duration = Duration::from_millis(500);

/// Writes a file piece by piece, for several looks of the watch; answers how long it has rested meanwhile, at most.
async fn write_slowly(path: &Path, whole: &[u8]) -> Duration {
    let (mut rested, mut last) = (Duration::ZERO, Instant::now());
    let mut file = std::fs::File::create(path).expect("a file");
    for piece in whole.chunks(whole.len() / 30 + 1) {
        let begun = Instant::now();
        std::io::Write::write_all(&mut file, piece).expect("written");
        rested = rested.max(last.elapsed());
        last = begun;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rested
}

#[tokio::test]
async fn a_file_that_is_still_written_is_not_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let gateway = watching(dir.path(), "").start().await;
    for (mark, number) in (b'a'..).zip(2..7) {
        let before = steps(&gateway).await.len();
        let rested = write_slowly(&dir.path().join("warmer.wasm"), &variant("warmer", mark)).await;
        generation(&gateway, "warmer", number).await;
        if rested < SEEN_AS_REST {
            let steps = steps(&gateway).await.split_off(before);
            assert!(steps.iter().all(|(_, result)| result == "done"), "half a file was taken: {steps:?}");
            return;
        }
    }
    panic!("whatever is written on this machine rests meanwhile");
}

#[tokio::test]
async fn a_rollback_is_not_undone_by_a_restart_and_a_file_that_comes_back_is_taken_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let gateway = watching(dir.path(), "").start().await;
    let file = dir.path().join("warmer.wasm");
    std::fs::write(&file, variant("warmer", b'a')).expect("written");
    let used = generation(&gateway, "warmer", 2).await;
    let back = gateway.admin_send(hyper::Method::POST, "/api/admin/plugins/warmer/rollback", bytes::Bytes::new()).await;
    assert_eq!(back.status, 200, "{}", back.text());
    let gateway = gateway.kill().start().await;
    // Two that the watch takes one after the other: between them it has looked at the first.
    for (mark, number) in [(b'a', 2), (b'b', 3)] {
        std::fs::write(dir.path().join("aggregator.wasm"), variant("aggregator", mark)).expect("written");
        generation(&gateway, "aggregator", number).await;
    }
    assert_ne!(slot(&gateway, "warmer").await["sha256"], used["sha256"], "the rollback holds");
    std::fs::rename(&file, dir.path().join("aside")).expect("renamed");
    // It must be seen to be gone.
    std::fs::write(dir.path().join("aggregator.wasm"), variant("aggregator", b'c')).expect("written");
    generation(&gateway, "aggregator", 4).await;
    std::fs::rename(dir.path().join("aside"), &file).expect("renamed");
    eventually("it is used again", async || (slot(&gateway, "warmer").await["sha256"] == used["sha256"]).then_some(()))
        .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_once_and_tried_again_and_does_not_count_as_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let gateway = watching(dir.path(), "").start().await;
    let path = |name: &str| dir.path().join(name);
    // What the watch takes for another slot it takes in its second look at least.
    let look_on = async |mark: u8, number: u64| {
        std::fs::write(path("aggregator.wasm"), variant("aggregator", mark)).expect("written");
        generation(&gateway, "aggregator", number).await;
    };
    let count_told = async |why: &str| steps(&gateway).await.iter().filter(|(_, result)| result.contains(why)).count();
    std::fs::write(path("warmer.wasm"), variant("warmer", b'a')).expect("written");
    let used = generation(&gateway, "warmer", 2).await;
    let back = gateway.admin_send(hyper::Method::POST, "/api/admin/plugins/warmer/rollback", bytes::Bytes::new()).await;
    assert_eq!(back.status, 200, "{}", back.text());
    // In its place, in one step, a link to itself: whether there is a file cannot be said.
    std::fs::hard_link(path("warmer.wasm"), path("aside")).expect("linked");
    std::os::unix::fs::symlink("warmer.wasm", path("loop")).expect("linked");
    std::fs::rename(path("loop"), path("warmer.wasm")).expect("renamed");
    let unknown = "warmer.wasm cannot be read: Too many levels of symbolic links";
    eventually("it is told", async || (count_told(unknown).await > 0).then_some(())).await;
    look_on(b'a', 2).await;
    std::fs::rename(path("aside"), path("warmer.wasm")).expect("renamed");
    look_on(b'b', 3).await;
    look_on(b'c', 4).await;
    assert_ne!(slot(&gateway, "warmer").await["sha256"], used["sha256"], "it was not gone: the rollback holds");
    assert_eq!(count_told(unknown).await, 1);
    // A change that cannot be read yet.
    std::fs::create_dir(path("warmer.json")).expect("a directory");
    std::fs::write(path("warmer.wasm"), variant("warmer", b'b')).expect("written");
    let unread = "warmer.json cannot be read: Is a directory";
    eventually("it is told", async || (count_told(unread).await > 0).then_some(())).await;
    look_on(b'd', 5).await;
    std::fs::remove_dir(path("warmer.json")).expect("removed");
    generation(&gateway, "warmer", 3).await;
    assert_eq!(count_told(unread).await, 1);
}

#[tokio::test]
async fn with_trusted_keys_only_a_signed_file_is_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = KeyPair::generate_unencrypted_keypair().expect("a key");
    let gateway = watching(dir.path(), &format!("trusted_keys = [{:?}]", key.pk.to_base64())).start().await;
    let (file, component) = (dir.path().join("warmer.wasm"), variant("warmer", b'a'));
    std::fs::write(&file, &component).expect("written");
    assert!(told(&gateway, 1).await.contains("it is not signed"));
    // The signature may come later: it is a change.
    let signature =
        minisign::sign(Some(&key.pk), &key.sk, &component[..], None, None).expect("a signature").into_string();
    std::fs::write(dir.path().join("warmer.wasm.minisig"), signature).expect("written");
    generation(&gateway, "warmer", 2).await;
    let gateway = gateway.kill().start().await;
    assert_eq!(
        slot(&gateway, "warmer").await["previous"].as_array().expect("a list").len(),
        1,
        "it survives a restart"
    );
}
