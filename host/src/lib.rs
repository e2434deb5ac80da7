//! Tiergate: a cache gateway whose policies are WebAssembly plugins.
//!
//! One process serves a live dashboard and owns the cache tiers behind it. The rooms, from the outside in; each names only
//! those below it:
//!
//! - [`cli`]: one file per subcommand. [`config`]: reads and checks the configuration whole.
//! - [`gateway`]: builds all rooms from the configuration, serves, drains.
//! - [`supervisor`]: begins work again that died.
//! - [`http`]: listeners, routes, answers. [`client`]: the way in for producers that speak HTTP; [`demo`] is one.
//! - [`market`]: signals in, documents out, documents composed into views.
//! - [`warm`]: asks the warmer plugin for a plan, checks it, carries it out.
//! - [`source`]: fetches origins over HTTP(S) and writes their answers into the cache.
//! - [`cache`]: the engine. One memory before the tiers; decode once, compare-and-set everywhere, outcomes for all.
//! - [`tier`]: memory, disk, memcached, Redis behind one trait.
//! - [`record`]: the vocabulary: keys, records, the order between them, outcomes.
//! - [`plugin`]: the only room that names wasmtime. It implements `cache::Codec`, `market::Aggregator` and
//!   `warm::Warmer`.
//! - [`kit`]: the workshop of plugin authors: writes projects and builds them.
//! - [`telemetry`]: log and metrics, for every room.

pub mod cache;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod gateway;
pub mod http;
pub mod kit;
pub mod market;
pub mod plugin;
pub mod record;
pub mod source;
pub mod supervisor;
pub mod telemetry;
pub mod tier;
pub mod warm;
