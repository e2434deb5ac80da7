//! A store that restarts comes back empty. The gateway fills it again from what it still has, where the store has nothing.

use serde_json::json;
use tiergate_tests::{Gateway, Memcached, PlainMemcached, PlainRedis, Redis, eventually, now_seconds};

const VALUES: usize = 300;

fn key(at: usize) -> String {
    format!("unified:value:{at}")
}

async fn put_all(gateway: &Gateway) {
    for at in 0..VALUES {
        let (path, value) = (format!("{}?ttl=300", key(at)), json!({ "at": at }).to_string());
        eventually("every tier stores it", async || {
            (gateway.put(&path, value.clone()).await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_memcached_that_comes_back_empty_is_filled_again_with_the_remaining_lifetime() {
    let mut memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    put_all(&gateway).await;
    memcached.restart().await;
    let mut client = PlainMemcached::connect(memcached.port()).await;
    for at in 0..VALUES {
        let found = eventually("the value is back", async || client.get(&key(at)).await).await;
        assert_eq!(found, (0, json!({ "at": at }).to_string().into_bytes()));
    }
    let left = client.ttl(&key(0)).await.expect("a lifetime");
    assert!((1..=300).contains(&left), "{left}");
    eventually("what brought each of them back is counted", async || {
        (gateway.metric("tiergate_copies_total", &["refill"]).await >= VALUES as f64).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_filled_again() {
    let mut redis = Redis::start().await;
    let gateway = Gateway::with().tier(redis.url()).start().await;
    put_all(&gateway).await;
    redis.restart().await;
    let mut client = PlainRedis::connect(redis.port()).await;
    for at in 0..VALUES {
        let found = eventually("the value is back", async || client.get(&key(at)).await).await;
        assert_eq!(found, json!({ "at": at }).to_string().into_bytes());
    }
    let left = client.pttl(&key(0)).await;
    assert!((1..=300_000).contains(&left), "{left}");
}

#[tokio::test]
async fn what_a_producer_wrote_first_into_the_store_that_came_back_stays() {
    let mut memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    put_all(&gateway).await;
    memcached.restart().await;
    let mut client = PlainMemcached::connect(memcached.port()).await;
    let newer = json!({ "at": "newer", "timestamp": now_seconds() }).to_string();
    client.set(&key(VALUES - 1), newer.as_bytes(), 0, 300).await;
    eventually("the others are back", async || client.get(&key(VALUES - 2)).await).await;
    eventually("the gateway has the newer value", async || {
        (gateway.get(&format!("/api/cache/{}", key(VALUES - 1))).await.text() == newer).then_some(())
    })
    .await;
    assert_eq!(client.get(&key(VALUES - 1)).await.unwrap().1, newer.as_bytes());
}

#[tokio::test]
async fn what_has_expired_in_the_store_is_not_brought_back() {
    let mut memcached = Memcached::start().await;
    let gateway = Gateway::with().tier(memcached.url()).start().await;
    assert_eq!(gateway.put("app:short?ttl=2", "1").await.status, 200);
    assert_eq!(gateway.put("app:long?ttl=300", "2").await.status, 200);
    let mut client = PlainMemcached::connect(memcached.port()).await;
    eventually("it expires", async || client.get("app:short").await.is_none().then_some(())).await;
    assert_eq!(gateway.get("/api/cache/app:short").await.text(), "1", "memory keeps it for readers, stale");
    memcached.restart().await;
    let mut client = PlainMemcached::connect(memcached.port()).await;
    eventually("the other is back", async || client.get("app:long").await).await;
    assert_eq!(client.get("app:short").await, None);
}

#[tokio::test]
async fn stores_that_are_empty_when_the_gateway_starts_are_filled_from_its_disk() {
    let (mut memcached, mut redis) = (Memcached::start().await, Redis::start().await);
    let disk = tempfile::tempdir().expect("a directory");
    let url = format!("disk://{}", disk.path().join("cache.redb").display());
    let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).tier(url).start().await;
    put_all(&gateway).await;
    let stopped = gateway.kill();
    memcached.restart().await;
    redis.restart().await;
    let gateway = stopped.start().await;
    let (mut to_memcached, mut to_redis) =
        (PlainMemcached::connect(memcached.port()).await, PlainRedis::connect(redis.port()).await);
    for at in 0..VALUES {
        let value = json!({ "at": at }).to_string().into_bytes();
        let found = eventually("back in memcached", async || to_memcached.get(&key(at)).await).await;
        assert_eq!(found.1, value);
        assert_eq!(eventually("back in Redis", async || to_redis.get(&key(at)).await).await, value);
    }
    drop(gateway);
}
