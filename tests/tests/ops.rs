//! The operator's console in a real browser, at phone and at desktop width; and its sessions.

use std::process::Command;

use bytes::Bytes;
use fantoccini::Locator;
use fantoccini::key::Key;
use hyper::Method;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{
    Browser, Gateway, Memcached, NO_TASKS, PlainMemcached, Redis, Reply, binary, click, eventually, fixture,
    moved_to_now, press, says,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PHONE: (u32, u32) = (390, 844);
const SMALLEST: (u32, u32) = (320, 640);
const DESKTOP: (u32, u32) = (1280, 900);

const SESSION: &str = "/api/admin/session";

async fn visit(gateway: &Gateway, (width, height): (u32, u32)) -> Browser {
    let browser = Browser::open(width, height).await;
    browser.page.goto(&format!("http://{}/ops", gateway.admin)).await.expect("the page opens");
    says(&browser, "#door", "admin token").await;
    browser
}

async fn write(browser: &Browser, selector: &str, text: &str) {
    let field = browser.page.find(Locator::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    field.send_keys(text).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
}

async fn log_in(browser: &Browser, gateway: &Gateway) {
    write(browser, "#login [name=name]", "ann").await;
    write(browser, "#login [name=token]", &gateway.admin_token()).await;
    click(browser, "#login button").await;
    says(browser, "#link", "live").await;
}

async fn open(gateway: &Gateway, size: (u32, u32)) -> Browser {
    let browser = visit(gateway, size).await;
    log_in(&browser, gateway).await;
    browser
}

async fn close(browser: Browser) {
    assert_eq!(browser.errors().await, [""; 0]);
    browser.page.clone().close().await.expect("the window closes");
}

/// Clicks, is asked once, and says yes.
async fn confirm(browser: &Browser, selector: &str, question: &str) {
    eventually(&format!("{selector} can be clicked"), async || {
        let script = format!("return document.querySelector({selector:?})?.disabled === false;");
        (browser.script(&script).await == true).then_some(())
    })
    .await;
    click(browser, selector).await;
    says(browser, "#ask", question).await;
    click(browser, "#ask-yes").await;
}

async fn assert_no_sideways_scroll(browser: &Browser) {
    let wide =
        browser.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth;").await;
    assert!(wide.as_i64().expect("a number") <= 0, "{wide} pixels too wide");
}

async fn audit(gateway: &Gateway) -> Value {
    gateway.admin_get("/api/admin/audit").await.json()["audit"].clone()
}

fn slot(name: &str, part: &str) -> String {
    format!("#slots > [data-slot={name}] {part}")
}

#[tokio::test]
async fn the_console_is_entered_with_the_token_alone_and_left_again() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    for size in [SMALLEST, PHONE, DESKTOP] {
        let browser = visit(&gateway, size).await;
        write(&browser, "#login [name=token]", "not the token at all").await;
        click(&browser, "#login button").await;
        says(&browser, "#login-refused", "not the token").await;
        let refused = browser.errors().await;
        assert!(refused.iter().all(|line| line.contains("401")), "{refused:?}");
        assert_eq!(browser.text("#console").await, "");
        browser.script("document.querySelector('#login [name=token]').value = '';").await;

        log_in(&browser, &gateway).await;
        says(&browser, "#who", "ann").await;
        says(&browser, "#tier-list", "disk").await;
        says(&browser, "#tier-list .badge", "answers").await;
        says(&browser, "#slots", "aggregator").await;
        says(&browser, "#hour", "requests a second").await;
        says(&browser, "#lines", "logged in to the console").await;
        assert_no_sideways_scroll(&browser).await;
        let cookies = browser.script("return document.cookie;").await;
        assert_eq!(cookies, "", "scripts cannot read the session");

        // One that is logged in stays so.
        browser.page.refresh().await.expect("the page opens again");
        says(&browser, "#link", "live").await;
        // All that it asked for came, and is not refused because the session is over.
        says(&browser, "#lines", "logged in to the console").await;
        says(&browser, "#audit-empty", "nothing was changed").await;
        says(&browser, "#quarantine-empty", "nothing").await;
        eventually("the hour is there", async || (!browser.text("#hour-note").await.is_empty()).then_some(())).await;
        click(&browser, "#log-out").await;
        says(&browser, "#door", "admin token").await;
        browser.page.refresh().await.expect("the page opens again");
        says(&browser, "#door", "admin token").await;
        close(browser).await;
    }
}

#[tokio::test]
async fn a_plugin_is_loaded_shadowed_read_used_and_rolled_back_in_the_console() {
    let gateway = Gateway::with().config(NO_TASKS).config("[plugins.probation]\nlasts = \"10m\"").start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("mine.wasm");
    std::fs::write(&file, built_in("aggregator").expect("a component")).expect("written");
    let browser = open(&gateway, DESKTOP).await;

    click(&browser, &slot("aggregator", "[data-f=loading] summary")).await;
    write(&browser, &slot("aggregator", "[name=component]"), file.to_str().expect("text")).await;
    write(&browser, &slot("aggregator", "[name=config]"), r#"{"dedupe":"highest"}"#).await;
    confirm(&browser, &slot("aggregator", "[data-f=load] button"), "checked and compiled").await;
    says(&browser, "#toast-text", "generation 2 is the candidate").await;
    confirm(&browser, &slot("aggregator", "[data-f=shadow]"), "nothing of it is served").await;
    says(&browser, &slot("aggregator", ".badge"), "generation 2 in shadow").await;

    // By the candidate's rule the highest of a symbol's signals counts, by the active one's the last.
    for (symbol, score) in [("AUSDT", 80), ("AUSDT", 40), ("BUSDT", 60)] {
        let body = json!({ "symbol": symbol, "confluence_score": score, "price": 10, "change_24h": 1.5 });
        assert_eq!(gateway.ingest(body.to_string()).await.status, 200);
    }
    click(&browser, &slot("aggregator", "[data-f=reporting] summary")).await;
    let cell = |column: &str| slot("aggregator", &format!("[data-f=examples] tr:first-child td:nth-child({column})"));
    eventually("a difference is shown, side by side", async || {
        let (active, other) = (browser.text(&cell("2")).await, browser.text(&cell("3")).await);
        (!active.is_empty() && !other.is_empty() && active != other).then_some(())
    })
    .await;
    says(&browser, &slot("aggregator", "[data-f=about]"), "answers differ").await;
    assert_no_sideways_scroll(&browser).await;

    confirm(&browser, &slot("aggregator", "[data-f=use]"), "serves from now on").await;
    says(&browser, &slot("aggregator", ".badge"), "on probation").await;
    says(&browser, "#toast-text", "generation 2").await;
    confirm(&browser, &slot("aggregator", "[data-f=rollback]"), "serves again").await;
    says(&browser, &slot("aggregator", "[data-f=version]"), "generation 1").await;
    confirm(&browser, &slot("aggregator", "[data-f=discard]"), "forgotten").await;
    eventually("nothing but the active one is left", async || {
        (browser.count(&slot("aggregator", "[data-f=generations] li")).await == 0).then_some(())
    })
    .await;
    // It is not shown any more before that is written down.
    says(&browser, "#toast-text", "generation 2 is forgotten").await;
    let steps: Vec<Value> = audit(&gateway).await.as_array().expect("entries").clone();
    let told: Vec<_> = steps.iter().map(|entry| (entry["step"].clone(), entry["by"].clone())).collect();
    let expected = ["discard", "rollback", "use", "shadow", "load"].map(|step| (json!(step), json!("ann")));
    assert_eq!(told, expected);
    says(&browser, "#audit-list", "rollback").await;
    close(browser).await;
}

#[tokio::test]
async fn the_other_gateways_over_the_same_stores_are_shown_and_that_one_is_silent() {
    let redis = Redis::start().await;
    let other = Gateway::with().tier(redis.url()).config(NO_TASKS).start().await;
    let gateway = Gateway::with().tier(redis.url()).config(NO_TASKS).start().await;
    let name = other.admin_get("/api/admin/doctor").await.json()["gateway"].as_str().expect("a name").to_owned();
    let browser = open(&gateway, PHONE).await;
    says(&browser, "#gateway-list", "this one").await;
    says(&browser, "#gateway-list", &name).await;
    says(&browser, "#gateway-list", "Lives").await;
    drop(other.kill());
    says(&browser, "#gateway-list", "Silent for").await;
    close(browser).await;
}

#[tokio::test]
async fn what_is_not_confirmed_is_not_done_and_what_is_refused_is_told() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("junk.wasm");
    std::fs::write(&file, b"junk").expect("written");
    let browser = open(&gateway, PHONE).await;
    click(&browser, &slot("warmer", "[data-f=loading] summary")).await;
    write(&browser, &slot("warmer", "[name=component]"), file.to_str().expect("text")).await;
    click(&browser, &slot("warmer", "[data-f=load] button")).await;
    says(&browser, "#ask", "junk.wasm, 4 bytes").await;
    assert_no_sideways_scroll(&browser).await;
    click(&browser, "#ask-no").await;
    assert_eq!(audit(&gateway).await, json!([]));
    confirm(&browser, &slot("warmer", "[data-f=load] button"), "junk.wasm").await;
    says(&browser, "#toast-text", "not a webassembly component").await;
    let refused = browser.errors().await;
    assert!(refused.iter().all(|line| line.contains("422")), "{refused:?}");
    close(browser).await;
}

#[tokio::test]
async fn a_key_is_searched_and_explained_and_a_quarantined_payload_removed() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).config(NO_TASKS).start().await;
    let mut plain = PlainMemcached::connect(memcached.port()).await;
    assert_eq!(gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await.status, 200);
    plain.set("analysis:signals", b"\x80\x04junk", 1, 300).await;
    let browser = open(&gateway, PHONE).await;

    write(&browser, "#key-search input", "market:over").await;
    click(&browser, "#key-search button").await;
    says(&browser, "#explained", "from memory").await;
    says(&browser, "#explained", "last writes").await;
    let explained = browser.text("#explained").await;
    assert!(explained.contains("memcached") && explained.contains("api"), "{explained}");

    says(&browser, "#quarantine-list", "analysis:signals").await;
    click(&browser, "#quarantine-list summary").await;
    says(&browser, "#quarantine-list", r"\x80\x04junk").await;
    confirm(&browser, "#quarantine-list [data-f=delete]", "exactly these 6 bytes").await;
    says(&browser, "#toast-text", "analysis:signals in memcached: deleted").await;
    says(&browser, "#quarantine-empty", "nothing").await;
    assert_eq!(plain.get("analysis:signals").await, None);
    let entry = audit(&gateway).await[0].clone();
    assert_eq!((&entry["step"], &entry["by"]), (&json!("quarantine-delete"), &json!("ann")), "{entry}");
    assert!(entry["what"].as_str().is_some_and(|what| what.contains("6 bytes of `analysis:signals`")), "{entry}");
    close(browser).await;
}

