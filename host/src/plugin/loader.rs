//! Loading: from a file to a plugin that answered its first calls. Every refusal says what to do about it.
//!
//! A component is read, recognised, compiled, and held against the contract: it may import what is granted and nothing
//! else, and must export its world. Then it is instantiated once, because a type that differs appears only there.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytesize::ByteSize;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::World;
use super::builtin;
use super::compiled::{self, CodeCache, NativeCode};
use super::config::PluginSpec;
use super::error::PluginError;
use super::imports::Host;
use super::limits::Limits;
use super::loaded::{self, Loaded};
use super::losses::Losses;
use super::slot::{Identity, tell};
use super::trust::{self, TrustedKeys};

/// The largest component file. One made from Python has 18 MB.
pub const FILE_BYTES_MAX: ByteSize = ByteSize::mib(32);

/// The interfaces that a plugin may import, each `tiergate:plugin/<name>@<version>`.
const GRANTED: [&str; 5] = ["types", "host-log", "host-clock", "host-random", "host-metrics"];

const PACKAGE: &str = "tiergate:plugin/";

/// How files begin.
const WASM: &[u8] = b"\0asm";
/// A component, after [`WASM`]. A core module has `01 00 00 00`.
const COMPONENT: &[u8] = b"\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\x01\0\0\0";
const NATIVE: &[u8] = b"\x7fELF";

/// Loads plugins into one engine.
pub(super) struct Loader {
    engine: Engine,
    linker: Linker<Host>,
    trusted: TrustedKeys,
    /// `None` if the directory cannot be trusted; then everything is compiled.
    cache: Option<CodeCache>,
}

// === impl Loader ===

impl Loader {
    /// A loader that keeps native code in `cache_dir`, and takes components from anybody.
    pub(super) fn new(engine: Engine, cache_dir: &Path) -> wasmtime::Result<Self> {
        let cache = CodeCache::open(cache_dir, &engine)
            .inspect_err(|error| {
                tracing::warn!(dir = %cache_dir.display(), %error, "plugins are compiled at each start: no cache for their code");
            })
            .ok();
        Ok(Self { linker: loaded::linker(&engine)?, engine, trusted: TrustedKeys::default(), cache })
    }

    /// The same, which takes only what one of these keys has signed, if there are any, besides the built-in plugins.
    pub(super) fn trusting(self, trusted: TrustedKeys) -> Self {
        Self { trusted, ..self }
    }

    /// Checks the signature of a component that comes from outside.
    pub(super) fn verify(&self, component: &[u8], signature: Option<&str>) -> Result<(), String> {
        self.trusted.verify(component, signature)
    }

    /// Loads one plugin.
    pub(super) fn load<W: World>(&self, spec: &PluginSpec, limits: &Limits) -> Result<Loaded<W>, PluginError> {
        let (bytes, identity) = identify(spec)?;
        if let Some(path) = &spec.path {
            let signature =
                trust::read_signature(path).map_err(|error| format!("its signature cannot be read: {error}"));
            let verified = signature.and_then(|signature| self.verify(&bytes, signature.as_deref()));
            verified.map_err(|why| identity.refused(why))?;
        }
        let config = config(&spec.config).map_err(|error| identity.refused(format!("its configuration: {error}")))?;

        let mut loaded = self
            .admit(&bytes, &identity)
            .and_then(|component| {
                Loaded::<W>::link(&self.linker, &component, identity.clone(), limits.clone(), config)
                    .map_err(|error| mismatch::<W>(&component, &self.engine, &error))
            })
            .map_err(|why| identity.refused(why))?;
        loaded.introduce().map_err(|error| identity.located(error))?;
        // The configuration is checked here, by the plugin.
        let sandbox = loaded.start().map_err(|error| identity.located(error))?;
        drop(sandbox);
        Ok(loaded)
    }

