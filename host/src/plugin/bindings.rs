//! The contract in Rust: generated from `wit/`, and translated at the edge of this room.
//!
//! Every component exports `lifecycle`, so the bindings of world `common` serve every kind, and the bindings of the other
//! worlds share their types.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};

use super::imports::Host;

pub(super) use aggregator::AggregatorPlugin;
pub(super) use codec::CodecPlugin;
pub(super) use common::tiergate::plugin::types;
pub(super) use common::{Common, CommonIndices};
pub(super) use warmer::WarmerPlugin;

pub(super) mod common {
    wasmtime::component::bindgen!({ world: "common", path: "../wit" });
}

/// The bindings of one world, with the types and imports that all worlds share.
macro_rules! world {
    ($world:literal) => {
        wasmtime::component::bindgen!({
            world: $world,
            path: "../wit",
            with: {
                "tiergate:plugin/types": super::common::tiergate::plugin::types,
                "tiergate:plugin/host-log": super::common::tiergate::plugin::host_log,
                "tiergate:plugin/host-clock": super::common::tiergate::plugin::host_clock,
                "tiergate:plugin/host-random": super::common::tiergate::plugin::host_random,
                "tiergate:plugin/host-metrics": super::common::tiergate::plugin::host_metrics,
            },
        });
    };
}

pub(super) mod codec {
    world!("codec-plugin");
}

pub(super) mod aggregator {
    world!("aggregator-plugin");
}

pub(super) mod warmer {
    world!("warmer-plugin");
}

/// A kind of plugin: one of the worlds of the contract.
pub(super) trait World: Sized + 'static {
    /// Its name in the contract.
    const NAME: &'static str;
    /// Where its exports lie in a component.
    type Indices: Send + Sync;
    /// Finds the exports; an error names the one that is missing.
    fn find(component: &InstancePre<Host>) -> Result<Self::Indices>;
    /// Binds the exports of an instance; an error names the one whose type differs.
    fn bind(indices: &Self::Indices, store: &mut Store<Host>, instance: &Instance) -> Result<Self>;
}

// === impl World ===

macro_rules! impl_world {
    ($plugin:ident, $name:literal, $indices:path) => {
        impl World for $plugin {
            const NAME: &'static str = $name;
            type Indices = $indices;

            fn find(component: &InstancePre<Host>) -> Result<Self::Indices> {
                Self::Indices::new(component)
            }

            fn bind(indices: &Self::Indices, store: &mut Store<Host>, instance: &Instance) -> Result<Self> {
                indices.load(store, instance)
            }
        }
    };
}

impl_world!(CodecPlugin, "codec-plugin", codec::CodecPluginIndices);
impl_world!(AggregatorPlugin, "aggregator-plugin", aggregator::AggregatorPluginIndices);
impl_world!(WarmerPlugin, "warmer-plugin", warmer::WarmerPluginIndices);
