//! The mobile page in a real browser, at phone and at desktop width.

use std::fmt::Write as _;

use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::{Value, json};
use tiergate_tests::{
    Browser, Gateway, NO_TASKS, Starting, click, eventually, fixture, listening, moved_to_now, now_seconds, press, says,
};

const PHONE: (u32, u32) = (390, 844);
const SMALLEST: (u32, u32) = (320, 640);
const DESKTOP: (u32, u32) = (1280, 900);

/// Bytes over the wire, compressed, until the page shows data.
const FIRST_VIEW_BYTES_MAX: f64 = 60_000.0;

const BTC: &str = "li[data-symbol=BTCUSDT]";

async fn open(gateway: &Gateway, (width, height): (u32, u32)) -> Browser {
    let browser = Browser::open(width, height).await;
    visit(&browser, gateway).await;
    browser
}

async fn visit(browser: &Browser, gateway: &Gateway) {
    // `localhost` is what browsers trust with a service worker.
    let (_, port) = gateway.data.split_once(':').expect("a port");
    browser.page.goto(&format!("http://localhost:{port}/mobile")).await.expect("the page opens");
}

async fn close(browser: Browser) {
    browser.page.clone().close().await.expect("the window closes");
}

async fn assert_no_sideways_scroll(browser: &Browser) {
    let wide = browser.script("return document.documentElement.scrollWidth - innerWidth;").await;
    assert!(wide.as_i64().expect("a number") <= 0, "{wide} pixels too wide");
}

async fn open_bitcoin(browser: &Browser) {
    click(browser, &format!("{BTC} summary")).await;
    eventually("the row is open", async || (browser.count(&format!("{BTC} .parts > li")).await == 6).then_some(()))
        .await;
}

fn signal(symbol: &str, score: f64, price: f64) -> Value {
    json!({ "symbol": symbol, "confluence_score": score, "price": price, "change_24h": 1.25, "reliability": 0.9,
            "volume_24h": 1_000.0, "timestamp": now_seconds(), "components": { "technical": 70.0, "volume": 40.0 } })
}

async fn send(gateway: &Gateway, signals: &[Value]) {
    let lines = signals.iter().fold(String::new(), |mut lines, signal| {
        writeln!(lines, "{signal}").expect("a String takes every write");
        lines
    });
    let reply = gateway.ingest(lines).await;
    assert!(reply.status.is_success(), "{}", reply.text());
}

fn quiet() -> Starting {
    Gateway::with().config(NO_TASKS)
}

#[tokio::test]
async fn the_demo_is_shown_live_on_a_phone_and_on_a_desktop() {
    let gateway = Gateway::with().demo().start().await;
    for size in [SMALLEST, PHONE, DESKTOP] {
        let browser = open(&gateway, size).await;
        eventually("31 rows", async || (browser.count("#rows > li").await == 31).then_some(())).await;
        eventually("the page says that it is live", async || {
            browser.text("#link").await.to_lowercase().starts_with("live").then_some(())
        })
        .await;
        let market = browser.text("#market").await;
        assert!(market.contains("up") && market.contains('%'), "{market}");
        let first = async || browser.text("#rows > li .quote").await;
        let before = first().await;
        eventually("a row changes by itself", async || (first().await != before).then_some(())).await;
        assert_no_sideways_scroll(&browser).await;
        assert_eq!(browser.errors().await, [""; 0]);
        close(browser).await;
    }
}