#[tokio::test]
async fn the_log_is_followed_and_its_level_changed() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    let browser = open(&gateway, DESKTOP).await;
    assert_eq!(gateway.put("some:key", "nonsense").await.status, 422);
    says(&browser, "#lines", "a payload was refused").await;
    click(&browser, "#level-form input").await;
    let field = "return document.querySelector('#level-form input').value;";
    eventually("the level is filled in", async || {
        browser.script(field).await.as_str()?.contains("tiergate=debug").then_some(())
    })
    .await;
    browser.script("document.querySelector('#level-form input').value = 'warn';").await;
    confirm(&browser, "#level-form button", "from now on: warn").await;
    says(&browser, "#toast-text", "logged is now: warn").await;
    assert_eq!(gateway.admin_get("/api/admin/log-level").await.json()["level"], "warn");
    let entry = audit(&gateway).await[0].clone();
    assert_eq!(
        (&entry["step"], &entry["by"], &entry["what"]),
        (&json!("log-level"), &json!("ann"), &json!("warn")),
        "{entry}"
    );
    close(browser).await;
}

#[tokio::test]
async fn who_only_looks_sees_everything_and_the_gateway_refuses_every_change() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    let browser = visit(&gateway, PHONE).await;
    click(&browser, "#login [name=look_only]").await;
    log_in(&browser, &gateway).await;
    says(&browser, "#who", "looking only").await;
    says(&browser, "#slots", "aggregator").await;
    let usable = "return [...document.querySelectorAll('#console [data-act]')].filter(one => !one.disabled).length;";
    assert_eq!(browser.script(usable).await, json!(0));
    // The page does not offer it; the gateway does not take it either.
    let change = "const headers = { 'tiergate-console': '1' };
        const send = (method, path, body) => fetch(path, { method, body, headers }).then(async (answer) =>
            [answer.status, (await answer.json()).error.code]);
        return Promise.all([send('PUT', '/api/admin/log-level', 'warn'), send('DELETE', '/api/admin/quarantine/1'),
                            send('POST', '/api/admin/plugins/warmer/rollback')]);";
    assert_eq!(browser.script(change).await, json!([[403, "look-only"], [403, "look-only"], [403, "look-only"]]));
    assert_eq!(audit(&gateway).await, json!([]));
    let refused = browser.errors().await;
    assert!(refused.iter().all(|line| line.contains("403")), "{refused:?}");
    close(browser).await;
}

