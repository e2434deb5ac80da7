//! The mobile page in a real browser, at phone and at desktop width.

use serde_json::{Value, json};
use tiergate_tests::{Browser, Gateway, eventually, fixture, moved_to_now};

const PHONE: (u32, u32) = (390, 844);
const DESKTOP: (u32, u32) = (1280, 900);

/// What the page may not do, and how it would show: an error on its console, a blocked resource among them.
async fn assert_no_errors(browser: &Browser) {
    let script = "return window.errors || [];";
    let errors = browser.page.execute(script, vec![]).await.expect("a script runs");
    assert_eq!(errors, json!([]));
}

async fn assert_no_sideways_scroll(browser: &Browser) {
    let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;";
    assert_eq!(browser.page.execute(script, vec![]).await.expect("a script runs"), json!(0));
}

#[tokio::test]
async fn the_demo_is_shown_live_on_a_phone_and_on_a_desktop() {
    let gateway = Gateway::with().demo().start().await;
    for (width, height) in [PHONE, DESKTOP] {
        let browser = Browser::open(width, height).await;
        browser.page.goto(&format!("http://{}/mobile", gateway.data)).await.unwrap();
        let collect = "window.errors = []; \
                       addEventListener('error', e => errors.push(String(e.message))); \
                       addEventListener('securitypolicyviolation', e => errors.push(e.violatedDirective));";
        browser.page.execute(collect, vec![]).await.unwrap();
        eventually("31 rows", async || (browser.count("#rows > li").await == 31).then_some(())).await;
        eventually("the page says that it is live", async || {
            browser.text("#link").await.to_lowercase().starts_with("live").then_some(())
        })
        .await;
        let market = browser.text("#market").await;
        assert!(market.contains("up") && market.contains('%'), "{market}");
        let before = browser.text("#rows").await;
        eventually("a row changes by itself", async || (browser.text("#rows").await != before).then_some(())).await;
        assert_no_sideways_scroll(&browser).await;
        assert_no_errors(&browser).await;
        browser.page.clone().close().await.unwrap();
    }
}

#[tokio::test]
async fn missing_and_old_data_look_different_from_good_data_and_zeros_are_not_invented() {
    let gateway = Gateway::with().start().await;
    let browser = Browser::open(PHONE.0, PHONE.1).await;
    browser.page.goto(&format!("http://{}/mobile", gateway.data)).await.unwrap();
    eventually("the page says that there is no data", async || {
        browser.text("#market .badge").await.to_lowercase().contains("no data").then_some(())
    })
    .await;
    assert_eq!(browser.text("#btc_dominance").await, "n/a");

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
    assert!(browser.text("#btc_dominance").await.contains("57.2"), "{}", browser.text("#btc_dominance").await);
    browser.page.clone().close().await.unwrap();
}