#[tokio::test]
async fn a_write_is_seen_to_change_a_row_by_one_connection_and_the_reader_keeps_the_place() {
    let gateway = quiet().start().await;
    let many: Vec<Value> = (0..40).map(|n| signal(&format!("C{n:02}USDT"), 50.0, 1.0)).collect();
    send(&gateway, &many).await;
    send(&gateway, &[signal("BTCUSDT", 90.0, 60_000.0)]).await;
    let browser = open(&gateway, PHONE).await;
    says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
    listening(&gateway, 1.0).await;
    let asked =
        "return performance.getEntriesByType('resource').filter(one => one.name.includes('/dashboard/live')).length;";
    let before = browser.script(asked).await;
    let watch = "window.marks = 0; const animate = Element.prototype.animate;
                 Element.prototype.animate = function (...given) { window.marks += 1; return animate.apply(this, given); };
                 scrollTo({ top: 1500, behavior: 'instant' });
                 window.row = document.querySelector('li[data-symbol=BTCUSDT]');
                 return document.getElementById('rows').getBoundingClientRect().top;";
    let place = browser.script(watch).await;
    send(&gateway, &[signal("BTCUSDT", 30.0, 61_234.5)]).await;
    says(&browser, &format!("{BTC} .quote"), "$61,234.50").await;
    let top = "return document.getElementById('rows').getBoundingClientRect().top;";
    assert_eq!(browser.script(top).await, place, "the list stays where it is");
    let marked = "return window.marks > 0 && window.row === document.querySelector('li[data-symbol=BTCUSDT]');";
    assert_eq!(browser.script(marked).await, json!(true), "the same row, marked as changed");
    assert_eq!(browser.script(asked).await, before, "the stream told, nobody asked again");
    assert_eq!(browser.errors().await, [""; 0]);
    close(browser).await;
}

#[tokio::test]
async fn without_a_place_for_a_stream_the_page_asks_again_and_again() {
    let gateway =
        quiet().config("[http]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nstreams_max = 0").start().await;
    send(&gateway, &[signal("BTCUSDT", 60.0, 60_000.0)]).await;
    let browser = open(&gateway, PHONE).await;
    says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
    send(&gateway, &[signal("BTCUSDT", 61.0, 61_000.0)]).await;
    says(&browser, &format!("{BTC} .quote"), "$61,000.00").await;
    close(browser).await;
}

#[tokio::test]
async fn missing_and_old_data_look_different_from_good_data_and_zeros_are_not_invented() {
    let gateway = Gateway::with().start().await;
    let browser = open(&gateway, PHONE).await;
    says(&browser, "#market .badge", "no data").await;
    says(&browser, "#btc_dominance", "n/a").await;
    says(&browser, "#trend", "n/a").await;

    // Half an hour old: shown, and called old.
    let text = String::from_utf8(moved_to_now(&fixture("market:overview.json"))).unwrap();
    let mut overview: Value = serde_json::from_str(&text).unwrap();
    overview["timestamp"] = json!(overview["timestamp"].as_f64().unwrap() - 1_800.0);
    assert_eq!(gateway.put("market:overview", overview.to_string()).await.status, 200);
    eventually("the overview is shown with its age", async || {
        let badge = browser.text("#market .badge").await.to_lowercase();
        (badge.contains("old") && badge.contains("30 min")).then_some(())
    })
    .await;
    says(&browser, "#btc_dominance", "57.2").await;
    let shapes = "const shape = (id) => getComputedStyle(document.querySelector(`#${id} .badge`), '::before').clipPath;
                  return [shape('market'), shape('symbols')];";
    let shapes = browser.script(shapes).await;
    assert_ne!(shapes[0], shapes[1], "old and missing differ in shape");
    close(browser).await;
}

#[tokio::test]
async fn components_are_broken_down_on_tap_and_absent_ones_are_shown_as_absent() {
    let gateway = quiet().start().await;
    send(&gateway, &[signal("BTCUSDT", 60.0, 60_000.0)]).await;
    let browser = open(&gateway, PHONE).await;
    says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
    open_bitcoin(&browser).await;
    let parts = browser.text(&format!("{BTC} .parts")).await;
    assert!(parts.contains("Technical") && parts.contains("70"), "{parts}");
    assert_eq!(parts.matches("Not measured").count(), 4, "{parts}");
    close(browser).await;
}

