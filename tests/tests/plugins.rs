//! Plugins from files, in the place of those that the gateway carries.

use std::path::Path;
use std::process::Command;

use hyper::Method;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{Gateway, binary, eventually, fixture, hostile, moved_to_now};

/// Takes a step of a slot, which must be carried out.
async fn step(gateway: &Gateway, path: &str, component: Vec<u8>) -> Value {
    let reply = gateway.admin_send(Method::POST, &format!("/api/admin/plugins/{path}"), component.into()).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

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

#[tokio::test]
async fn the_metrics_of_a_slot_tell_its_calls_their_time_its_instances_and_the_version_that_serves() {
    // Others than the built-in ones by name and version, and such as would not pass the vectors of their kinds.
    let gateway = Gateway::with().config("[plugins]\nconformance = false").start().await;
    let slots = gateway.admin_get("/api/admin/plugins").await.json()["slots"].clone();
    for (slot, component, call) in
        [("binance", "codec", "decode"), ("aggregator", "aggregator", "ingest"), ("warmer", "warmer", "plan")]
    {
        let status = slots.as_array().expect("slots").iter().find(|found| found["slot"] == slot).expect("the slot");
        let (plugin, version) = (status["plugin"].as_str().expect("a name"), status["version"].as_str().expect("one"));
        let of_slot = format!("slot=\"{slot}\"");
        let metric = async |name: &str, plugin: &str, more: &str| {
            gateway.metric(name, &[&of_slot, &format!("plugin=\"{plugin}\""), more]).await
        };
        let serves = async || {
            let old = metric("tiergate_plugin_active", plugin, &format!("version=\"{version}\"")).await;
            (old, metric("tiergate_plugin_active", "hostile", "version=\"6.6.6\"").await)
        };
        assert_eq!(serves().await, (1.0, 0.0), "{slot}");
        step(&gateway, &format!("{slot}/load"), hostile(component)).await;
        step(&gateway, &format!("{slot}/use?fresh=true"), Vec::new()).await;
        assert_eq!(serves().await, (0.0, 1.0), "{slot}");
        let calls = async || metric("tiergate_plugin_calls_total", "hostile", &format!("call=\"{call}\"")).await;
        let before = calls().await;
        // The warmer is asked for plans anyway.
        eventually("its calls are counted", async || {
            assert_eq!(gateway.put("hostile:x", r#"{"n": 1}"#).await.status, 200);
            gateway.ingest(r#"{"n": 1}"#).await;
            (calls().await >= before + 2.0).then_some(())
        })
        .await;
        let timed = metric("tiergate_plugin_call_seconds_count", "hostile", &format!("call=\"{call}\"")).await;
        assert!(timed >= before + 2.0 && timed <= calls().await, "{slot}: {timed}");
        assert!(
            metric("tiergate_plugin_call_seconds_sum", "hostile", &format!("call=\"{call}\"")).await > 0.0,
            "{slot}"
        );
        assert!(metric("tiergate_plugin_instances", "hostile", "").await >= 1.0, "{slot}");
        // A page of memory at least.
        assert!(metric("tiergate_plugin_memory_bytes", "hostile", "").await >= 65_536.0, "{slot}");
        step(&gateway, &format!("{slot}/rollback?fresh=true"), Vec::new()).await;
        assert_eq!(serves().await, (1.0, 0.0), "{slot}");
    }
}

#[tokio::test]
async fn what_a_plugin_says_is_in_the_log_with_its_slot_its_name_and_its_version() {
    let gateway = Gateway::with().config("[plugins]\nconformance = false").start().await;
    step(&gateway, "binance/load", hostile("says-a-line")).await;
    step(&gateway, "binance/use", Vec::new()).await;
    assert_eq!(gateway.put("hostile:x!", r#"{"said": "by the plugin"}"#).await.status, 200);
    let line = eventually("it is in the log", async || {
        let lines = gateway.log().into_iter().map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
        lines.into_iter().find(|line| line["message"] == r#"{"said": "by the plugin"}"#)
    })
    .await;
    let told = json!({
        "level": line["level"], "slot": line["slot"], "plugin": line["plugin"], "version": line["version"],
    });
    assert_eq!(told, json!({ "level": "WARN", "slot": "binance", "plugin": "hostile", "version": "6.6.6" }));
    assert!(line["timestamp"].is_string(), "{line}");
    // Of a longer line the first KiB.
    let long = |x: usize| format!("\"{}\"", "x".repeat(x));
    for (bytes, told) in [(1_024, long(1_022)), (1_025, long(1_023)[..1_024].to_owned() + "…")] {
        let payload = long(bytes - 2);
        assert_eq!(gateway.put("hostile:x!", payload).await.status, 200);
        eventually(&format!("a line of {bytes} bytes is in the log"), async || {
            let lines = gateway.log().into_iter().map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
            lines.into_iter().any(|line| line["slot"] == "binance" && line["message"] == told).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_plugin_counts_is_a_metric_with_its_name() {
    let gateway = Gateway::with().config("[plugins]\nconformance = false").start().await;
    step(&gateway, "binance/load", hostile("counts-payloads")).await;
    step(&gateway, "binance/use", Vec::new()).await;
    for counted in [3.0, 6.0] {
        assert_eq!(gateway.put("hostile:x!", r#"{"n": 1}"#).await.status, 200);
        let labels = ["slot=\"binance\"", "plugin=\"hostile\"", "name=\"payloads\""];
        assert_eq!(gateway.metric("tiergate_plugin_counter_total", &labels).await, counted);
    }
}

#[tokio::test]
async fn the_audit_log_tells_which_component_came_to_serve_when_and_by_whom() {
    let dir = tempfile::tempdir().unwrap();
    let (new, old) = (dir.path().join("new.wasm"), dir.path().join("old.wasm"));
    std::fs::write(&new, hostile("warmer")).unwrap();
    std::fs::write(&old, built_in("warmer").expect("a built-in plugin")).unwrap();
    let gateway = Gateway::with().config("[plugins]\nconformance = false").start().await;
    let slots = gateway.admin_get("/api/admin/plugins").await.json()["slots"].clone();
    let built_in = slots.as_array().expect("slots").iter().find(|slot| slot["slot"] == "warmer").expect("it").clone();
    let now = || (tiergate_tests::now_seconds() * 1e6) as u64;
    let mut moments = vec![now()];
    for (path, component) in [
        ("warmer/load?by=ann", std::fs::read(&new).unwrap()),
        ("warmer/use?fresh=true&by=bob", Vec::new()),
        ("warmer/rollback?fresh=true&by=cleo", Vec::new()),
    ] {
        step(&gateway, path, component).await;
        moments.push(now());
    }
    let audit = gateway.admin_get("/api/admin/audit").await.json()["audit"].clone();
    let entries: Vec<_> = audit.as_array().expect("entries").iter().rev().collect();
    assert_eq!(entries.len(), 3, "{audit:#}");
    let hostile = (json!("hostile"), json!("6.6.6"), json!(sha256(&new)));
    let before = (built_in["plugin"].clone(), built_in["version"].clone(), json!(sha256(&old)));
    for (at, (step, by, of)) in
        [("load", "ann", &hostile), ("use", "bob", &hostile), ("rollback", "cleo", &before)].into_iter().enumerate()
    {
        let entry = entries[at];
        assert_eq!((&entry["step"], &entry["by"], &entry["slot"]), (&json!(step), &json!(by), &json!("warmer")));
        assert_eq!((&entry["plugin"], &entry["version"], &entry["sha256"]), (&of.0, &of.1, &of.2), "{entry:#}");
        assert_eq!(entry["result"], "done", "{entry:#}");
        let moment = entry["at"].as_u64().expect("microseconds");
        assert!((moments[at]..=moments[at + 1]).contains(&moment), "{moment} {moments:?}");
    }
}

#[tokio::test]
async fn a_version_is_judged_used_and_taken_back_by_the_command_line_alone() {
    let gateway = Gateway::with().start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.wasm");
    let mut component = built_in("aggregator").expect("a built-in plugin").to_vec();
    // A section that means nothing: the same code under another digest.
    component.extend_from_slice(&[0, 3, 2, b'v', b'1']);
    std::fs::write(&file, component).unwrap();
    let run = async |args: &[&str]| -> (Option<i32>, Value) {
        let mut command = tokio::process::Command::new(binary());
        command.arg("plugin").args(args).args(["--admin", &format!("http://{}", gateway.admin), "--admin-token-file"]);
        let output = command.arg(gateway.data_dir().join("admin.token")).output().await.expect("it runs");
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
    };
    let (path, sum) = (file.to_str().expect("text"), sha256(&file));
    let highest = [r#"--config={"dedupe":"highest"}"#, "--sha256"];
    let another = "0".repeat(64);
    assert_eq!(run(&["load", "aggregator", path, highest[0], highest[1], &another]).await.0, Some(3), "another digest");
    let (done, loaded) = run(&["load", "aggregator", path, highest[0], highest[1], &sum]).await;
    assert_eq!((done, &loaded["sha256"]), (Some(0), &json!(sum)), "{loaded:#}");
    assert_eq!(run(&["shadow", "aggregator"]).await.1["beside"]["mode"], "shadow");
    eventually("both rules were asked, and answered differently", async || {
        for score in [80, 40] {
            let signal = json!({ "symbol": "AUSDT", "confluence_score": score, "price": 10, "change_24h": 1.5 });
            assert_eq!(gateway.ingest(signal.to_string()).await.status, 200);
        }
        let (_, report) = run(&["report", "aggregator"]).await;
        (report["different"].as_u64()? > 0 && !report["examples"][0]["path"].is_null()).then_some(())
    })
    .await;
    assert_eq!(run(&["use", "aggregator"]).await.1["sha256"], json!(sum));
    let (done, back) = run(&["rollback", "aggregator"]).await;
    assert_eq!((done, &back["plugin"]), (Some(0), &json!("tiergate-aggregator")));
    assert_ne!(back["sha256"], json!(sum));
    let (_, audit) = run(&["audit"]).await;
    let steps: Vec<_> = audit["audit"].as_array().expect("entries").iter().map(|entry| entry["step"].clone()).collect();
    assert_eq!(steps, ["rollback", "use", "shadow", "load", "load"], "{audit:#}");
}
