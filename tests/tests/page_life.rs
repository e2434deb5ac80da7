//! What happens to the mobile page in a phone's pocket: it sleeps and wakes, a part of it breaks, it calls for attention.

use serde_json::{Value, json};
use tiergate_tests::{Browser, Gateway, NO_TASKS, click, eventually, listening, now_seconds, says};

const PHONE: (u32, u32) = (390, 844);

const BTC: &str = "li[data-symbol=BTCUSDT]";

async fn open(gateway: &Gateway) -> Browser {
    let browser = Browser::open(PHONE.0, PHONE.1).await;
    browser.page.goto(&address(gateway)).await.expect("the page opens");
    says(&browser, &format!("{BTC} .quote"), "$60,000.00").await;
    says(&browser, "#link", "live").await;
    browser
}

/// `localhost` is what browsers trust with a service worker.
fn address(gateway: &Gateway) -> String {
    let (_, port) = gateway.data.split_once(':').expect("a port");
    format!("http://localhost:{port}/mobile")
}

async fn send(gateway: &Gateway, price: f64) {
    let signal: Value = json!({ "symbol": "BTCUSDT", "confluence_score": 60.0, "price": price, "change_24h": 1.25,
                                "timestamp": now_seconds() });
    let reply = gateway.ingest(signal.to_string()).await;
    assert!(reply.status.is_success(), "{}", reply.text());
}

#[tokio::test]
async fn a_page_that_wakes_gets_what_it_missed_without_fetching_everything_again() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    send(&gateway, 60_000.0).await;
    let browser = open(&gateway).await;
    let page = browser.page.window().await.expect("a window");
    listening(&gateway, 1.0).await;
    let wakes =
        "addEventListener('visibilitychange', () => { if (!document.hidden) window.woke = performance.now(); });";
    browser.script(wakes).await;
    // Another page in front: this one is hidden, and hangs up.
    let front = browser.page.new_window(true).await.expect("another window").handle;
    browser.page.switch_to_window(front).await.expect("it is in front");
    listening(&gateway, 0.0).await;
    send(&gateway, 61_000.0).await;
    send(&gateway, 62_000.0).await;
    browser.page.switch_to_window(page).await.expect("it is in front again");
    says(&browser, &format!("{BTC} .quote"), "$62,000.00").await;
    says(&browser, "#link", "live").await;
    listening(&gateway, 1.0).await;
    // Where no stream comes within two seconds, it asks for the document after all.
    let fetched = "return performance.getEntriesByType('resource').filter(({ name, startTime }) =>
                       name.includes('/dashboard/live') && startTime >= woke && startTime < woke + 1900).length;";
    assert_eq!(browser.script(fetched).await, json!(0), "the stream told what was missed");
    assert_eq!(browser.errors().await, [""; 0]);
    browser.page.clone().close().await.expect("the window closes");
}

#[tokio::test]
async fn a_section_that_breaks_says_so_and_does_not_take_the_others_along() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    send(&gateway, 60_000.0).await;
    let browser = open(&gateway).await;
    says(&browser, "#movers .badge", "ago").await;
    browser.script("document.getElementById('gainers').remove();").await;
    send(&gateway, 61_000.0).await;
    says(&browser, &format!("{BTC} .quote"), "$61,000.00").await;
    says(&browser, "#movers .badge", "cannot be shown").await;
    says(&browser, "#symbols .badge", "ago").await;
    says(&browser, "#link", "partly live").await;
    send(&gateway, 62_000.0).await;
    says(&browser, &format!("{BTC} .quote"), "$62,000.00").await;
    let errors = browser.errors().await;
    assert!(errors.iter().all(|line| line.contains("movers cannot be shown")) && !errors.is_empty(), "{errors:?}");
    browser.page.clone().close().await.expect("the window closes");
}

#[tokio::test]
async fn an_alert_is_a_notification_where_the_reader_allows_it() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    send(&gateway, 60_000.0).await;
    let browser = open(&gateway).await;
    let origin = address(&gateway).replace("/mobile", "");
    browser.devtools("Browser.grantPermissions", json!({ "permissions": ["notifications"], "origin": origin })).await;
    eventually("the service worker is there", async || {
        (browser.script("return navigator.serviceWorker.ready.then(() => true);").await == true).then_some(())
    })
    .await;
    click(&browser, &format!("{BTC} summary")).await;
    let threshold = format!("{BTC} input[name=at]");
    eventually("the row is open", async || (browser.count(&threshold).await == 1).then_some(())).await;
    browser.script(&format!("document.querySelector('{threshold}').value = '61000';")).await;
    click(&browser, &format!("{BTC} .alert button")).await;
    says(&browser, "#alerts-note", "as a notification").await;
    // Chromium takes a notification back that it is asked about while it is not on display yet: it is asked afterwards.
    let mark = "const show = ServiceWorkerRegistration.prototype.showNotification;
                ServiceWorkerRegistration.prototype.showNotification = async function (...what) {
                    await show.apply(this, what);
                    window.notified = true;
                };";
    browser.script(mark).await;
    send(&gateway, 61_500.0).await;
    eventually("it is shown", async || (browser.script("return window.notified;").await == true).then_some(())).await;
    let shown = "return navigator.serviceWorker.getRegistration().then(one => one.getNotifications()).then(all =>
                     all.map(({ title, body, tag }) => ({ title, body, tag })));";
    let expected = json!([{ "title": "BTC: Price above $61,000.00", "body": "Price is $61,500.00 now.",
                            "tag": "BTCUSDT price above 61000" }]);
    assert_eq!(browser.script(shown).await, expected);
    send(&gateway, 61_600.0).await;
    says(&browser, &format!("{BTC} .quote"), "$61,600.00").await;
    assert_eq!(browser.script(shown).await, expected, "told once");
    browser.page.clone().close().await.expect("the window closes");
}
