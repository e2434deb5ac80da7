//! How long a value lives in each store where its writer asks for nothing.

use tiergate_tests::{Gateway, Memcached, PlainMemcached, PlainRedis, Redis, fixture, moved_to_now};

/// What a slow machine may take between a write and the look at what is left, in seconds.
const SLOW_SECONDS: i64 = 10;

/// A gateway over both stores, with a foreign client of each.
struct Stores {
    _servers: (Memcached, Redis),
    gateway: Gateway,
    memcached: PlainMemcached,
    redis: PlainRedis,
}

impl Stores {
    async fn with(config: &str) -> Self {
        let (memcached, redis) = (Memcached::start().await, Redis::start().await);
        let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).config(config).start().await;
        Self {
            gateway,
            memcached: PlainMemcached::connect(memcached.port()).await,
            redis: PlainRedis::connect(redis.port()).await,
            _servers: (memcached, redis),
        }
    }

    /// Writes `key` without a time to live, and checks what each store was told.
    async fn assert_lifetimes(&mut self, key: &str, body: Vec<u8>, in_memcached: i64, in_redis: i64) {
        let reply = self.gateway.put(key, body).await;
        assert_eq!(reply.status, 200, "{key}: {}", reply.text());
        let left = self.memcached.ttl(key).await.expect("a value in memcached");
        assert!(
            (in_memcached - SLOW_SECONDS..=in_memcached).contains(&left),
            "{key}: {left} s in memcached, not {in_memcached}"
        );
        let left = self.redis.pttl(key).await;
        let whole = in_redis * 1000;
        assert!((whole - SLOW_SECONDS * 1000..=whole).contains(&left), "{key}: {left} ms in Redis, not {whole}");
    }
}

fn document(key: &str) -> Vec<u8> {
    moved_to_now(&fixture(&format!("{key}.json")))
}

#[tokio::test]
async fn without_configuration_the_producers_own_table_holds() {
    let mut stores = Stores::with("").await;
    let object = b"{\"n\": 1}".to_vec();
    for (key, body, in_memcached, in_redis) in [
        ("market:overview", document("market:overview"), 30, 120),
        ("market:movers", document("market:movers"), 45, 180),
        ("dashboard:data", object.clone(), 45, 180),
        ("analysis:signals", document("analysis:signals"), 60, 300),
        ("confluence:scores", object.clone(), 90, 600),
        ("market:breadth", document("market:breadth"), 60, 300),
        ("anything:else", object, 60, 300),
    ] {
        stores.assert_lifetimes(key, body, in_memcached, in_redis).await;
    }
}

#[tokio::test]
async fn a_configured_rule_holds_for_its_key_or_prefix_and_the_table_for_the_others() {
    let rules = "[[ttl]]\npattern = \"market:overview\"\nmemcached = \"50s\"\nredis = \"70s\"\n\
                 [[ttl]]\npattern = \"mine:*\"\nredis = \"2m\"\n";
    let mut stores = Stores::with(rules).await;
    stores.assert_lifetimes("market:overview", document("market:overview"), 50, 70).await;
    stores.assert_lifetimes("mine:1", b"1".to_vec(), 60, 120).await;
    stores.assert_lifetimes("market:movers", document("market:movers"), 45, 180).await;
}
