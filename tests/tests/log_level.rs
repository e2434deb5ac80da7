//! The log's level is changed while the gateway serves, per module, and nothing but the log changes.

use std::process::Command;

use hyper::Method;
use serde_json::Value;
use tiergate_tests::{Gateway, Memcached, binary, eventually};

const PATH: &str = "/api/admin/log-level";

/// How many lines the log has of a payload that was refused, after one more was.
async fn lines_after_a_refusal(gateway: &Gateway) -> usize {
    assert_eq!(gateway.put("k", "nonsense").await.status, 422);
    gateway.log().iter().filter(|line| line.contains("a payload was refused")).count()
}

#[tokio::test]
async fn what_is_logged_changes_while_it_runs_per_module() {
    let gateway = Gateway::with().start().await;
    lines_after_a_refusal(&gateway).await;
    let loud = eventually("a refusal is logged", async || {
        let lines = lines_after_a_refusal(&gateway).await;
        (lines > 0).then_some(lines)
    })
    .await;
    let quiet = gateway.admin_send(Method::PUT, PATH, "tiergate::cache=error,info".into()).await;
    assert_eq!(quiet.status, 200, "{}", quiet.text());
    assert!(
        quiet.json()["before"].as_str().is_some_and(|before| before.contains("tiergate=debug")),
        "{}",
        quiet.text()
    );
    let level = gateway.admin_get(PATH).await.json();
    assert!(level["level"].as_str().is_some_and(|level| level.contains("tiergate::cache=error")), "{level}");
    // The line that tells the change is of another module, and of another level.
    eventually("the change is logged", async || {
        gateway.log().iter().any(|line| line.contains("the level of the log was changed")).then_some(())
    })
    .await;
    let before = gateway.log().iter().filter(|line| line.contains("a payload was refused")).count();
    for _ in 0..5 {
        assert_eq!(lines_after_a_refusal(&gateway).await, before, "at least {loud}");
    }
    let wrong = gateway.admin_send(Method::PUT, PATH, "tiergate=loud".into()).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    assert_eq!(gateway.admin_get(PATH).await.json(), level, "the old one holds on");
}

#[tokio::test]
async fn the_command_line_tells_and_changes_it() {
    let gateway = Gateway::with().start().await;
    let (admin, token) = (format!("http://{}", gateway.admin), gateway.data_dir().join("admin.token"));
    let log = async |words: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["log", "level"]).args(words).args(["--admin", &admin, "--admin-token-file"]).arg(&token);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert!(log(&[]).await.1.contains("tiergate=debug"));
    let (code, told) = log(&["warn,tiergate::tier=trace"]).await;
    assert!(code == Some(0) && told.contains("tiergate::tier=trace"), "{told}");
    let (code, told) = log(&["tiergate=loud"]).await;
    assert!(code == Some(3) && told.contains("write `info`"), "{told}");
    assert!(log(&[]).await.1.contains("tiergate::tier=trace"));
}

/// What a PUT, a GET and a DELETE are told, but for the version, which no two writes have in common.
async fn told(gateway: &Gateway) -> Vec<(u16, Value, Vec<String>)> {
    let path = "/api/cache/k";
    let mut told = Vec::new();
    for (method, body) in [
        (Method::GET, ""),
        (Method::PUT, "{\"n\": NaN}"),
        (Method::GET, ""),
        (Method::PUT, "nonsense"),
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::GET, ""),
    ] {
        let reply = gateway.send(method, path, &[], body.into()).await;
        let mut answer = reply.json();
        if let Some(fields) = answer.as_object_mut() {
            fields.remove("version");
        }
        let headers = ["content-type", "etag", "tiergate-kind", "tiergate-schema", "tiergate-repairs"]
            .map(|name| reply.headers.get(name).map_or_else(String::new, |value| format!("{value:?}")));
        told.push((reply.status.as_u16(), answer, headers.to_vec()));
    }
    told
}

#[tokio::test]
async fn no_outcome_depends_on_what_is_logged() {
    let memcached = Memcached::start().await;
    // Whether a store answers in time is no part of what is compared.
    let starting = Gateway::with().tier(memcached.url()).config("[cache]\ndeadline = \"10s\"");
    let gateway = starting.without_tasks().start().await;
    let mut all = Vec::new();
    for level in ["off", "trace", "off"] {
        let set = gateway.admin_send(Method::PUT, PATH, level.into()).await;
        assert_eq!(set.status, 200, "{}", set.text());
        all.push(told(&gateway).await);
    }
    let statuses: Vec<u16> = all[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [404, 200, 200, 422, 200, 200, 404]);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[1], all[2]);
}