#[tokio::test]
async fn symbols_are_searched_sorted_and_kept_as_favourites_on_the_device() {
    let gateway = quiet().start().await;
    let some = [signal("BTCUSDT", 60.0, 60_000.0), signal("ETHUSDT", 80.0, 3_000.0), signal("SOLUSDT", 20.0, 150.0)];
    send(&gateway, &some).await;
    let browser = open(&gateway, DESKTOP).await;
    let names = async || {
        browser.script("return [...document.querySelectorAll('#rows > li')].map(row => row.dataset.symbol);").await
    };
    eventually("best score first", async || (names().await == json!(["ETHUSDT", "BTCUSDT", "SOLUSDT"])).then_some(()))
        .await;
    click(&browser, "input[name=sort][value=name]").await;
    assert_eq!(names().await, json!(["BTCUSDT", "ETHUSDT", "SOLUSDT"]));
    let search = browser.page.find(Locator::Css("#search")).await.unwrap();
    search.send_keys("so").await.unwrap();
    assert_eq!(names().await, json!(["SOLUSDT"]));
    assert!(browser.text("#count").await.contains("1 of 3"));
    search.send_keys("xx").await.unwrap();
    says(&browser, "#rows-empty", "no symbol matches").await;
    browser.script("document.getElementById('search').value = '';").await;

    click(&browser, "input[name=filter][value=favourites]").await;
    says(&browser, "#rows-empty", "no favourites yet").await;
    click(&browser, "input[name=filter][value=all]").await;
    click(&browser, "li[data-symbol=SOLUSDT] .star").await;
    visit(&browser, &gateway).await;
    eventually("the rows are back", async || (browser.count("#rows > li").await == 3).then_some(())).await;
    click(&browser, "input[name=filter][value=favourites]").await;
    assert_eq!(names().await, json!(["SOLUSDT"]), "kept on the device");
    assert_eq!(browser.errors().await, [""; 0]);
    close(browser).await;
}

#[tokio::test]
async fn a_thousand_symbols_come_page_by_page_and_the_first_view_is_small() {
    let gateway = quiet().start().await;
    let many: Vec<Value> =
        (0..1_000).map(|n| signal(&format!("C{n:03}USDT"), f64::from(n) / 11.0, 1.0 + f64::from(n) / 7.0)).collect();
    send(&gateway, &many).await;
    let browser = open(&gateway, PHONE).await;
    eventually("the count is known", async || browser.text("#count").await.starts_with("1000").then_some(())).await;
    let wire =
        "const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
                return all.reduce((sum, one) => sum + one.transferSize, 0);";
    let bytes = browser.script(wire).await.as_f64().unwrap();
    assert!(bytes > 5_000.0 && bytes <= FIRST_VIEW_BYTES_MAX, "{bytes} bytes");
    assert!(browser.count("#rows > li").await <= 120, "not all rows are drawn at first");
    eventually("the last symbol is reached by scrolling", async || {
        browser.script("scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });").await;
        (browser.count("#rows > li").await == 1_000).then_some(())
    })
    .await;
    let search = browser.page.find(Locator::Css("#search")).await.unwrap();
    search.send_keys("C007").await.unwrap();
    eventually("one is found among all", async || (browser.count("#rows > li").await == 1).then_some(())).await;
    assert_eq!(browser.errors().await, [""; 0]);
    close(browser).await;
}

#[tokio::test]
async fn the_page_opens_without_the_gateway_with_the_last_data_and_its_age() {
    let gateway = quiet().start().await;
    send(&gateway, &[signal("BTCUSDT", 60.0, 60_000.0)]).await;
    let browser = open(&gateway, PHONE).await;
    says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
    let ready = "return navigator.serviceWorker.ready.then(async () =>
                     [await caches.has('tiergate-data'), (await (await caches.open('tiergate-page-1')).keys()).length]);";
    eventually("page and data are kept", async || {
        let kept = browser.script(ready).await;
        (kept[0] == true && kept[1].as_u64()? >= 10).then_some(())
    })
    .await;
    let manifest = browser.devtools("Page.getAppManifest", json!({})).await;
    assert_eq!(manifest["errors"], json!([]), "{manifest}");
    let address = browser.page.current_url().await.unwrap();
    let starting = gateway.kill();
    browser.page.goto(address.as_str()).await.unwrap();
    says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
    says(&browser, "#symbols .badge", "offline").await;
    says(&browser, "#banner", "last data received").await;
    assert!(browser.text("#symbols .badge").await.contains("old"), "{}", browser.text("#symbols .badge").await);
    drop(starting);
    close(browser).await;
}

