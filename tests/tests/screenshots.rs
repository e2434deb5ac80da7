//! The pictures of the README, made by `tests/screenshots.sh`.

use std::path::Path;

use fantoccini::Locator;
use hyper::Method;
use serde_json::{Value, json};
use tiergate::plugin::built_in;
use tiergate_tests::{Browser, Gateway, NO_TASKS, click, eventually, fixture, moved_to_now, says};

const PHONE: (u32, u32) = (390, 1_180);
const DESKTOP: (u32, u32) = (1280, 800);

/// A picture in the repository stays a small one.
const PICTURE_BYTES_MAX: usize = 200_000;

async fn open(gateway: &Gateway, (width, height): (u32, u32), dark: bool) -> Browser {
    let browser = Browser::open(width, height).await;
    browser.prefer_dark(dark).await;
    let (_, port) = gateway.data.split_once(':').expect("a port");
    browser.page.goto(&format!("http://localhost:{port}/mobile")).await.expect("the page opens");
    browser
}

async fn picture(browser: &Browser, name: &str) {
    let quiet = "return Promise.all(document.getAnimations().map(one => one.finished)).then(() => 0, () => 0);";
    browser.script(quiet).await;
    let png = browser.page.screenshot().await.expect("a picture");
    assert!(png.len() <= PICTURE_BYTES_MAX, "{name}: {} bytes", png.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("screenshots/{name}.png"));
    std::fs::write(path, png).expect("written");
}

/// A history long enough to be seen as a line.
async fn with_histories(browser: &Browser) {
    eventually("the histories fill", async || {
        let points = "return document.querySelector('#rows polyline')?.getAttribute('points').split(' ').length ?? 0;";
        (browser.script(points).await.as_u64()? >= 15).then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "makes pictures"]
async fn of_the_demo_in_light_and_dark() {
    let gateway = Gateway::with().demo().start().await;
    for (name, size, dark) in
        [("mobile-phone", PHONE, false), ("mobile-phone-dark", PHONE, true), ("mobile-desktop", DESKTOP, false)]
    {
        let browser = open(&gateway, size, dark).await;
        says(&browser, "#link", "live").await;
        with_histories(&browser).await;
        picture(&browser, name).await;
        if name == "mobile-phone" {
            let to = "document.querySelector('#rows summary').click();
                      document.getElementById('symbols').scrollIntoView({ behavior: 'instant' });";
            browser.script(to).await;
            says(&browser, ".parts", "not measured").await;
            picture(&browser, "mobile-phone-symbols").await;
        }
        browser.page.clone().close().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "makes pictures"]
async fn of_old_data_and_of_none_from_the_gateway() {
    let gateway = Gateway::with().config(NO_TASKS).start().await;
    for key in ["analysis:signals", "market:overview", "market:movers", "market:breadth"] {
        let text = String::from_utf8(moved_to_now(&fixture(&format!("{key}.json")))).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        if key == "market:overview" {
            document["timestamp"] = json!(document["timestamp"].as_f64().unwrap() - 1_800.0);
        }
        assert_eq!(gateway.put(key, document.to_string()).await.status, 200, "{key}");
    }
    let browser = open(&gateway, PHONE, false).await;
    says(&browser, "#market .badge", "old data").await;
    picture(&browser, "mobile-phone-stale").await;
    let kept = "return navigator.serviceWorker.ready.then(() => caches.has('tiergate-data'));";
    eventually("the data are kept", async || (browser.script(kept).await == true).then_some(())).await;
    let address = browser.page.current_url().await.unwrap();
    drop(gateway);
    browser.page.goto(address.as_str()).await.unwrap();
    says(&browser, "#market .badge", "offline").await;
    says(&browser, "#banner", "last data").await;
    picture(&browser, "mobile-phone-offline").await;
    browser.page.clone().close().await.unwrap();
}

/// A candidate that decides otherwise in shadow beside the active aggregator.
async fn with_a_shadow(gateway: &Gateway) {
    let component = built_in("aggregator").expect("a component").to_vec();
    for (step, body) in
        [("load?config=%7B%22dedupe%22%3A%22highest%22%7D&by=ann", component), ("shadow?by=ann", Vec::new())]
    {
        let reply =
            gateway.admin_send(Method::POST, &format!("/api/admin/plugins/aggregator/{step}"), body.into()).await;
        assert_eq!(reply.status, 200, "{step}: {}", reply.text());
    }
}

#[tokio::test]
#[ignore = "makes pictures"]
async fn of_the_console() {
    let gateway = Gateway::with().demo().start().await;
    with_a_shadow(&gateway).await;
    for (name, (width, height), dark) in [("ops-desktop", (1280, 1_560), false), ("ops-phone-dark", PHONE, true)] {
        let browser = Browser::open(width, height).await;
        browser.prefer_dark(dark).await;
        browser.page.goto(&format!("http://{}/ops", gateway.admin)).await.expect("the page opens");
        says(&browser, "#door", "admin token").await;
        for (field, text) in [("name", "ann"), ("token", &gateway.admin_token())] {
            let field = browser.page.find(Locator::Css(&format!("#login [name={field}]"))).await.expect("a field");
            field.send_keys(text).await.expect("typed");
        }
        click(&browser, "#login button").await;
        says(&browser, "#link", "live").await;
        click(&browser, "[data-slot=aggregator] [data-f=reporting] summary").await;
        says(&browser, "[data-slot=aggregator] [data-f=examples]", "document").await;
        eventually("some minutes are on the charts", async || {
            let long = "return document.querySelector('#charts [data-f=line]').getAttribute('d').split('L').length;";
            (browser.script(long).await.as_u64()? >= 6).then_some(())
        })
        .await;
        let to = if dark { "[data-slot=aggregator]" } else { "body" };
        browser.script(&format!("document.querySelector('{to}').scrollIntoView({{ behavior: 'instant' }});")).await;
        picture(&browser, name).await;
        browser.page.clone().close().await.unwrap();
    }
}