    /// Recognises and compiles `bytes`, and checks what they import.
    fn admit(&self, bytes: &[u8], identity: &Identity) -> Result<Component, String> {
        recognise(bytes)?;
        let component = self
            .component(bytes, identity)
            .map_err(|error| format!("it is not a valid component: {error:#}; `wasm-tools validate` shows where"))?;
        let foreign = foreign_imports(&component, &self.engine);
        if foreign.is_empty() { Ok(component) } else { Err(ungranted(&foreign)) }
    }

    /// The component, from code that was compiled before if there is any.
    fn component(&self, bytes: &[u8], identity: &Identity) -> wasmtime::Result<Component> {
        let sha256 = &identity.sha256;
        let cached = self.cache.as_ref().and_then(|cache| {
            let code = cache.get(sha256).map_err(wasmtime::Error::from);
            code.and_then(|code| code.as_ref().map(|code| code.load(&self.engine)).transpose())
                .inspect_err(|error| tell!(warn, identity, %sha256, %error, "cached code is not used; compiling again"))
                .ok()
                .flatten()
        });
        if let Some(component) = cached {
            return Ok(component);
        }
        let code = compiled::compile(&self.engine, bytes)?;
        self.keep(identity, &code);
        code.load(&self.engine)
    }

    /// What a component exports, by name, if it may be loaded at all.
    pub(super) fn exports(&self, spec: &PluginSpec) -> Result<Vec<String>, PluginError> {
        let (bytes, identity) = identify(spec)?;
        let component = self.admit(&bytes, &identity).map_err(|why| identity.refused(why))?;
        let exports = component.component_type();
        Ok(exports.exports(&self.engine).map(|(name, _)| name.to_owned()).collect())
    }

    /// The digest of the component that `spec` names.
    pub(super) fn digest(spec: &PluginSpec) -> Result<String, String> {
        read(spec).map(|bytes| hex(&Sha256::digest(&bytes)))
    }

    /// Whether the code of the component with this digest is at hand.
    pub(super) fn is_compiled(&self, sha256: &str) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.get(sha256).is_ok_and(|code| code.is_some()))
    }

    fn keep(&self, identity: &Identity, code: &NativeCode) {
        let sha256 = &identity.sha256;
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(sha256, code)
        {
            tell!(warn, identity, %sha256, %error, "its code is not cached; it is compiled again at the next start");
        }
    }
}

/// The component that `spec` names, and who it is until it was asked.
fn identify(spec: &PluginSpec) -> Result<(Vec<u8>, Identity), PluginError> {
    let identity = Identity {
        slot: spec.name.as_str().into(),
        name: spec.name.as_str().into(),
        version: None,
        sha256: "".into(),
        file: spec.path.clone(),
        config: Arc::new(spec.config.clone()),
        losses: Losses::default(),
    };
    let bytes = read(spec).map_err(|why| identity.refused(why))?;
    let identity = Identity { sha256: hex(&Sha256::digest(&bytes)).into(), ..identity };
    Ok((bytes, identity))
}

fn read(spec: &PluginSpec) -> Result<Vec<u8>, String> {
    let Some(path) = &spec.path else {
        let names = || builtin::names().collect::<Vec<_>>().join("`, `");
        return builtin::component(&spec.name).map(<[u8]>::to_vec).ok_or_else(|| {
            format!("it has no `path`, and no built-in plugin has this name; built in are `{}`", names())
        });
    };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX.as_u64() + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX.as_u64() {
        return Err(format!(
            "the file is larger than {FILE_BYTES_MAX}; build it optimised and without debug information"
        ));
    }
    Ok(bytes)
}

/// Whether `bytes` begin as a component does.
pub(super) fn recognise(bytes: &[u8]) -> Result<(), String> {
    let why = match bytes.strip_prefix(WASM) {
        Some(rest) if rest.starts_with(COMPONENT) => return Ok(()),
        Some(rest) if rest.starts_with(CORE_MODULE) => {
            "this is a core module; turn it into a component with `wasm-tools component new core.wasm -o plugin.wasm`"
        }
        Some(_) => "this is WebAssembly of an unknown version; build it with current tools",
        None if bytes.starts_with(NATIVE) => {
            "this is native code, which runs outside of the sandbox and is never loaded; give the component that it was made from"
        }
        None if bytes.trim_ascii_start().starts_with(b"(") => {
            "this is WebAssembly as text; turn it into a component with `wasm-tools parse plugin.wat -o plugin.wasm`"
        }
        None if bytes.is_empty() => "the file is empty; build the plugin again",
        None => "this is not a WebAssembly component; give the `.wasm` file that the plugin's build wrote",
    };
    Err(why.to_owned())
}

