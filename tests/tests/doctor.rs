//! The doctor: nothing is found where nothing is wrong, and what is wrong is named with its place; writes are verified.

use std::process::Command;

use hyper::Method;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{
    Deployment, Gateway, Memcached, NO_TASKS, PlainRedis, Redis, binary, eventually, fixture, moved_to_now,
};

/// What the gateway itself says.
async fn look(gateway: &Gateway) -> Value {
    gateway.admin_get("/api/admin/doctor").await.json()
}

/// The findings of this name.
fn named<'a>(report: &'a Value, code: &str) -> Vec<&'a Value> {
    report["findings"].as_array().expect("findings").iter().filter(|finding| finding["code"] == code).collect()
}

async fn fed(gateway: &Gateway) {
    let reply = gateway.put("analysis:signals", moved_to_now(&fixture("analysis:signals.json"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    eventually("it is shown", async || (gateway.get("/readyz").await.status == 200).then_some(())).await;
}

/// The tiers as `/api/admin/tiers` tells of them.
async fn verified(gateway: &Gateway, at: usize) -> Value {
    gateway.admin_get("/api/admin/tiers").await.json()["tiers"][at]["last_verified_write"].clone()
}

#[tokio::test]
async fn in_a_healthy_deployment_nothing_is_wrong_and_the_exit_code_says_so() {
    let all = Deployment::with(NO_TASKS).await;
    fed(&all.gateway).await;
    // A machine that is busy for a moment is slow for a moment.
    let report = eventually("nothing is wrong", async || {
        let report = look(&all.gateway).await;
        let findings = report["findings"].as_array().expect("findings");
        findings.iter().all(|finding| finding["severity"] == "note").then_some(report)
    })
    .await;
    assert_eq!(named(&report, "item-limit-below-value-limit").len(), 1, "memcached takes 1 MiB: {report:#}");
    for at in 0..2 {
        assert!(report["tiers"][at]["canary"].is_u64(), "{report:#}");
    }
    let text = healthy(&all.gateway, &["doctor"]).await;
    assert!(text.contains("0 problems, 0 warnings, 1 notes; 1 gateways answered, with 2 tiers"), "{text}");
    let told: Value = serde_json::from_str(&healthy(&all.gateway, &["doctor", "--json"]).await).expect("JSON");
    assert_eq!(told["worst"], "note", "{told:#}");
}

/// What the command line says once it ends with 0.
async fn healthy(gateway: &Gateway, words: &[&str]) -> String {
    eventually("the exit code is 0", async || {
        let (code, text) = gateway.command(words).await;
        (code == Some(0)).then_some(text)
    })
    .await
}

#[tokio::test]
async fn the_demo_with_its_disk_tier_is_looked_at_too() {
    let gateway = Gateway::with().without_tasks().start().await;
    fed(&gateway).await;
    healthy(&gateway, &["doctor"]).await;
    assert!(verified(&gateway, 0).await["ever"] == true);
}

#[tokio::test]
async fn writes_are_verified_all_the_time_and_the_age_grows_while_a_store_is_frozen() {
    let mut all = Deployment::with(&format!("[cache]\nverify_every = \"1s\"\n{NO_TASKS}")).await;
    for at in 0..2 {
        eventually("verified", async || (verified(&all.gateway, at).await["ever"] == true).then_some(())).await;
    }
    let age = async |tier: &str| all.gateway.metric("tier_last_verified_write_age_seconds", &[tier]).await;
    all.memcached.freeze();
    eventually("the age grows", async || (age("memcached").await > 4.0).then_some(())).await;
    eventually("the other one is verified", async || (age("redis").await < 4.0).then_some(())).await;
    let frozen = verified(&all.gateway, 0).await;
    assert!(frozen["error"].as_str().is_some_and(|why| why.contains("not stored")), "{frozen}");
    all.memcached.thaw();
    eventually("verified again", async || (age("memcached").await < 3.0).then_some(())).await;

    // Canaries are nobody's data.
    let gateway = look(&all.gateway).await["gateway"].as_str().expect("a name").to_owned();
    let key = format!("tiergate:canary:{gateway}");
    let stored = all.to_redis.get(&key).await.expect("a canary");
    assert!(String::from_utf8_lossy(&stored).contains("version"));
    let left = all.to_redis.pttl(&key).await;
    assert!((1..=10_000).contains(&left), "it ends soon: {left}");
    let explained = all.gateway.admin_get(&format!("/api/admin/explain/{key}")).await.json();
    assert_eq!((&explained["writes"], &explained["quarantined"]), (&json!([]), &json!([])), "{explained:#}");
    assert_eq!(explained["tiers"][0]["holds"], "nothing", "{explained:#}");
}

/// What the command line says of several gateways, and its exit code.
async fn doctor(gateways: &[&Gateway]) -> (Option<i32>, Value) {
    let mut command = Command::new(binary());
    command.args(["doctor", "--json"]);
    for gateway in gateways {
        command.args(["--admin", &format!("http://{}", gateway.admin), "--admin-token-file"]);
        command.arg(gateway.data_dir().join("admin.token"));
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
    (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).expect("JSON"))
}

#[tokio::test]
async fn gateways_that_share_their_stores_see_each_others_canaries_and_others_do_not() {
    let (memcached, redis, other) = (Memcached::start().await, Redis::start().await, Redis::start().await);
    let over = |redis: &Redis| Gateway::with().tier(memcached.url()).tier(redis.url()).without_tasks();
    let (a, b, apart) = tokio::join!(over(&redis).start(), over(&redis).start(), over(&other).start());
    for gateway in [&a, &b, &apart] {
        fed_again(gateway).await;
    }
    let together = eventually("together they are well", async || {
        let (code, together) = doctor(&[&a, &b]).await;
        (code == Some(0)).then_some(together)
    })
    .await;
    assert_eq!(together["gateways"].as_array().map(Vec::len), Some(2));
    assert_eq!(named(&together, "gateway-not-asked"), [&Value::Null; 0]);
    // Where one is asked alone, the other is known by its heartbeats.
    let other = look(&b).await["gateway"].as_str().expect("a name").to_owned();
    let text = eventually("the other one is known", async || {
        let (_, text) = a.command(&["doctor"]).await;
        text.contains("gateway-not-asked").then_some(text)
    })
    .await;
    assert!(
        text.contains(&format!("note     gateway-not-asked: gateway {other} is known by its heartbeats")),
        "{text}"
    );
    assert!(text.contains("1 gateways answered, with 2 tiers, and 1 known ones did not"), "{text}");
    assert_eq!(look(&a).await["neighbours"][0]["name"], json!(other));
    // The token of one gateway is none of another.
    let at_b = format!("http://{}", b.admin);
    let (code, text) = a.command(&["doctor", "--admin", &at_b]).await;
    assert!(code == Some(1) && text.contains(&format!("gateway-refused: gateway {at_b} ")), "{text}");
    // Each of two does not see the third, nor that one them.
    let told = eventually("the third is apart", async || {
        let (code, told) = doctor(&[&a, &b, &apart]).await;
        (code == Some(1) && named(&told, "gateways-apart").len() == 4).then_some(told)
    })
    .await;
    let found = named(&told, "gateways-apart");
    assert!(found.iter().all(|finding| finding["where"]["tier"] == "redis"), "{found:#?}");

    let gone = format!("http://{}", apart.admin);
    drop(apart);
    let (code, text) = a.command(&["doctor", "--admin", &gone]).await;
    assert!(code == Some(1) && text.contains("gateway-unreachable") && text.contains(&gone), "{text}");
}

/// Several gateways write the same document; whoever comes later is newer.
async fn fed_again(gateway: &Gateway) {
    let reply = gateway.put("analysis:signals", moved_to_now(&fixture("analysis:signals.json"))).await;
    assert!(matches!(reply.status.as_u16(), 200 | 409), "{}", reply.text());
    eventually("it is shown", async || (gateway.get("/readyz").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_gateway_that_keeps_serving_an_older_value_than_another_is_found_until_both_serve_the_same() {
    let alone = || Gateway::with().without_tasks();
    let (older, newer) = tokio::join!(alone().start(), alone().start());
    fed(&older).await;
    let payload = moved_to_now(&fixture("analysis:signals.json"));
    assert_eq!(newer.put("analysis:signals", payload.clone()).await.status, 200);
    let (code, told) = doctor(&[&newer, &older]).await;
    let found = named(&told, "values-apart");
    let place = json!({ "key": "analysis:signals", "gateway": format!("http://{}", older.admin) });
    assert!(code == Some(1) && found.len() == 1 && found[0]["where"] == place, "{told:#}");
    let evidence = found[0]["evidence"].as_str().expect("evidence");
    assert!(evidence.contains(&format!("http://{} serves version ", newer.admin)), "{evidence}");
    assert_eq!(older.put("analysis:signals", payload).await.status, 200);
    let (_, told) = doctor(&[&newer, &older]).await;
    assert_eq!((named(&told, "values-apart").len(), named(&told, "check-not-done").len()), (0, 0), "{told:#}");
    for wrong in ["served/", "served/x", "served/-1"] {
        assert_eq!(newer.admin_get(&format!("/api/admin/doctor/{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_tier_that_keeps_an_older_value_than_the_others_is_found_until_it_takes_the_newer_one() {
    let mut all = Deployment::with(NO_TASKS).await;
    fed(&all.gateway).await;
    assert_eq!(named(&look(&all.gateway).await, "tiers-apart"), [&Value::Null; 0]);
    // It answers who reads, and refuses who writes.
    all.to_redis.set_config("min-replicas-to-write", "1").await;
    let reply = all.gateway.put("analysis:signals", moved_to_now(&fixture("analysis:signals.json"))).await;
    assert_eq!((reply.outcome("memcached"), reply.outcome("redis")), ("stored".to_owned(), "queued".to_owned()));
    let report = look(&all.gateway).await;
    let found = named(&report, "tiers-apart");
    assert!(
        found.len() == 1 && found[0]["where"] == json!({ "key": "analysis:signals", "tier": "redis" }),
        "{report:#}"
    );
    for (code, evidence) in [("lane-waiting", "`analysis:signals`"), ("write-not-verified", "NOREPLICAS")] {
        let found = named(&report, code);
        assert!(found.len() == 1 && found[0]["where"] == json!({ "tier": "redis" }), "{code} in {report:#}");
        assert!(found[0]["evidence"].as_str().is_some_and(|text| text.contains(evidence)), "{code} in {report:#}");
    }
    all.to_redis.set_config("min-replicas-to-write", "0").await;
    eventually("it has the newer one", async || {
        let report = look(&all.gateway).await;
        ["tiers-apart", "lane-waiting", "write-not-verified"]
            .iter()
            .all(|code| named(&report, code).is_empty())
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plugin_on_probation_is_noted_with_its_slot_as_long_as_it_is() {
    let gateway = Gateway::with().config("[plugins.probation]\nlasts = \"10m\"").start().await;
    let step = async |step: &str, body: &[u8]| {
        let path = format!("/api/admin/plugins/warmer/{step}");
        let reply = gateway.admin_send(Method::POST, &path, body.to_vec().into()).await;
        assert_eq!(reply.status, 200, "{step}: {}", reply.text());
    };
    step("load?config=%7B%7D", built_in("warmer").expect("a built-in plugin")).await;
    assert_eq!(named(&look(&gateway).await, "plugin-on-probation"), [&Value::Null; 0]);
    step("use", &[]).await;
    let report = look(&gateway).await;
    let found = named(&report, "plugin-on-probation");
    assert_eq!(found.len(), 1, "{report:#}");
    assert_eq!((&found[0]["severity"], &found[0]["where"]), (&json!("note"), &json!({ "plugin": "warmer" })));
    assert_eq!(found[0]["evidence"], "generation 2 serves, 1 runs beside it");
    step("rollback", &[]).await;
    assert_eq!(named(&look(&gateway).await, "plugin-on-probation"), [&Value::Null; 0]);
}

#[tokio::test]
async fn the_exit_code_is_3_where_the_worst_is_a_warning() {
    let gateway = Gateway::with().without_tasks().start().await;
    let text = eventually("the exit code is 3", async || {
        let (code, text) = gateway.command(&["doctor"]).await;
        (code == Some(3)).then_some(text)
    })
    .await;
    assert!(text.contains("warning  document-missing: analysis:signals") && text.contains("0 problems, "), "{text}");
    let told = eventually("and 3 where the gateways are named", async || {
        let (code, told) = doctor(&[&gateway]).await;
        (code == Some(3)).then_some(told)
    })
    .await;
    assert_eq!(told["worst"], "warning", "{told:#}");
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_a_finding_and_a_wrong_question_is_told() {
    let redis = Redis::start().await;
    let gateway = Gateway::with().tier(redis.url()).without_tasks().start().await;
    let report = look(&gateway).await;
    assert_eq!(named(&report, "document-missing")[0]["where"], json!({ "key": "analysis:signals" }), "{report:#}");
    let mut operator = PlainRedis::connect(redis.port()).await;
    operator.allow("-info").await;
    let report = look(&gateway).await;
    let refuses = named(&report, "tier-refuses");
    assert!(refuses.len() == 1 && refuses[0]["where"] == json!({ "tier": "redis" }), "{report:#}");
    assert!(refuses[0]["evidence"].as_str().is_some_and(|text| text.contains("no permissions")), "{report:#}");
    operator.allow("+info").await;
    redis.freeze();
    let report = look(&gateway).await;
    assert_eq!(named(&report, "tier-silent")[0]["where"], json!({ "tier": "redis" }), "{report:#}");
    assert_eq!(named(&report, "check-not-done").len(), 1, "{report:#}");
    eventually("nobody waits for it", async || {
        let report = look(&gateway).await;
        let open = named(&report, "breaker-open");
        assert!(open.iter().all(|finding| finding["where"] == json!({ "tier": "redis" })), "{report:#}");
        (!open.is_empty()).then_some(())
    })
    .await;
    redis.thaw();
    eventually("it is asked again", async || {
        let report = look(&gateway).await;
        ["breaker-open", "tier-silent", "changes-missed"]
            .iter()
            .all(|code| named(&report, code).is_empty())
            .then_some(())
    })
    .await;
    for (path, status) in [("/canary/..%2f", 400), ("/canary/", 400), ("/cure", 404)] {
        assert_eq!(gateway.admin_get(&format!("/api/admin/doctor{path}")).await.status, status, "{path}");
    }
    let unknown = gateway.admin_get("/api/admin/doctor/canary/abc").await.json();
    assert_eq!(unknown, json!({ "tiers": { "redis": { "version": null } } }));
    let wrong = gateway.admin_get("/api/admin/doctor").await;
    assert_eq!(wrong.status, 200);
}

#[tokio::test]
async fn a_server_without_room_and_a_full_lane_are_found() {
    let redis = Redis::with().args(["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"]).start().await;
    let limits = format!("[recovery]\nkeys_max = 1\n{NO_TASKS}");
    let mut gateway = Gateway::with().tier(redis.url()).config(&limits).start().await;
    fed(&gateway).await;
    let mut foreign = PlainRedis::connect(redis.port()).await;
    assert_eq!(named(&look(&gateway).await, "tier-full"), [&Value::Null; 0]);
    foreign.set_config("maxmemory", "1").await;
    let report = look(&gateway).await;
    let full = named(&report, "tier-full");
    assert!(full.len() == 1 && full[0]["where"] == json!({ "tier": "redis" }), "{report:#}");
    assert_eq!(named(&report, "tier-nearly-full").len(), 1, "{report:#}");
    foreign.set_config("maxmemory", "0").await;
    redis.freeze();
    let reply = gateway.put("k", "1").await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let report = look(&gateway).await;
    let lane = named(&report, "lane-full");
    assert!(lane.len() == 1 && lane[0]["evidence"].as_str().is_some_and(|text| text.contains("`k`")), "{report:#}");
    redis.thaw();
    gateway = gateway.kill().start().await;
    assert_eq!(look(&gateway).await["tiers"][0]["summary"], json!(format!("redis at {}", redis.address())));
}