#[tokio::test]
async fn an_alert_is_told_when_its_threshold_is_crossed_and_once() {
    let gateway = quiet().start().await;
    send(&gateway, &[signal("BTCUSDT", 60.0, 60_000.0)]).await;
    let browser = open(&gateway, PHONE).await;
    says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
    open_bitcoin(&browser).await;
    let threshold = browser.page.find(Locator::Css(&format!("{BTC} input[name=at]"))).await.unwrap();
    threshold.send_keys("61000").await.unwrap();
    browser.script("Notification.requestPermission = async () => 'denied';").await;
    click(&browser, &format!("{BTC} .alert button")).await;
    says(&browser, "#alert-list", "BTC: Price above $61,000.00").await;
    assert_eq!(browser.text("#toast").await, "", "not yet");
    send(&gateway, &[signal("BTCUSDT", 60.0, 61_500.0)]).await;
    says(&browser, "#toast", "$61,500.00").await;
    click(&browser, "#toast-close").await;
    send(&gateway, &[signal("BTCUSDT", 60.0, 61_600.0)]).await;
    says(&browser, &format!("{BTC} .quote"), "$61,600.00").await;
    assert_eq!(browser.text("#toast").await, "", "told once");
    click(&browser, "#alert-list button").await;
    assert_eq!(browser.text("#alerts").await, "");
    close(browser).await;
}

#[tokio::test]
async fn the_page_is_walked_by_keyboard() {
    let gateway = quiet().start().await;
    send(&gateway, &[signal("BTCUSDT", 60.0, 60_000.0)]).await;
    let browser = open(&gateway, PHONE).await;
    says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
    let here = "const at = document.activeElement;
                return at.id || at.dataset.f || at.name || at.getAttribute('href') || at.tagName;";
    let mut walked = Vec::new();
    for _ in 0..20 {
        press(&browser, Key::Tab).await;
        walked.push(browser.script(here).await.as_str().unwrap().to_owned());
        if walked.last().is_some_and(|at| at == "head") {
            break;
        }
    }
    let expected =
        ["#symbols", "#market", "#movers", "#opportunities", "#symbols", "search", "filter", "sort", "star", "head"];
    assert_eq!(walked, expected);
    press(&browser, Key::Enter).await;
    eventually("the row opens", async || {
        (browser.script("return document.querySelector('details').open;").await == true).then_some(())
    })
    .await;
    let outlined = "return getComputedStyle(document.activeElement).outlineStyle !== 'none';";
    assert_eq!(browser.script(outlined).await, json!(true), "where one is can be seen");
    close(browser).await;
}

#[tokio::test]
async fn nothing_keeps_people_out_in_light_or_dark() {
    let gateway = quiet().start().await;
    send(&gateway, &[signal("BTCUSDT", 60.0, 60_000.0), signal("ETHUSDT", 80.0, 3_000.0)]).await;
    let text = moved_to_now(&fixture("market:overview.json"));
    assert_eq!(gateway.put("market:overview", text).await.status, 200);
    for size in [PHONE, DESKTOP] {
        let browser = open(&gateway, size).await;
        says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
        open_bitcoin(&browser).await;
        for dark in [false, true] {
            browser.prefer_dark(dark).await;
            assert_eq!(browser.inaccessible().await, [""; 0], "{size:?}, dark: {dark}");
        }
        close(browser).await;
    }
}
