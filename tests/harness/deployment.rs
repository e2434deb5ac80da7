//! What most tests need: a gateway over both stores.

use serde_json::Value;

use crate::{Gateway, Memcached, PlainMemcached, PlainRedis, Redis, eventually};

/// A gateway over both stores, with a foreign client of each.
pub struct Deployment {
    /// The faster store.
    pub memcached: Memcached,
    /// The slower store.
    pub redis: Redis,
    /// Over both.
    pub gateway: Gateway,
    /// What another program does to memcached.
    pub to_memcached: PlainMemcached,
    /// What another program does to Redis.
    pub to_redis: PlainRedis,
}

impl Deployment {
    /// With the defaults.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// With more lines of configuration: see [`Starting::config`](crate::Starting::config).
    pub async fn with(config: &str) -> Self {
        let (memcached, redis) = (Memcached::start().await, Redis::start().await);
        let gateway = Gateway::with().tier(memcached.url()).tier(redis.url()).config(config).start().await;
        let to_memcached = PlainMemcached::connect(memcached.port()).await;
        let to_redis = PlainRedis::connect(redis.port()).await;
        Self { memcached, redis, gateway, to_memcached, to_redis }
    }

    /// The gateway killed and started again: its memory is lost, the stores are not.
    pub async fn forgetful(self) -> Self {
        let gateway = self.gateway.kill().start().await;
        Self { gateway, ..self }
    }

    /// Both stores stop answering; their connections stay open.
    pub fn freeze(&self) {
        self.memcached.freeze();
        self.redis.freeze();
    }

    /// Both stores go on.
    pub fn thaw(&self) {
        self.memcached.thaw();
        self.redis.thaw();
    }

    /// The mobile view, once it satisfies `wanted`.
    pub async fn mobile(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let mobile = self.gateway.mobile_data().await;
            wanted(&mobile).then_some(mobile)
        })
        .await
    }

    /// Waits for two more looks below memory, so that whatever is there has been seen.
    pub async fn looked_again(&self) {
        let looks = async || self.gateway.metric("tiergate_tier_reads_total", &["memcached", "look"]).await;
        let before = looks().await;
        eventually("two more looks below", async || (looks().await >= before + 2.0).then_some(())).await;
    }
}
