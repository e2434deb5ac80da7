//! One suite for every tier: what a write, a delete and a read mean is the same wherever the value lives.
//!
//! memcached and Redis are real processes. Foreign programs are plain clients that know nothing of Tiergate.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

/// Runs each case against a new tier of each kind.
macro_rules! suite {
    ($([$($tier:ident),*] $case:ident;)*) => { $(mod $case {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $tier() {
            super::$case(super::Bench::$tier().await).await;
        })*
    })* };
}

mod bench;
mod every_tier;
mod local;
mod memcached;
mod races;
mod redis;
mod shared;