#[tokio::test]
async fn the_console_says_when_the_gateway_is_gone_and_goes_on_when_it_is_back() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    let admin = gateway.admin.clone();
    let browser = open(&gateway, PHONE).await;
    let starting = gateway.kill();
    says(&browser, "#banner", "the gateway does not answer").await;
    says(&browser, "#link", "disconnected").await;
    let gateway = starting.env("TIERGATE_HTTP__ADMIN", &admin).start().await;
    // Sessions end with the process.
    says(&browser, "#door", "admin token").await;
    log_in(&browser, &gateway).await;
    drop(browser);
}

#[tokio::test]
async fn the_console_is_walked_by_keyboard() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    let browser = visit(&gateway, DESKTOP).await;
    let here = "const at = document.activeElement;
                return at.id || at.dataset.f || at.name || at.getAttribute('href') || at.textContent.trim();";
    let step = async || {
        press(&browser, Key::Tab).await;
        browser.script(here).await.as_str().expect("a name").to_owned()
    };
    let mut walked = Vec::new();
    while walked.last().is_none_or(|at| at != "Log in") {
        assert!(walked.len() < 20, "{walked:?}");
        walked.push(step().await);
    }
    let links = ["#console", "#tiers", "#keys", "#plugins", "#warmer", "#log"];
    assert_eq!(walked, [&links[..], &["name", "token", "look_only", "Log in"]].concat());
    write(&browser, "#login [name=token]", &gateway.admin_token()).await;
    press(&browser, Key::Enter).await;
    says(&browser, "#link", "live").await;
    says(&browser, "#slots", "aggregator").await;
    let mut walked = Vec::new();
    while walked.last().is_none_or(|at| at != "lines") {
        assert!(walked.len() < 100, "{walked:?}");
        walked.push(step().await);
    }
    for reached in ["contains", "Search", "Load a component", "level", "Change level", "log-loud"] {
        assert!(walked.iter().any(|at| at == reached), "{reached} is not in {walked:?}");
    }
    // A question takes the keyboard, and Escape is no.
    browser.script("document.querySelector('#level-form input').value = 'warn';").await;
    browser.script("document.querySelector('#level-form button').focus();").await;
    press(&browser, Key::Enter).await;
    says(&browser, "#ask", "from now on").await;
    press(&browser, Key::Escape).await;
    assert_eq!(browser.text("#ask").await, "");
    assert_eq!(audit(&gateway).await, json!([]));
    close(browser).await;
}

