//! [`Loaded`]: a plugin that is compiled, linked and configured. It makes the instances that calls run in.

use std::sync::Arc;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store};

use super::answer;
use super::bindings::{Common, CommonIndices, World};
use super::error::{Cause, PluginError};
use super::imports::{Host, Voice};
use super::limits::Limits;
use super::sandbox::{self, Call, Sandbox};
use super::slot::Identity;

/// A plugin of world `W`.
pub(super) struct Loaded<W: World> {
    pub(super) identity: Arc<Identity>,
    limits: Limits,
    component: InstancePre<Host>,
    lifecycle: CommonIndices,
    world: W::Indices,
    config: Arc<[u8]>,
    voice: Arc<Voice>,
}

/// The imports that every plugin is granted, and no other.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    Common::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, |host| host)?;
    Ok(linker)
}

// === impl Loaded ===

impl<W: World> Loaded<W> {
    /// Links `component` and finds the exports of its world. No code of the plugin runs.
    pub(super) fn link(
        linker: &Linker<Host>,
        component: &Component,
        identity: Identity,
        limits: Limits,
        config: Arc<[u8]>,
    ) -> wasmtime::Result<Self> {
        let component = linker.instantiate_pre(component)?;
        let lifecycle = CommonIndices::new(&component)?;
        let world = W::find(&component)?;
        let voice = Arc::new(Voice::new(&limits));
        Ok(Self { identity: Arc::new(identity), limits, component, lifecycle, world, config, voice })
    }

    /// What it imports, by name.
    pub(super) fn imports(&self) -> Vec<String> {
        let component_type = self.component.component().component_type();
        component_type.imports(self.component.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// A new instance that has not been initialised.
    pub(super) fn instantiate(&self) -> Result<Sandbox<W>, PluginError> {
        let call = Call::at_start("start");
        let host = Host::new(self.identity.clone(), self.voice.clone(), &self.limits);
        let mut store = Store::new(self.component.engine(), host);
        store.limiter(|host| &mut host.meter);
        store.epoch_deadline_callback(sandbox::overdue);
        store.set_hostcall_fuel(usize::try_from(self.limits.output.as_u64()).unwrap_or(usize::MAX));
        store.set_max_component_handles(HANDLES_MAX);
        // A component may run code while it is instantiated.
        let _under_way = sandbox::arm(&mut store, call);

        match self.bind(&mut store) {
            Ok((lifecycle, world)) => {
                Ok(Sandbox::new(store, lifecycle, world, self.identity.clone(), self.limits.clone()))
            }
            Err(error) => {
                let cause = match sandbox::cause(&store, &self.limits, call, &error) {
                    Cause::Contract(_) => Cause::Contract(format!("{error:#}")),
                    cause => cause,
                };
                Err(sandbox::lost(&self.identity, call, cause, Some(&error)))
            }
        }
    }

    fn bind(&self, store: &mut Store<Host>) -> wasmtime::Result<(Common, W)> {
        let instance = self.component.instantiate(&mut *store)?;
        let lifecycle = self.lifecycle.load(&mut *store, &instance)?;
        let world = W::bind(&self.world, store, &instance)?;
        Ok((lifecycle, world))
    }

    /// A new instance with the operator's configuration, ready to be called.
    pub(super) fn start(&self) -> Result<Sandbox<W>, PluginError> {
        let (sandbox, answer) = self.instantiate()?.ask(Call::at_start("init"), |sandbox| {
            sandbox.lifecycle.tiergate_plugin_lifecycle().call_init(&mut sandbox.store, &self.config)
        })?;
        answer.map(|()| sandbox)
    }

    /// The name and version that the plugin gives itself. It is known by them from here on.
    pub(super) fn introduce(&mut self) -> Result<(), PluginError> {
        let call = Call::at_start("describe");
        let (sandbox, info) = self.instantiate()?.call(
            call,
            |sandbox| sandbox.lifecycle.tiergate_plugin_lifecycle().call_describe(&mut sandbox.store),
            |_| "ok",
        )?;
        if !answer::is_words(&info.name, b'-') {
            let name = answer::one_line(&info.name, 64);
            return Err(sandbox.condemn(call, format!("the name {name:?} is not lower-case words joined by `-`")));
        }
        if let Err(error) = semver::Version::parse(&info.version) {
            let version = answer::one_line(&info.version, 64);
            return Err(sandbox.condemn(call, format!("the version {version:?} is not a semantic version: {error}")));
        }
        let identity = (*self.identity).clone();
        self.identity = Arc::new(Identity { name: info.name.into(), version: Some(info.version.into()), ..identity });
        Ok(())
    }
}

/// Handles that an instance may hold. The contract has no resources, so it needs none.
const HANDLES_MAX: usize = 64;
