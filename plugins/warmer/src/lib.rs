//! The default warmer: decides for each key whether to refresh it, to promote it, to stand in for it, or to leave it.
//!
//! The logic is plain Rust that runs anywhere; only `guest` knows that it lives in a WebAssembly component. The host tells
//! what it knows of each key, [`Warmer::plan`] answers one action for each, and the next plan is told what became of them.
//!
//! For one key, the first of these that applies ([`decide`]):
//! 1. **Refresh** what is missing, a placeholder, stale, or about to expire, from its source ([`due`]).
//! 2. **Promote** real data that a slower tier has and a faster one lost.
//! 3. **Refresh** what its interval has run out for.
//! 4. **Placeholder**, where nothing is: every tier answered and has nothing, the task allows one, and no source could
//!    still bring data.
//! 5. **Leave** it, and say why and until when.
//!
//! What is due goes in the order of its priority ([`rank`]). The task's class comes first; within a class, what readers
//! miss goes before what they may miss soon, and what is read often and slow to fetch before what is not. Failures take a
//! key down, waiting takes it up, so nothing waits for ever and failing tasks block nobody.
//!
//! What holds throughout:
//! - The decision rests on kinds, tiers and times. What a value looks like is never asked: a list, a text and an object
//!   are equally real.
//! - A refresh comes from a source and a promotion from a tier, so no value is ever made from itself.
//! - What expires is scheduled by its own expiry. "There was nothing to do" does not count as having warmed it.
//! - A pause is measured from the last attempt, and doubles with every failure.
//! - A call depends on its arguments and the state alone: no clock, no randomness, no order that a hash table chose.

mod case;
mod config;
mod contract;
mod decide;
mod due;
mod known;
mod placeholder;
mod rank;
mod state;
mod tasks;
mod time;
mod warmer;

#[cfg(target_arch = "wasm32")]
mod guest;

pub use config::Config;
pub use contract::{Action, Attempt, Error, Fate, Holding, KeyState, Kind, Micros, SourceState, Step};
pub use tasks::{Placeholder, Task};
pub use warmer::Warmer;

/// The name under which this plugin appears in logs and metrics.
pub const NAME: &str = env!("CARGO_PKG_NAME");
/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
