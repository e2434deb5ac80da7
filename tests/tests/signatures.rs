//! Components that must be signed: with keys that are trusted, nothing else is taken from outside.

use std::path::Path;
use std::process::{Command, Output};

use bytes::Bytes;
use hyper::Method;
use minisign::KeyPair;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{Gateway, Reply, Starting, binary};

/// A built-in component with another digest: it carries a section that means nothing.
fn variant(plugin: &str, mark: u8) -> Vec<u8> {
    let mut component = built_in(plugin).expect("a built-in plugin").to_vec();
    component.extend_from_slice(&[0, 3, 2, b'v', mark]);
    component
}

fn key() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().expect("a key")
}

/// What `minisign -S` writes.
fn sign(key: &KeyPair, component: &[u8]) -> String {
    minisign::sign(Some(&key.pk), &key.sk, component, None, None).expect("a signature").into_string()
}

fn trusting(key: &KeyPair) -> Starting {
    Gateway::with().config(&format!("[plugins]\ntrusted_keys = [{:?}]", key.pk.to_base64()))
}

async fn load(gateway: &Gateway, slot: &str, component: Vec<u8>, signature: Option<&str>) -> Reply {
    let signature = signature.map(|text| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>());
    let query = signature.map(|text| format!("?signature={text}")).unwrap_or_default();
    gateway.admin_send(Method::POST, &format!("/api/admin/plugins/{slot}/load{query}"), Bytes::from(component)).await
}

async fn step(gateway: &Gateway, path: &str) -> Reply {
    gateway.admin_send(Method::POST, &format!("/api/admin/plugins/{path}"), Bytes::new()).await
}

async fn active(gateway: &Gateway, slot: &str) -> Value {
    let slots = gateway.admin_get("/api/admin/plugins").await.json()["slots"].clone();
    slots.as_array().expect("slots").iter().find(|found| found["slot"] == slot).expect("the slot")["sha256"].clone()
}

#[tokio::test]
async fn only_what_a_trusted_key_has_signed_is_loaded_and_a_refusal_says_how_to_sign() {
    let (ours, foreign) = (key(), key());
    let gateway = trusting(&ours).start().await;
    let component = variant("warmer", b'a');
    let before = active(&gateway, "warmer").await;
    for (signature, expected) in [
        (None, "it is not signed, and `trusted_keys` asks for it"),
        (Some(sign(&foreign, &component)), "by a key that is not among `trusted_keys`"),
        (Some(sign(&ours, &variant("warmer", b'b'))), "not of these bytes"),
        (Some("nonsense".to_owned()), "not one of minisign"),
    ] {
        let reply = load(&gateway, "warmer", component.clone(), signature.as_deref()).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["error"]["code"]),
            (422, &json!("not-signed")),
            "{}",
            reply.text()
        );
        assert!(reply.text().contains(expected) && reply.text().contains("minisign -Sm"), "{}", reply.text());
    }
    assert_eq!(active(&gateway, "warmer").await, before);
    let reply = load(&gateway, "warmer", component.clone(), Some(&sign(&ours, &component))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(step(&gateway, "warmer/use").await.status, 200);
    assert_ne!(active(&gateway, "warmer").await, before);
}

#[tokio::test]
async fn what_was_swapped_in_is_verified_again_at_the_next_start() {
    let ours = key();
    let gateway = trusting(&ours).start().await;
    let built_in = active(&gateway, "warmer").await;
    let component = variant("warmer", b'a');
    assert_eq!(load(&gateway, "warmer", component.clone(), Some(&sign(&ours, &component))).await.status, 200);
    assert_eq!(step(&gateway, "warmer/use").await.status, 200);
    let swapped = active(&gateway, "warmer").await;
    let gateway = gateway.kill().start().await;
    assert_eq!(active(&gateway, "warmer").await, swapped, "its signature was kept with it");
    // Somebody without the key puts another signature there.
    let store = gateway.data_dir().join("plugins");
    let signature = store.join(format!("{}.wasm.minisig", swapped.as_str().expect("a digest")));
    let starting = gateway.kill();
    std::fs::write(&signature, sign(&key(), &component)).expect("written");
    let gateway = starting.start().await;
    assert_eq!(active(&gateway, "warmer").await, built_in, "the one before it stays");
    assert!(gateway.log().iter().any(|line| line.contains("not among `trusted_keys`")));
}

#[tokio::test]
async fn a_component_named_in_the_configuration_needs_its_signature_beside_it() {
    let ours = key();
    let dir = tempfile::tempdir().expect("a directory");
    let (file, component) = (dir.path().join("mine.wasm"), variant("warmer", b'c'));
    std::fs::write(&file, &component).expect("written");
    let toml = format!(
        "data_dir = {:?}\n[plugins]\ntrusted_keys = [{:?}]\nwarmer = {{ path = {file:?} }}",
        dir.path().join("data"),
        ours.pk.to_base64()
    );
    let config = dir.path().join("tiergate.toml");
    std::fs::write(&config, toml).expect("written");
    let check = || Command::new(binary()).args(["config", "check", "--config"]).arg(&config).output().expect("it runs");
    let unsigned = check();
    let said = String::from_utf8_lossy(&unsigned.stderr).into_owned();
    assert_eq!(unsigned.status.code(), Some(2));
    assert!(said.contains("plugins.warmer:") && said.contains("not signed") && said.contains("minisign -Sm"), "{said}");
    std::fs::write(dir.path().join("mine.wasm.minisig"), sign(&ours, &component)).expect("written");
    let signed = check();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
}

#[tokio::test]
async fn the_command_line_sends_the_signature_that_lies_beside_the_file_or_that_is_named() {
    let ours = key();
    let gateway = trusting(&ours).start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let (file, component) = (dir.path().join("mine.wasm"), variant("warmer", b'd'));
    std::fs::write(&file, &component).expect("written");
    let run = |more: &[&Path]| -> Output {
        let mut command = Command::new(binary());
        command.args(["plugin", "load", "warmer"]).arg(&file);
        if let [signature] = more {
            command.arg("--signature").arg(signature);
        }
        command.args(["--admin", &format!("http://{}", gateway.admin), "--admin-token-file"]);
        command.arg(gateway.data_dir().join("admin.token")).output().expect("it runs")
    };
    let refused = run(&[]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it is not signed"));
    let elsewhere = dir.path().join("elsewhere");
    std::fs::write(&elsewhere, sign(&ours, &component)).expect("written");
    let named = run(&[&elsewhere]);
    assert!(named.status.success(), "{}", String::from_utf8_lossy(&named.stderr));
    std::fs::rename(&elsewhere, dir.path().join("mine.wasm.minisig")).expect("renamed");
    let beside = run(&[]);
    assert!(beside.status.success(), "{}", String::from_utf8_lossy(&beside.stderr));
    assert_eq!(run(&[Path::new("/nowhere")]).status.code(), Some(1));
}
