//! The loader and the boundary of the codecs, for those who throw bytes at them: the seeded mutations below, which run with the
//! tests, and the fuzz targets in `tests/fuzz/`, which are run by hand.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::bindings::{AggregatorPlugin, CodecPlugin, WarmerPlugin};
use super::codec::{self, CodecRouter};
use super::config::{Config, PluginSpec};
use super::engine::{self, Room};
use super::error::PluginError;
use super::limits::Limits;
use super::loader::Loader;
use super::slot::Slot;
use super::{aggregator, warmer};
use crate::cache::{Codec as _, DecodeError, Decoded};
use crate::record::Key;

/// A loader that takes components from memory.
pub struct Bench {
    loader: Loader,
    dir: TempDir,
}

/// What a component is loaded as.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A codec.
    Codec,
    /// The aggregator.
    Aggregator,
    /// The warmer.
    Warmer,
}

/// A codec that answers.
pub struct Codec(CodecRouter);

// === impl Bench ===

impl Bench {
    /// A loader with an engine of its own.
    ///
    /// # Panics
    ///
    /// When this machine does not let it have one.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let engine =
            engine::start(Room { instances: 8, memory: 256 << 20, table_elements: 20_000 }).expect("an engine");
        let loader = Loader::new(engine, &dir.path().join("code")).expect("a loader");
        Self { loader, dir }
    }

    /// Does all that a component goes through before it can be used.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn load(&self, kind: Kind, component: &[u8]) -> Result<(), PluginError> {
        let spec = self.spec(component);
        match kind {
            Kind::Codec => self.codec(component).map(drop),
            Kind::Aggregator => {
                let loaded = self.loader.load::<AggregatorPlugin>(&spec, &Limits::AGGREGATOR)?;
                aggregator::probe(&loaded)?;
                aggregator::inputs(&loaded).map(drop)
            }
            Kind::Warmer => warmer::Policy::new(self.loader.load::<WarmerPlugin>(&spec, &Limits::WARMER)?).map(drop),
        }
    }

    /// The codec that a component is.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn codec(&self, component: &[u8]) -> Result<Codec, PluginError> {
        let loaded = self.loader.load::<CodecPlugin>(&self.spec(component), &Limits::CODEC)?;
        let identity = loaded.identity.clone();
        let pool = codec::pool(loaded, 0, &Config::default())?;
        let router = CodecRouter::new(vec![Slot::new("codec".into(), identity, Arc::new(pool))], 1 << 20);
        router.map(Codec).map_err(|mut errors| errors.swap_remove(0))
    }

    fn spec(&self, component: &[u8]) -> PluginSpec {
        let path = self.dir.path().join("component.wasm");
        std::fs::write(&path, component).expect("written");
        PluginSpec { path: Some(path), ..PluginSpec::built_in("component") }
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec {
    /// Decodes a payload of a key.
    ///
    /// # Errors
    ///
    /// When it is refused, or the codec fails.
    pub fn decode(&self, key: &Key, payload: &[u8], flags: u32) -> Result<Decoded, DecodeError> {
        self.0.decode(key, &Bytes::copy_from_slice(payload), flags)
    }
}

#[cfg(test)]
mod tests {
    use super::super::built_in;
    use super::*;

    /// Mutations of each kind, of each component.
    const MUTATIONS: u64 = 150;

    /// SplitMix64: the same numbers in each run.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn below(&mut self, end: usize) -> usize {
            (self.next() % end as u64) as usize
        }
    }

    /// Some bytes are others, gone, or twice there.
    fn of_bytes(sound: &[u8], random: &mut Random) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            let end = (at + 1 + random.below(32)).min(bytes.len());
            match random.below(6) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => bytes[at..end].fill([0, 0x7f, 0x80, 0xff][random.below(4)]),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let copied = bytes[at..end].to_vec();
                    bytes.splice(at..at, copied);
                }
                _ => bytes.truncate(at.max(8)),
            }
        }
        bytes
    }

    /// Sections are missing, twice there, in another order, of another kind, or say a wrong size.
    fn of_sections(sound: &[u8], random: &mut Random) -> Vec<u8> {
        let (head, mut sections) = sections(sound);
        for _ in 0..=random.below(2) {
            let (at, other) = (random.below(sections.len()), random.below(sections.len()));
            match random.below(5) {
                0 => drop(sections.remove(at)),
                1 => sections.insert(other, sections[at].clone()),
                2 => sections.swap(at, other),
                3 => sections[at][0] = random.below(14) as u8,
                _ => sections[at][1] ^= 1 << random.below(8),
            }
        }
        [head, sections.concat()].concat()
    }

    /// The header of a component, and its sections with their heads.
    fn sections(component: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (head, mut rest) = component.split_at(8);
        let mut sections = Vec::new();
        while !rest.is_empty() {
            let digits = rest[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let size = rest[1..=digits].iter().rev().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
            let (section, after) = rest.split_at(1 + digits + size);
            sections.push(section.to_vec());
            rest = after;
        }
        (head.to_vec(), sections)
    }

    /// Every mutation of a built-in plugin is loaded or refused with a reason, and the engine is as good as before.
    fn check(kind: Kind, name: &str, mutate: fn(&[u8], &mut Random) -> Vec<u8>) {
        let (bench, sound) = (Bench::new(), built_in(name).unwrap());
        let mut refused = 0;
        for seed in 0..MUTATIONS {
            let mutation = mutate(sound, &mut Random(seed));
            if let Err(error) = bench.load(kind, &mutation) {
                let told = error.to_string();
                assert!(told.starts_with("plugin ") && told.len() > 40, "seed {seed}: {told}");
                refused += 1;
            }
        }
        assert!(refused > MUTATIONS / 4, "{refused} of {MUTATIONS} were refused");
        bench.load(kind, sound).unwrap();
    }

    #[test]
    fn the_sections_of_a_component_are_all_of_it() {
        let sound = built_in("binance").unwrap();
        let (head, sections) = sections(sound);
        assert!(sections.len() > 3 && [head, sections.concat()].concat() == sound);
    }

    #[test]
    fn mutations_of_a_codec_are_loaded_or_refused() {
        check(Kind::Codec, "binance", of_bytes);
        check(Kind::Codec, "binance", of_sections);
    }

    #[test]
    fn mutations_of_the_aggregator_are_loaded_or_refused() {
        check(Kind::Aggregator, "aggregator", of_bytes);
        check(Kind::Aggregator, "aggregator", of_sections);
    }

    #[test]
    fn mutations_of_the_warmer_are_loaded_or_refused() {
        check(Kind::Warmer, "warmer", of_bytes);
        check(Kind::Warmer, "warmer", of_sections);
    }
}
