//! Codecs: one payload is one case.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::PluginKind;
use super::blob::Blob;
use super::law::{Broken, Law};
use super::material;
use super::stateful::{fresh, shown};
use super::subject::{Group, Subject};
use crate::plugin::bindings::CodecPlugin;
use crate::plugin::codec::{self, Claim};
use crate::plugin::config::Config;
use crate::plugin::error::{Cause, PluginError};
use crate::plugin::limits::Limits;
use crate::plugin::loaded::Loaded;
use crate::plugin::sandbox::{Call, Sandbox};
use crate::record::{KEY_BYTES_MAX, Key, Time};

/// Damaged payloads.
const DAMAGED: usize = 300;

/// What the plugin's clock shows; and what it shows when the same is asked again.
const NOW: Time = Time::from_micros(1_795_372_662_000_000);
const LATER: Duration = Duration::from_secs(3 * 3600 + 7);

/// A payload of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::plugin) struct Payload {
    key: String,
    flags: u32,
    payload: Blob,
}

/// What a codec answered, as far as it can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Accepted {
        canonical: Option<Vec<u8>>,
        real: bool,
        produced_at: Option<u64>,
        schema_version: Option<String>,
        repairs: Vec<[String; 3]>,
    },
    Rejected([String; 3]),
}

impl Subject for CodecPlugin {
    const KIND: PluginKind = PluginKind::Codec;
    const LAWS: &'static [Law] = &[Law::OwnAnswer, Law::Repeatable];
    type Case = Payload;

    fn limits(config: &Config) -> &Limits {
        &config.codec_limits
    }

    fn introduction(plugin: &Loaded<Self>) -> Result<String, PluginError> {
        let claims = claims(plugin)?;
        let patterns: Vec<_> = claims.iter().map(Claim::pattern).collect();
        Ok(format!("claims {}", patterns.join(", ")))
    }

    fn groups(plugin: &Loaded<Self>, seed: u64) -> Result<Vec<Group<Payload>>, PluginError> {
        let (keys, captured) = (Keys(claims(plugin)?), material::captured());
        let mut rng = Rng::with_seed(seed);
        let fixtures = captured.iter().enumerate().map(|(at, payload)| {
            let case =
                Payload { key: keys.of(&payload.key, at), flags: payload.flags, payload: Blob(payload.bytes.to_vec()) };
            (payload.name.clone(), case)
        });
        let fixtures = fixtures.collect();
        let damaged = (0..DAMAGED).map(|at| {
            let payload = &captured[rng.usize(..captured.len())];
            let bytes = material::damaged(&mut rng, payload.bytes);
            (format!("damaged-{at}"), Payload { key: keys.of(&payload.key, at), flags: 0, payload: Blob(bytes) })
        });
        let damaged = damaged.collect();
        let hostile = material::hostile().into_iter().enumerate();
        let hostile = hostile.map(|(at, (name, bytes))| (name.to_owned(), keys.payload(at, bytes))).collect();
        let longest = keys.longest().map(|(name, key)| {
            let payload = Blob(b"{\"a\": 1}".to_vec());
            (name, Payload { key, flags: u32::MAX, payload })
        });
        let group = |name, promise, cases| Group { name, promise, cases };
        Ok(vec![
            group("fixtures", "payloads of real producers are accepted or rejected", fixtures),
            group("damaged", "damaged payloads are accepted or rejected", damaged),
            group("hostile", "payloads made to hurt are accepted or rejected", hostile),
            group("keys", "keys of any length and any flags are taken", longest.collect()),
        ])
    }

    fn vectors(plugin: &Loaded<Self>) -> Result<Vec<(String, Payload)>, PluginError> {
        const NAMES: [&str; 8] =
            ["empty", "null", "nan", "invalid-utf8", "duplicate-keys", "edge-integers", "lone-surrogate", "pickle"];
        let keys = Keys(claims(plugin)?);
        let hostile = material::hostile().into_iter().filter(|(name, _)| NAMES.contains(name));
        let small = [
            ("object", &b"{\"a\": [1, 2.5, \"b\", null]}"[..]),
            ("list", b"[]"),
            ("text", b"\"a\""),
            ("cut", b"{\"a\": "),
        ];
        let small = small.into_iter().map(|(name, bytes)| (name, bytes.to_vec()));
        let all = small.chain(hostile).enumerate();
        Ok(all.map(|(at, (name, bytes))| (name.to_owned(), keys.payload(at, bytes))).collect())
    }

    fn judge(plugin: &Loaded<Self>, used: &mut Option<Sandbox<Self>>, case: &Payload) -> Vec<Broken> {
        judge(plugin, used, case).err().into_iter().collect()
    }

    fn labour(plugin: &Loaded<Self>) -> Result<(String, Payload), PluginError> {
        let keys = Keys(claims(plugin)?);
        let captured = material::captured().into_iter().next();
        let (key, bytes) = captured.map_or_else(Default::default, |payload| (payload.key, payload.bytes.to_vec()));
        let key = keys.of(&key, 0);
        Ok((format!("decode {key}, {} bytes", bytes.len()), Payload { key, flags: 0, payload: Blob(bytes) }))
    }

    fn work(instance: Sandbox<Self>, case: &Payload) -> Result<Sandbox<Self>, PluginError> {
        decode(instance, case, NOW).map(|(instance, _)| instance)
    }
}

