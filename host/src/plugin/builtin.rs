//! The plugins that the gateway carries. They are plugins like any other: the same checks, the same sandbox.

/// The names under which configuration finds them, and their components.
const BUILT_IN: [(&str, &[u8]); 4] = [
    ("codecs", include_bytes!(concat!(env!("OUT_DIR"), "/tiergate-codecs.wasm"))),
    ("binance", include_bytes!(concat!(env!("OUT_DIR"), "/tiergate-binance.wasm"))),
    ("aggregator", include_bytes!(concat!(env!("OUT_DIR"), "/tiergate-aggregator.wasm"))),
    ("warmer", include_bytes!(concat!(env!("OUT_DIR"), "/tiergate-warmer.wasm"))),
];

/// The component of a built-in plugin.
pub fn component(name: &str) -> Option<&'static [u8]> {
    BUILT_IN.iter().find(|(built_in, _)| *built_in == name).map(|(_, component)| *component)
}

/// The names of the built-in plugins.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}