fn foreign_imports(component: &Component, engine: &Engine) -> Vec<String> {
    let granted = |import: &str| {
        let name = import.strip_prefix(PACKAGE).and_then(|rest| rest.split('@').next());
        name.is_some_and(|name| GRANTED.contains(&name))
    };
    let component_type = component.component_type();
    component_type.imports(engine).map(|(name, _)| name.to_owned()).filter(|name| !granted(name)).collect()
}

fn ungranted(foreign: &[String]) -> String {
    let mut why = format!("it imports `{}`, which no plugin is granted; ", foreign.join("`, `"));
    if foreign.iter().any(|import| import.starts_with("wasi:")) {
        why.push_str(
            "build it without WASI: Rust for `wasm32-unknown-unknown`, Python with `--stub-wasi`, JavaScript with its \
             features disabled",
        );
    } else {
        why.push_str(
            "a plugin may import `host-log`, `host-clock`, `host-random` and `host-metrics` of `tiergate:plugin`",
        );
    }
    why
}

/// Why a component does not fit the world, with what it exports instead.
fn mismatch<W: World>(component: &Component, engine: &Engine, error: &wasmtime::Error) -> String {
    let component_type = component.component_type();
    let exports: Vec<_> = component_type.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let exports = if exports.is_empty() { "nothing".to_owned() } else { format!("`{}`", exports.join("`, `")) };
    format!(
        "it does not fit world `{}` of the contract: {error:#}; it exports {exports}; build it for this world, or load it in \
         the slot of its kind",
        W::NAME
    )
}