fn judge(plugin: &Loaded<CodecPlugin>, used: &mut Option<Sandbox<CodecPlugin>>, case: &Payload) -> Result<(), Broken> {
    let broken = |error: PluginError| Law::Answers.failed(&error);
    let instance = match used.take().filter(|instance| !instance.is_worn()) {
        Some(instance) => instance,
        None => fresh(plugin)?,
    };
    let (instance, told) = decode(instance, case, NOW).map_err(broken)?;
    let later = Time::from_micros(NOW.micros() + LATER.as_micros() as u64);
    let (instance, again) = decode(instance, case, later).map_err(broken)?;
    told.same(&again, "asked again at another time")?;
    let (_, first) = decode(fresh(plugin)?, case, NOW).map_err(broken)?;
    first.same(&told, "on an instance that has been used")?;
    *used = Some(own_answer(instance, case, &told)?);
    Ok(())
}

/// Lets a codec decode its own answer.
fn own_answer(instance: Sandbox<CodecPlugin>, case: &Payload, told: &Told) -> Result<Sandbox<CodecPlugin>, Broken> {
    let Told::Accepted { canonical, real, .. } = told else { return Ok(instance) };
    let own = canonical.as_ref().unwrap_or(&case.payload.0);
    let again = Payload { key: case.key.clone(), flags: 0, payload: Blob(own.clone()) };
    let (instance, told) = decode(instance, &again, NOW).map_err(|error| Law::OwnAnswer.failed(&error))?;
    let what = match told {
        Told::Rejected([code, message, _]) => format!("it rejects its own answer {}: {code}: {message}", shown(own)),
        Told::Accepted { canonical: Some(bytes), .. } if bytes != *own => {
            format!("it answers {}, and to that {}", shown(own), shown(&bytes))
        }
        Told::Accepted { real: now, .. } if now != *real => {
            let kind = |real| if real { "real" } else { "a placeholder" };
            format!("its own answer {} was {} and is {}", shown(own), kind(*real), kind(now))
        }
        Told::Accepted { repairs, .. } if !repairs.is_empty() => {
            format!("it mends its own answer {}: {}", shown(own), repairs[0].join(" "))
        }
        Told::Accepted { .. } => return Ok(instance),
    };
    Err(Law::OwnAnswer.broken(what))
}

fn decode(
    instance: Sandbox<CodecPlugin>,
    case: &Payload,
    now: Time,
) -> Result<(Sandbox<CodecPlugin>, Told), PluginError> {
    let payload = Bytes::copy_from_slice(&case.payload.0);
    let key = Key::new(&case.key)
        .map_err(|error| instance.identity.error(None, Cause::InvalidInput(format!("the input's key: {error}"))))?;
    let (instance, answer) = codec::decode(instance, now, &key, &payload, case.flags)?;
    let told = match answer {
        Ok(decoded) => Told::Accepted {
            canonical: decoded.canonical,
            real: matches!(decoded.kind, crate::plugin::bindings::types::Kind::Real),
            produced_at: decoded.produced_at,
            schema_version: decoded.schema_version,
            repairs: decoded.repairs.into_iter().map(|repair| [repair.code, repair.path, repair.message]).collect(),
        },
        Err(rejection) => Told::Rejected([rejection.code, rejection.message, rejection.path]),
    };
    Ok((instance, told))
}

// === impl Told ===

impl Told {
    fn same(&self, other: &Self, how: &str) -> Result<(), Broken> {
        if self == other {
            return Ok(());
        }
        Err(Law::Repeatable.broken(format!("it answers {}, and {how} {}", self.summary(), other.summary())))
    }

    fn summary(&self) -> String {
        match self {
            Self::Rejected([code, message, path]) => format!("rejected ({code} at {path}: {message})"),
            Self::Accepted { canonical: None, real, produced_at, schema_version, repairs } => {
                format!("as it came (real: {real}, {produced_at:?}, {schema_version:?}, repairs {repairs:?})")
            }
            Self::Accepted { canonical: Some(bytes), real, produced_at, schema_version, repairs } => {
                let bytes = shown(bytes);
                format!("{bytes} (real: {real}, {produced_at:?}, {schema_version:?}, repairs {repairs:?})")
            }
        }
    }
}

/// The keys of a codec.
struct Keys(Vec<Claim>);

impl Keys {
    /// `key` if it is claimed, else one that is.
    fn of(&self, key: &str, at: usize) -> String {
        if self.0.iter().any(|claim| claim.fits(key)) { key.to_owned() } else { self.one(at) }
    }

    /// One of the keys that are claimed.
    fn one(&self, at: usize) -> String {
        self.0[at % self.0.len()].pattern().replace('*', "kit")
    }

    fn payload(&self, at: usize, bytes: Vec<u8>) -> Payload {
        let flags = if bytes.starts_with(b"\x80\x04") { 1 } else { 0 };
        Payload { key: self.one(at), flags, payload: Blob(bytes) }
    }

    /// For each pattern the longest key and the shortest, each with a name.
    fn longest(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(Claim::pattern).filter(|pattern| pattern.ends_with('*')).enumerate().flat_map(
            |(at, pattern)| {
                let literal = pattern.trim_end_matches('*').to_owned();
                let longest = format!("{literal}{}", "~".repeat(KEY_BYTES_MAX - literal.len()));
                // Nothing is no key.
                let shortest = if literal.is_empty() { "!".to_owned() } else { literal };
                [(format!("longest-{at}"), longest), (format!("shortest-{at}"), shortest)]
            },
        )
    }
}

fn claims(plugin: &Loaded<CodecPlugin>) -> Result<Vec<Claim>, PluginError> {
    let call = Call::at_start("claims");
    let (sandbox, claims) =
        plugin.start()?.call(call, |s| s.world.tiergate_plugin_codec().call_claims(&mut s.store), |_| "ok")?;
    Claim::check_all(claims, 0).map_err(|what| sandbox.condemn(call, what))
}
