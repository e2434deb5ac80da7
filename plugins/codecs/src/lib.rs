//! The codec plugin for the dashboard's cache keys.
//!
//! A codec answers one question: is this payload of this key acceptable, and what is its one canonical form? Producers
//! write the same key in several shapes, with bare `NaN`, encoded twice, or as plain words; every reader behind the gateway
//! sees strict JSON, encoded once, in the shape that the key's schema declares.
//!
//! The way of a payload: [`wire`] turns bytes into text, [`layers`] removes extra layers of encoding, [`lenient`] reads the
//! text, and the key's [`schema`] looks at the document. What can be mended without guessing is mended and reported as a
//! repair; a difference of form that loses nothing is not a repair. A payload that needs no change is canonical as it came,
//! byte for byte, and decoding a canonical payload again changes nothing.
//!
//! Nothing here computes, fills in defaults, or knows the time.

mod answer;
mod config;
mod document;
mod layers;
mod lenient;
mod marks;
mod mend;
mod moment;
mod path;
mod schema;
mod schemas;
mod tree;
mod wire;

#[cfg(target_arch = "wasm32")]
mod guest;

pub use answer::{Claim, Decoded, Kind, Rejection, Repair};
pub use config::check as check_config;
pub use document::decode;
pub use schema::claims;

/// The name under which the plugin appears in logs and metrics.
pub const NAME: &str = env!("CARGO_PKG_NAME");

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