/// The plugin's configuration as it is given to it.
fn config(config: &serde_json::Value) -> serde_json::Result<Arc<[u8]>> {
    match config {
        serde_json::Value::Null => Ok(Arc::from(*b"{}")),
        config => serde_json::to_vec(config).map(Arc::from),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::bindings::{AggregatorPlugin, CodecPlugin};
    use super::super::engine;
    use super::super::guest;
    use super::*;

    fn loader(dir: &Path) -> Loader {
        Loader::new(engine::start(engine::Room::TEST).unwrap(), &dir.join("code")).unwrap()
    }

    /// Loads `bytes` as a codec and expects a refusal that holds every one of `parts`.
    fn check(bytes: &[u8], parts: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let spec = guest::spec(dir.path(), "mine", bytes);
        let error = loader(dir.path()).load::<CodecPlugin>(&spec, &Limits::CODEC).err().unwrap().to_string();
        assert!(error.contains("mine.wasm"), "{error}");
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }

    #[test]
    fn files_that_are_no_components_are_refused_with_the_fix() {
        check(&wat::parse_str("(module)").unwrap(), &["plugin mine (", "core module", "wasm-tools component new"]);
        check(b"\x7fELF\x02\x01\x01", &["native code", "never loaded"]);
        check(b"(component)", &["as text", "wasm-tools parse"]);
        check(b"\x93\x12 random", &["not a WebAssembly component"]);
        check(b"", &["is empty"]);
        check(b"\0asm\x0d\0\x01\0 and then rubbish", &["not a valid component"]);
        let native = engine::start(engine::Room::TEST).unwrap().precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        check(&native, &["native code"]);
    }

    #[test]
    fn a_file_over_the_bound_is_refused() {
        let bytes = vec![0; FILE_BYTES_MAX.as_u64() as usize + 1];
        check(&bytes, &["larger than 32.0 MiB"]);
        check(&bytes[1..], &["not a WebAssembly component"]);
    }

    #[test]
    fn an_import_that_is_not_granted_is_refused_by_name() {
        let foreign = wat::parse_str(r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#).unwrap();
        check(&foreign, &["imports `wasi:clocks/wall-clock@0.2.0`", "without WASI"]);
        let foreign = wat::parse_str(r#"(component (import "tiergate:plugin/host-cache@0.1.0" (instance)))"#).unwrap();
        check(&foreign, &["imports `tiergate:plugin/host-cache@0.1.0`", "host-log"]);
    }

    #[test]
    fn a_component_of_another_world_is_refused_with_what_it_exports() {
        check(&guest::aggregator(), &["world `codec-plugin`", "`tiergate:plugin/aggregator@0.1.0`"]);
        check(&wat::parse_str("(component)").unwrap(), &["it exports nothing"]);
    }

    #[test]
    fn a_plugin_for_a_compatible_version_of_the_interface_is_loaded_and_one_for_another_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let load = |version: &str| {
            let spec = guest::spec(dir.path(), "mine", &guest::aggregator_for(version));
            loader(dir.path()).load::<AggregatorPlugin>(&spec, &Limits::AGGREGATOR)
        };
        assert_eq!(load("0.1.1").unwrap().identity.version.as_deref(), Some("1.2.3"));
        let refused = load("0.2.0").err().unwrap().to_string();
        assert!(refused.contains("@0.1.0") && refused.contains("`tiergate:plugin/aggregator@0.2.0`"), "{refused}");
    }

    #[test]
    fn a_plugin_whose_types_differ_from_the_contract_is_refused_by_the_name_of_what_differs() {
        // A clock that answers another number, and claims with another field.
        let (now, claim) = ("now: func() -> micros;", "    pattern: string,");
        check(
            &guest::codec_of(
                (now, "now: func() -> u32;"),
                &[("\"now\" (func $now (result i64))", "\"now\" (func $now (result i32))")],
            ),
            &["does not fit world `codec-plugin`", "tiergate:plugin/host-clock@0.1.0", "`now`"],
        );
        check(
            &guest::codec_of((claim, "    patterns: string,"), &[]),
            &["plugin mine", "expected record field named pattern, found patterns"],
        );
    }

    #[test]
    fn the_plugin_checks_its_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let spec = PluginSpec {
            config: serde_json::json!({"unknwon": 1}),
            ..guest::spec(dir.path(), "mine", &guest::codec("test:*"))
        };
        let error = loader(dir.path()).load::<CodecPlugin>(&spec, &Limits::CODEC).err().unwrap().to_string();
        assert!(
            error.starts_with("plugin test-plugin 1.2.3 (") && error.ends_with("invalid input in init: unknown field"),
            "{error}"
        );
    }

    #[test]
    fn a_plugin_is_named_by_itself_and_loads_again_from_its_cached_code() {
        let dir = tempfile::tempdir().unwrap();
        let spec = guest::spec(dir.path(), "mine", &guest::aggregator());
        for _ in 0..2 {
            let loaded = loader(dir.path()).load::<AggregatorPlugin>(&spec, &Limits::AGGREGATOR).unwrap();
            let Identity { name, version, sha256, .. } = &*loaded.identity;
            assert_eq!((&**name, version.as_deref()), ("test-plugin", Some("1.2.3")));
            assert_eq!(**sha256, hex(&Sha256::digest(guest::aggregator())));
        }
        assert_eq!(std::fs::read_dir(dir.path().join("code")).unwrap().count(), 1);
    }

    #[test]
    fn damaged_cached_code_is_compiled_again() {
        let dir = tempfile::tempdir().unwrap();
        let spec = guest::spec(dir.path(), "mine", &guest::codec("test:*"));
        loader(dir.path()).load::<CodecPlugin>(&spec, &Limits::CODEC).map(drop).unwrap();
        let cached = std::fs::read_dir(dir.path().join("code")).unwrap().next().unwrap().unwrap().path();
        let sound = std::fs::read(&cached).unwrap();
        std::fs::write(&cached, b"rubbish").unwrap();
        loader(dir.path()).load::<CodecPlugin>(&spec, &Limits::CODEC).map(drop).unwrap();
        assert_eq!(std::fs::read(&cached).unwrap().len(), sound.len());
    }
}