#[tokio::test]
async fn nothing_keeps_people_out_in_light_or_dark() {
    let memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    let mut plain = PlainMemcached::connect(memcached.port()).await;
    plain.set("analysis:signals", b"\x80\x04junk", 1, 300).await;
    assert_eq!(gateway.put("market:overview", moved_to_now(&fixture("market:overview.json"))).await.status, 200);
    for size in [PHONE, DESKTOP] {
        let browser = visit(&gateway, size).await;
        for dark in [false, true] {
            browser.prefer_dark(dark).await;
            assert_eq!(browser.inaccessible().await, [""; 0], "the door, {size:?}, dark: {dark}");
        }
        log_in(&browser, &gateway).await;
        says(&browser, "#quarantine-list", "analysis:signals").await;
        write(&browser, "#key-search input", "market:overview").await;
        click(&browser, "#key-search button").await;
        says(&browser, "#explained", "a reader gets").await;
        says(&browser, "#tasks", "warm").await;
        browser.script("document.querySelectorAll('#console details').forEach(one => { one.open = true; });").await;
        for dark in [false, true] {
            browser.prefer_dark(dark).await;
            assert_eq!(browser.inaccessible().await, [""; 0], "{size:?}, dark: {dark}");
        }
        browser.page.clone().close().await.expect("the window closes");
    }
}

