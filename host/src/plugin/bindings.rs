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

pub(super) mod codec {
    wasmtime::component::bindgen!({
        world: "codec-plugin",
        path: "../wit",
        with: {
            "tiergate:plugin/types": super::common::tiergate::plugin::types,
            "tiergate:plugin/host-log": super::common::tiergate::plugin::host_log,
            "tiergate:plugin/host-clock": super::common::tiergate::plugin::host_clock,
            "tiergate:plugin/host-random": super::common::tiergate::plugin::host_random,
            "tiergate:plugin/host-metrics": super::common::tiergate::plugin::host_metrics,
        },
    });
}

pub(super) mod aggregator {
    wasmtime::component::bindgen!({
        world: "aggregator-plugin",
        path: "../wit",
        with: {
            "tiergate:plugin/types": super::common::tiergate::plugin::types,
            "tiergate:plugin/host-log": super::common::tiergate::plugin::host_log,
            "tiergate:plugin/host-clock": super::common::tiergate::plugin::host_clock,
            "tiergate:plugin/host-random": super::common::tiergate::plugin::host_random,
            "tiergate:plugin/host-metrics": super::common::tiergate::plugin::host_metrics,
        },
    });
}

pub(super) mod warmer {
    wasmtime::component::bindgen!({
        world: "warmer-plugin",
        path: "../wit",
        with: {
            "tiergate:plugin/types": super::common::tiergate::plugin::types,
            "tiergate:plugin/host-log": super::common::tiergate::plugin::host_log,
            "tiergate:plugin/host-clock": super::common::tiergate::plugin::host_clock,
            "tiergate:plugin/host-random": super::common::tiergate::plugin::host_random,
            "tiergate:plugin/host-metrics": super::common::tiergate::plugin::host_metrics,
        },
    });
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

impl World for CodecPlugin {
    const NAME: &'static str = "codec-plugin";
    type Indices = codec::CodecPluginIndices;

    fn find(component: &InstancePre<Host>) -> Result<Self::Indices> {
        codec::CodecPluginIndices::new(component)
    }

    fn bind(indices: &Self::Indices, store: &mut Store<Host>, instance: &Instance) -> Result<Self> {
        indices.load(store, instance)
    }
}

impl World for AggregatorPlugin {
    const NAME: &'static str = "aggregator-plugin";
    type Indices = aggregator::AggregatorPluginIndices;

    fn find(component: &InstancePre<Host>) -> Result<Self::Indices> {
        aggregator::AggregatorPluginIndices::new(component)
    }

    fn bind(indices: &Self::Indices, store: &mut Store<Host>, instance: &Instance) -> Result<Self> {
        indices.load(store, instance)
    }
}

impl World for WarmerPlugin {
    const NAME: &'static str = "warmer-plugin";
    type Indices = warmer::WarmerPluginIndices;

    fn find(component: &InstancePre<Host>) -> Result<Self::Indices> {
        warmer::WarmerPluginIndices::new(component)
    }

    fn bind(indices: &Self::Indices, store: &mut Store<Host>, instance: &Instance) -> Result<Self> {
        indices.load(store, instance)
    }
}
