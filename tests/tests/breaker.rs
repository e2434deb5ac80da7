//! Circuit breakers: a store that does not answer is asked by probes alone, and nobody waits for it.

use serde_json::Value;
use tiergate_tests::{Gateway, Memcached, Reply, eventually, now_seconds};

/// What the admin listener tells of one of memcached's breakers.
async fn breaker(gateway: &Gateway, side: &str) -> Value {
    gateway.admin_get("/api/admin/tiers").await.json()["tiers"][0]["breakers"][side].clone()
}

/// Waits until a breaker is in this state, while somebody goes on asking.
async fn is(gateway: &Gateway, side: &str, state: &str, ask: impl AsyncFn()) -> Value {
    eventually(&format!("the {side} breaker is {state}"), async || {
        ask().await;
        let breaker = breaker(gateway, side).await;
        (breaker["state"] == state).then_some(breaker)
    })
    .await
}

fn told(gateway: &Gateway, words: &str) -> usize {
    gateway.log().iter().filter(|line| line.contains(words)).count()
}

#[tokio::test]
async fn a_frozen_store_opens_its_breakers_readers_get_the_stale_value_at_once_and_it_is_used_again_when_it_goes_on() {
    let memcached = Memcached::start().await;
    let short = "ttl = [{ pattern = \"k\", memory = \"10ms\", memcached = \"60s\" }]";
    let gateway = Gateway::with().tier(memcached.url()).config(short).start().await;
    assert_eq!(gateway.put("k", "1").await.status, 200);
    for side in ["read", "write"] {
        assert_eq!(breaker(&gateway, side).await["state"], "closed");
    }
    memcached.freeze();
    let is_stale = |read: &Reply| {
        assert_eq!((read.status.as_u16(), read.text().as_str()), (200, "1"), "the last good value");
        read.header("cache-status").contains("revalidating")
    };
    let read = async || {
        gateway.get("/api/cache/k").await;
    };
    let open = is(&gateway, "read", "open", read).await;
    assert!(open["why"].as_str().is_some_and(|why| why.contains("failed")), "{open}");
    eventually("the stale value is served as such", async || {
        is_stale(&gateway.get("/api/cache/k").await).then_some(())
    })
    .await;
    // A key that nobody has seen: the reader hears at once that the store is unavailable.
    let unknown = gateway.get("/api/cache/unknown").await;
    assert_eq!(unknown.status, 503, "{}", unknown.text());
    assert!(unknown.text().contains("unavailable: "), "{}", unknown.text());
    assert_eq!(gateway.metric("tiergate_breaker_open", &["memcached", "\"read\""]).await, 1.0);
    let write = async || {
        gateway.put("other", "1").await;
    };
    is(&gateway, "write", "open", write).await;

    memcached.thaw();
    for side in ["read", "write"] {
        is(&gateway, side, "closed", async || ()).await;
    }
    let written = gateway.put("k", "2").await;
    assert_eq!((written.status.as_u16(), written.outcome("memcached").as_str()), (200, "stored"));
    for (words, to) in [
        ("the breaker opened", "\"open\""),
        ("the breaker is half open", "\"half_open\""),
        ("the breaker closed", "\"closed\""),
    ] {
        let turns = gateway.metric("tiergate_breaker_transitions_total", &[to]).await as usize;
        assert!(turns >= 2, "{turns}: once for reads and once for writes");
        eventually(&format!("a line is logged of each turn to {to}"), async || {
            (told(&gateway, words) >= turns).then_some(())
        })
        .await;
    }
    let turns = gateway.metric("tiergate_breaker_transitions_total", &[]).await as usize;
    assert_eq!(told(&gateway, "the breaker "), turns, "one line per turn, and no other");
    assert_eq!(gateway.metric("tiergate_breaker_open", &["memcached"]).await, 0.0);
}

#[tokio::test]
async fn misses_refusals_rejections_and_junk_never_open_a_breaker() {
    let memcached = Memcached::with().args(["-I", "1m"]).start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    let mut foreign = tiergate_tests::PlainMemcached::connect(memcached.port()).await;
    let large = format!("\"{}\"", "x".repeat(2 << 20));
    for n in 0..25 {
        assert_eq!(gateway.get(&format!("/api/cache/absent:{n}")).await.status, 404);
        foreign.set(&format!("market:overview:{n}"), b"\x80\x04]", 1, 60).await;
        gateway.get(&format!("/api/cache/market:overview:{n}")).await;
        assert_eq!(gateway.put("large", large.clone()).await.outcome("memcached"), "rejected");
        // Memory knows nothing of what is there, so that it is the store that does not take it.
        let held = format!("held:{n}");
        let at = |seconds: f64| format!("{{\"timestamp\": {}}}", now_seconds() - seconds);
        foreign.set(&held, at(0.0).as_bytes(), 0, 60).await;
        assert_eq!(gateway.put(&held, at(60.0)).await.outcome("memcached"), "superseded");
        foreign.set(&format!("real:{n}"), at(0.0).as_bytes(), 0, 60).await;
        let placeholder = gateway.put(&format!("real:{n}"), "{\"status\": \"warming\"}").await;
        assert_eq!(placeholder.outcome("memcached"), "refused", "{}", placeholder.text());
    }
    for side in ["read", "write"] {
        let breaker = breaker(&gateway, side).await;
        // There were 25 of each. A stall fails a look or two that the gateway takes beside them.
        assert!(breaker["window"]["failed"].as_u64().is_some_and(|failed| failed < 5), "{breaker}");
        assert_eq!(breaker["state"], "closed", "{breaker}");
    }
    assert_eq!(gateway.metric("tiergate_breaker_transitions_total", &[]).await, 0.0);
}