// === Sessions, without a browser ===

async fn session(gateway: &Gateway, body: &Value) -> Reply {
    gateway.admin_with(Method::POST, SESSION, &[], body.to_string().into()).await
}

/// The cookie of a new session.
async fn cookie(gateway: &Gateway) -> String {
    let reply = session(gateway, &json!({ "token": gateway.admin_token(), "name": "ann" })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let cookie = reply.header("set-cookie").to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; Path=/; Max-Age="), "{cookie}");
    cookie.split(';').next().expect("a pair").to_owned()
}

#[tokio::test]
async fn a_change_by_cookie_needs_the_pages_own_header_and_origin_and_a_token_needs_neither() {
    let gateway = Gateway::with().start().await;
    let cookie = cookie(&gateway).await;
    let origin = format!("http://{}", gateway.admin);
    let put = async |headers: &[(&str, &str)]| {
        let headers = [&[("cookie", &*cookie)], headers].concat();
        let reply = gateway.admin_with(Method::PUT, "/api/admin/log-level", &headers, "info".into()).await;
        (reply.status.as_u16(), reply.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |code: &str| (403, code.to_owned());
    assert_eq!(put(&[]).await, refused("not-the-console"));
    assert_eq!(put(&[("origin", &origin)]).await, refused("not-the-console"));
    assert_eq!(put(&[("tiergate-console", "1")]).await, refused("not-the-console"));
    let foreign = [("tiergate-console", "1"), ("origin", "http://evil.example")];
    assert_eq!(put(&foreign).await, refused("foreign-origin"));
    // The same machine, another port: a page of another origin, though browsers call it the same site.
    assert_eq!(put(&[("tiergate-console", "1"), ("origin", "http://127.0.0.1:1")]).await, refused("foreign-origin"));
    assert_eq!(put(&[("tiergate-console", "1"), ("origin", &origin)]).await.0, 200);
    let by_token = gateway.admin_send(Method::PUT, "/api/admin/log-level?by=bob", "info".into()).await;
    assert_eq!(by_token.status, 200, "{}", by_token.text());
    let audit = audit(&gateway).await;
    let by: Vec<_> = audit.as_array().expect("entries").iter().map(|entry| entry["by"].clone()).collect();
    assert_eq!(by, ["bob", "ann"]);
}

#[tokio::test]
async fn a_session_is_refused_without_the_token_and_is_over_after_the_logout() {
    let gateway = Gateway::with().start().await;
    let wrong = session(&gateway, &json!({ "token": "x".repeat(64) })).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]["code"]), (401, &json!("wrong-token")));
    assert_eq!(wrong.header("set-cookie"), "");
    for malformed in [json!({}), json!([]), json!({ "token": 1 }), json!({ "token": "a", "more": true })] {
        assert_eq!(session(&gateway, &malformed).await.status, 400, "{malformed}");
    }
    let cookie = cookie(&gateway).await;
    let origin = format!("http://{}", gateway.admin);
    let headers = [("cookie", &*cookie), ("tiergate-console", "1"), ("origin", &origin)];
    let get = async || gateway.admin_with(Method::GET, "/api/admin/plugins", &headers, Bytes::new()).await.status;
    assert_eq!(get().await, 200);
    assert_eq!(gateway.admin_with(Method::DELETE, SESSION, &headers, Bytes::new()).await.status, 200);
    assert_eq!(get().await, 401);
    let none = gateway.admin_with(Method::GET, SESSION, &headers, Bytes::new()).await;
    assert_eq!((none.status.as_u16(), &none.json()["by"]), (200, &Value::Null));
    let metrics =
        gateway.admin_with(Method::GET, "/metrics", &[("cookie", "tiergate-console-1=x")], Bytes::new()).await;
    assert_eq!(metrics.status, 401);
}

