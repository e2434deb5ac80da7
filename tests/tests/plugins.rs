//! Plugins from files, in the place of those that the gateway carries.

use std::path::Path;
use std::process::Command;

use tiergate::plugin::built_in;
use tiergate_tests::{Gateway, eventually, fixture, moved_to_now};

/// What `sha256sum` says of a file.
fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("sha256sum runs");
    String::from_utf8(output.stdout).expect("text").split(' ').next().expect("a sum").to_owned()
}

#[tokio::test]
async fn plugins_from_files_serve_in_the_place_of_the_built_in_ones_and_are_listed_with_file_and_sha256() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, plugin: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, built_in(plugin).expect("a built-in plugin")).unwrap();
        path
    };
    let (sums, shapes) = (file("sums.wasm", "aggregator"), file("shapes.wasm", "codecs"));
    let plugins = format!(
        "[plugins]\naggregator = {{ path = {sums:?}, config = {{ window_seconds = 900 }} }}\n\
         codecs = [{{ path = {shapes:?} }}, {{ name = \"binance\" }}]"
    );
    let gateway = Gateway::with().config(&plugins).start().await;

    let reply = gateway.put("analysis:signals", moved_to_now(&fixture("analysis:signals.json"))).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["schema"]), (200, &"analysis-signals".into()), "{}", reply.text());
    let signal = r#"{"symbol": "MINEUSDT", "confluence_score": 61.5, "price": 10, "change_24h": 1}"#;
    assert_eq!(gateway.ingest(signal).await.status, 200);
    eventually("the signal is on the dashboard", async || {
        gateway.get("/api/dashboard/symbols").await.text().contains("MINEUSDT").then_some(())
    })
    .await;

    let slots = gateway.admin_get("/api/admin/plugins").await.json()["slots"].clone();
    let of = |slot: &str| {
        slots
            .as_array()
            .expect("a list")
            .iter()
            .find(|found| found["slot"] == slot)
            .unwrap_or_else(|| panic!("{slot}: {slots}"))
    };
    for (slot, path) in [("sums", &sums), ("shapes", &shapes)] {
        assert_eq!(of(slot)["file"], path.display().to_string());
        assert_eq!(of(slot)["sha256"], sha256(path));
    }
    assert!(of("binance")["file"].is_null());
}