/// A stream of states, read up to the first of them.
async fn look(gateway: &Gateway, credentials: &str) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(&gateway.admin).await.expect("a connection");
    let host = &gateway.admin;
    let request = format!("GET /api/admin/stream HTTP/1.1\r\nhost: {host}\r\n{credentials}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut read = String::new();
    while !read.contains("event: state") {
        let mut piece = [0; 16 << 10];
        let bytes = stream.read(&mut piece).await.expect("read");
        read.push_str(&String::from_utf8_lossy(&piece[..bytes]));
        if bytes == 0 || !read.starts_with("HTTP/1.1 200 ") {
            return Err(read);
        }
    }
    Ok(stream)
}

#[tokio::test]
async fn so_many_consoles_may_look_and_one_more_is_refused_until_one_goes() {
    let gateway = Gateway::with().start().await;
    let bearer = format!("authorization: Bearer {}", gateway.admin_token());
    let mut looking = Vec::new();
    for _ in 0..32 {
        looking.push(look(&gateway, &bearer).await.expect("a stream"));
    }
    let refused = look(&gateway, &bearer).await.expect_err("no place is left");
    assert!(refused.contains("503") && refused.contains("console-full"), "{refused}");
    looking.pop();
    eventually("a place is free again", async || look(&gateway, &bearer).await.ok()).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let gateway = Gateway::with().start().await;
    let cookie = cookie(&gateway).await;
    let mut stream = look(&gateway, &format!("cookie: {cookie}")).await.expect("a stream");
    let headers = [("cookie", &*cookie), ("tiergate-console", "1")];
    assert_eq!(gateway.admin_with(Method::DELETE, SESSION, &headers, Bytes::new()).await.status, 200);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(tiergate_tests::PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "it goes on");
    assert!(look(&gateway, &format!("cookie: {cookie}")).await.is_err());
}

#[tokio::test]
async fn what_the_console_does_the_command_line_does_too() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    assert_eq!(gateway.put("app:notes:1", "{}").await.status, 200);
    let (admin, token) = (format!("http://{}", gateway.admin), gateway.data_dir().join("admin.token"));
    let run = async |words: &[&str]| -> Value {
        let mut command = Command::new(binary());
        command.args(words).args(["--admin", &admin, "--admin-token-file"]).arg(&token);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("it runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    assert_eq!(run(&["cache", "keys", "notes"]).await, json!({ "keys": ["app:notes:1"], "total": 1 }));
    let lines = run(&["log", "tail"]).await["lines"].clone();
    let is_told = |line: &Value| line["text"].as_str().is_some_and(|text| text.starts_with("serving dashboard="));
    assert!(lines.as_array().expect("lines").iter().any(is_told), "{lines:#}");
    run(&["log", "level", "warn", "--by", "ann"]).await;
    let entry = run(&["plugin", "audit"]).await["audit"][0].clone();
    assert_eq!((&entry["step"], &entry["by"], &entry["what"]), (&json!("log-level"), &json!("ann"), &json!("warn")));
}
