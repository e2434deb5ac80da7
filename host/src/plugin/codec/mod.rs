//! [`CodecRouter`]: gives each payload to the codec that claims its key, and checks the answer.

mod claims;
mod pool;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::cache::{Codec, DecodeError, Decoded};
use crate::record::{Key, Kind, Rejection, Repair, Time};

use super::answer;
use super::bindings::codec::exports::tiergate::plugin::codec;
use super::bindings::{CodecPlugin, World as _, types};
use super::call::{Answer, Faults, Question, Stopwatch, Taken};
use super::config::Config;
use super::error::{Cause, PluginError};
use super::loaded::Loaded;
use super::sandbox::{Call, Sandbox};
use super::shadow::{Activated, Handover, Mode, Runner};
use super::slot::{Generation, Identity, Slot, SlotStatus, tell};
use super::tap::{AnyTap as _, Tap};
use super::tape::Room;

pub(super) use claims::Claim;
pub(super) use pool::Pool;

/// The longest message or path of a repair or a rejection in bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 1 << 10;

/// Repairs of one payload that are kept; more are summed up in one.
const REPAIRS_MAX: usize = 256;

/// Patterns of keys that an error names; more are counted.
const PATTERNS_TOLD_MAX: usize = 8;

/// What a codec may take beyond its deadline for each KiB of the payload. The built-in ones take a third of it.
const PER_KIB: Duration = Duration::from_micros(50);

/// Payloads of more bytes take longer than other requests should wait: their thread gives the others away first.
const IN_PLACE_BYTES_MAX: usize = 64 << 10;

/// Timestamps outside of 2001 to 2100 are not the time of a market's data: zeros, or seconds that were taken for microseconds.
const PRODUCED_AT: std::ops::Range<u64> = 978_307_200_000_000..4_102_444_800_000_000;

/// All codecs.
pub struct CodecRouter {
    slots: Vec<Slot<Pool>>,
    /// Where the calls of each slot are heard, by its position.
    taps: Vec<Tap<Reader>>,
    /// Which codec a key belongs to, and the generations that run: one pointer, so that a swap is one step.
    routing: ArcSwap<Routing>,
    /// Counts the swaps: what was decoded before one is not what would be decoded now.
    epoch: AtomicU64,
    /// Held while a codec is swapped.
    swap: Mutex<()>,
}

/// Where payloads go.
struct Routing {
    claims: claims::Claims,
    /// By the position that claims name.
    codecs: Vec<Arc<Generation<Pool>>>,
}

/// What a codec answers to a payload.
pub(super) type Said = Result<codec::Decoded, codec::Rejection>;

// === impl CodecRouter ===

impl CodecRouter {
    /// A router to `slots`; else every claim that two codecs make, as an error of the later one.
    pub(super) fn new(slots: Vec<Slot<Pool>>, tape_bytes_max: usize) -> Result<Self, Vec<PluginError>> {
        let names: Vec<_> = slots.iter().map(|slot| slot.name().clone()).collect();
        let routing = Routing::new(slots.iter().map(Slot::active).collect(), &names)?;
        let (routing, epoch, swap) = (ArcSwap::from_pointee(routing), AtomicU64::new(0), Mutex::default());
        let taps = slots.iter().map(|_| Tap::new(tape_bytes_max)).collect();
        Ok(Self { slots, taps, routing, epoch, swap })
    }

    /// The slots as operators see them.
    pub fn status(&self) -> Vec<SlotStatus> {
        let status = |(slot, tap): (&Slot<Pool>, &Tap<Reader>)| slot.status(CodecPlugin::NAME, tap.beside());
        self.slots.iter().zip(&self.taps).map(status).collect()
    }

    /// The slot of this name, with its position.
    pub(super) fn slot(&self, name: &str) -> Option<(usize, &Slot<Pool>)> {
        self.slots.iter().enumerate().find(|(_, slot)| **slot.name() == *name)
    }

    /// Where the calls of the slot at `position` are heard.
    pub(super) fn tap(&self, position: usize) -> &Tap<Reader> {
        &self.taps[position]
    }

    /// Lets `generation` run beside the active version of the slot at `position`.
    pub(super) fn accompany(
        &self,
        position: usize,
        generation: &Arc<Generation<Pool>>,
        mode: Mode,
    ) -> Result<(), PluginError> {
        self.taps[position].accompany(generation, mode, reader(generation))
    }

    /// Lets `next` decode from now on in the slot at `position`. Decodes under way finish on the old one, which on
    /// `probation` goes on beside the new one. One that leaves keys to nobody is refused, unless it comes `back`: the way back is
    /// open whatever the version claimed that is left.
    pub(super) fn activate(
        &self,
        position: usize,
        next: &Arc<Generation<Pool>>,
        back: bool,
        probation: bool,
    ) -> Result<Activated, PluginError> {
        let _turn = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<_> = self.slots.iter().map(|slot| slot.name().clone()).collect();
        let now = self.routing.load_full();
        let mut codecs = now.codecs.clone();
        codecs[position] = next.clone();
        let routing = Routing::new(codecs, &names).map_err(|mut errors| errors.swap_remove(0))?;
        let unclaimed = now.claims.beyond(&routing.claims);
        match told(&unclaimed) {
            None => {}
            Some(patterns) if back => tell!(warn, next.identity, patterns, "keys that no codec claims any more"),
            Some(patterns) => return Err(next.identity.refused(unclaimed_by(&patterns))),
        }
        let before = self.slots[position].active();
        self.routing.store(Arc::new(routing));
        self.slots[position].activate(next);
        self.epoch.fetch_add(1, Relaxed);
        self.taps[position].dismiss(&|_| true);
        let watched = probation && self.taps[position].watch(next, &before, reader(&before));
        Ok(Activated { state: Handover::Stateless, watched })
    }
}

/// Patterns as an error tells them; `None` if there are none.
fn told(patterns: &[String]) -> Option<String> {
    let shown = patterns.iter().take(PATTERNS_TOLD_MAX).map(|pattern| format!("`{pattern}`")).collect::<Vec<_>>();
    let more = patterns.len().saturating_sub(PATTERNS_TOLD_MAX);
    let sum = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!shown.is_empty()).then(|| shown.join(", ") + &sum)
}

fn unclaimed_by(patterns: &str) -> String {
    format!(
        "with it no codec claims {patterns} any more, and requests for these keys would fail; load a version that claims them \
         too, or name it in the configuration and restart"
    )
}

/// What makes a companion of `generation`. It has no state to come by.
fn reader(generation: &Arc<Generation<Pool>>) -> impl FnOnce() -> (Reader, String) + Send + 'static {
    let reader = Reader(generation.clone());
    move || (reader, Handover::Stateless.to_string())
}

// === impl Routing ===

impl Routing {
    fn new(codecs: Vec<Arc<Generation<Pool>>>, names: &[Arc<str>]) -> Result<Self, Vec<PluginError>> {
        let (mut claims, mut errors) = (claims::Claims::default(), Vec::new());
        for codec in &codecs {
            for (claim, earlier) in claims.add(codec.plugin.claims.clone()) {
                errors.push(codec.identity.refused(format!(
                    "it claims `{}`, which codec `{}` claims too; leave one of the two out of `codecs`",
                    claim.pattern(),
                    names[earlier]
                )));
            }
        }
        if errors.is_empty() { Ok(Self { claims, codecs }) } else { Err(errors) }
    }
}

impl Codec for CodecRouter {
    fn decode(&self, key: &Key, payload: &Bytes, flags: u32) -> Result<Decoded, DecodeError> {
        let routing = self.routing.load_full();
        let Some((claim, codec)) = routing.claims.find(key).and_then(|c| routing.codecs.get(c.codec).map(|g| (c, g)))
        else {
            let message =
                format!("no codec claims the key `{key}`; write a key that a codec knows, or load a codec for it");
            return Err(Rejection { code: "unclaimed-key".to_owned(), message, path: "$".to_owned() }.into());
        };
        self.run(claim.codec, codec, &claim.schema, key, payload, flags)
    }

    fn decode_by(&self, codec: &str, key: &Key, payload: &Bytes) -> Result<Decoded, DecodeError> {
        let Some((at, slot)) = self.slot(codec) else {
            let known: Vec<_> = self.slots.iter().map(|slot| slot.name().to_string()).collect();
            let message = format!("there is no codec `{codec}`; there are: {}", known.join(", "));
            return Err(Rejection { code: "unknown-codec".to_owned(), message, path: "$".to_owned() }.into());
        };
        self.run(at, &self.routing.load_full().codecs[at], slot.name(), key, payload, 0)
    }

    fn claims(&self) -> Vec<String> {
        self.routing.load().claims.patterns()
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }
}

impl CodecRouter {
    /// Makes a call to the codec at `position` and lets it be heard.
    fn run(
        &self,
        position: usize,
        generation: &Generation<Pool>,
        schema: &Arc<str>,
        key: &Key,
        payload: &Bytes,
        flags: u32,
    ) -> Result<Decoded, DecodeError> {
        let now = Time::now();
        let spent = Stopwatch::start();
        let call = || ask(generation, now, schema, key, payload, flags);
        let decoded = if payload.len() > IN_PLACE_BYTES_MAX && on_worker() { block_in_place(call) } else { call() };
        let took = spent.took();
        let question = Question::Decode { now, key: key.clone(), payload: payload.clone(), flags };
        let answer = Answer::of(decoded.clone(), Answer::Decoded);
        // A codec has no state to begin a tape with.
        let (Room::Enough | Room::NeedsState) =
            self.taps[position].heard(Taken::new(generation, question, answer, took));
        decoded.map_err(|error| DecodeError::Plugin(error.to_string()))?.map_err(DecodeError::from)
    }
}

/// A codec that runs beside the active one.
pub(super) struct Reader(pub(super) Arc<Generation<Pool>>);

impl Runner for Reader {
    const STATEFUL: bool = false;

    fn answer(&mut self, question: &Question) -> (Answer, Faults) {
        let decoded = match question {
            // The schema is the claim's and not the answer's.
            Question::Decode { now, key, payload, flags } => {
                ask(&self.0, *now, &self.0.identity.name, key, payload, *flags)
            }
            other => {
                let cause = Cause::Unsupported("a codec has no such call".to_owned());
                Err(self.0.identity.error(Some(other.call()), cause))
            }
        };
        Answer::of(decoded, Answer::Decoded)
    }

    fn seed(&mut self, _: &Arc<[u8]>) -> Result<(), PluginError> {
        Ok(())
    }

    fn identity(&self) -> &Identity {
        &self.0.identity
    }
}

/// Asks a codec.
fn ask(
    generation: &Generation<Pool>,
    now: Time,
    schema: &Arc<str>,
    key: &Key,
    payload: &Bytes,
    flags: u32,
) -> Result<Result<Decoded, Rejection>, PluginError> {
    let answer = generation.plugin.with(|sandbox| decode(sandbox, now, key, payload, flags))?;
    let decoded = match answer {
        Ok(decoded) => decoded,
        Err(refused) => return Ok(Err(rejection(refused))),
    };
    Ok(Ok(Decoded {
        canonical: decoded.canonical.map(Bytes::from),
        kind: match decoded.kind {
            types::Kind::Placeholder => Kind::Placeholder,
            types::Kind::Real => Kind::Real,
        },
        produced_at: decoded.produced_at.filter(|at| PRODUCED_AT.contains(at)).map(Time::from_micros),
        schema: schema.clone(),
        schema_version: decoded.schema_version.map(|version| answer::one_line(&version, TEXT_BYTES_MAX)),
        repairs: repairs(decoded.repairs),
    }))
}

/// What a codec may take for a payload.
fn deadline(limit: Duration, payload: &[u8]) -> Duration {
    let kib = u32::try_from(payload.len() >> 10).unwrap_or(u32::MAX);
    limit.saturating_add(PER_KIB.saturating_mul(kib))
}

/// The instances of a codec, with the keys that it claims. `position` is its place among the codecs.
pub(super) fn pool(codec: Loaded<CodecPlugin>, position: usize, config: &Config) -> Result<Pool, PluginError> {
    let call = Call::at_start("claims");
    let (sandbox, claims) =
        codec.start()?.call(call, |s| s.world.tiergate_plugin_codec().call_claims(&mut s.store), |_| "ok")?;
    let claims = Claim::check_all(claims, position).map_err(|what| sandbox.condemn(call, what))?;
    Ok(Pool::new(codec, claims, config.codec_instances))
}

/// Whether this thread serves other tasks that can be given away.
fn on_worker() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Makes one call at a time of the caller's choice, and checks the answer.
pub(super) fn decode(
    sandbox: Sandbox<CodecPlugin>,
    now: Time,
    key: &Key,
    payload: &Bytes,
    flags: u32,
) -> Result<(Sandbox<CodecPlugin>, Said), PluginError> {
    let within = sandbox.within_limits("decode", now);
    let call = Call { deadline: deadline(within.deadline, payload), ..within };
    let make = |s: &mut Sandbox<CodecPlugin>| {
        s.world.tiergate_plugin_codec().call_decode(&mut s.store, key.as_str(), payload, flags)
    };
    let outcome = |answer: &Said| if answer.is_ok() { "ok" } else { "rejected" };
    let (sandbox, answer) = sandbox.call(call, make, outcome)?;
    match check(&answer, payload) {
        Ok(()) => Ok((sandbox, answer)),
        Err(what) => Err(sandbox.condemn(call, what)),
    }
}

/// Whether the answer is what the contract promises. What is merely long is cut later; this finds lies.
fn check(answer: &Said, payload: &Bytes) -> Result<(), String> {
    let decoded = match answer {
        Ok(decoded) => decoded,
        Err(rejection) => return check_code(&rejection.code),
    };
    let canonical = decoded.canonical.as_deref().unwrap_or(payload);
    answer::check_json(canonical).map_err(|error| format!("the canonical bytes are {error}"))?;
    decoded.repairs.iter().try_for_each(|repair| check_code(&repair.code))
}

fn check_code(code: &str) -> Result<(), String> {
    if answer::is_words(code, b'-') {
        return Ok(());
    }
    Err(format!("the code {:?} is not lower-case words joined by `-`", answer::one_line(code, TEXT_BYTES_MAX)))
}

fn rejection(rejection: codec::Rejection) -> Rejection {
    Rejection {
        code: rejection.code,
        message: answer::one_line(&rejection.message, TEXT_BYTES_MAX),
        path: answer::one_line(&rejection.path, TEXT_BYTES_MAX),
    }
}

fn repairs(repairs: Vec<codec::Repair>) -> Vec<Repair> {
    let more = repairs.len().saturating_sub(REPAIRS_MAX);
    let kept = repairs.into_iter().take(REPAIRS_MAX).map(|repair| Repair {
        code: repair.code,
        path: answer::one_line(&repair.path, TEXT_BYTES_MAX),
        message: answer::one_line(&repair.message, TEXT_BYTES_MAX),
    });
    let sum = (more > 0).then(|| Repair {
        code: "more-repairs".to_owned(),
        path: "$".to_owned(),
        message: format!("{more} more repairs are not listed"),
    });
    kept.chain(sum).collect()
}

/// Only fields that cannot change what is served are left out.
impl std::fmt::Debug for CodecRouter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let routing = self.routing.load();
        f.debug_struct("CodecRouter").field("slots", &self.status()).field("claims", &routing.claims).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::super::loader::Loader;
    use super::super::{Limits, clock, engine, guest};
    use super::*;

    fn pool(dir: &Path, limits: &Limits, instances: usize) -> Slot<Pool> {
        let (identity, pool) = claiming(dir, "test:*", 0, limits, instances);
        Slot::new("mine".into(), identity, pool)
    }

    /// A codec of the keys of `pattern`, at this place among the codecs.
    fn claiming(dir: &Path, pattern: &str, at: usize, limits: &Limits, instances: usize) -> (Arc<Identity>, Arc<Pool>) {
        let loader = Loader::new(engine::start(engine::Room::TEST).unwrap(), &dir.join("code")).unwrap();
        let codec = loader.load(&guest::spec(dir, "mine", &guest::codec(pattern)), limits).unwrap();
        let identity = codec.identity.clone();
        let config = Config { codec_instances: instances.try_into().unwrap(), ..Config::default() };
        (identity, Arc::new(super::pool(codec, at, &config).unwrap()))
    }

    fn router(dir: &Path) -> CodecRouter {
        CodecRouter::new(vec![pool(dir, &Limits::CODEC, 2)], 1 << 20).unwrap()
    }

    fn decode(router: &CodecRouter, flags: u32) -> Result<Decoded, DecodeError> {
        router.decode(&Key::new("test:key").unwrap(), &Bytes::from_static(b"{}"), flags)
    }

    fn failure(router: &CodecRouter, flags: u32) -> String {
        match decode(router, flags) {
            Err(DecodeError::Plugin(failure)) => failure,
            other => panic!("expected a failure of the plugin, not {other:?}"),
        }
    }

    #[test]
    fn every_failure_costs_one_call_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let router = router(dir.path());
        for (flags, expected) in [
            (1, "trap in decode: wasm trap: wasm `unreachable` instruction executed"),
            (2, "deadline of 50ms exceeded in decode"),
            (3, "memory limit of 64.0 MiB exceeded in decode"),
            (4, "trap in decode: wasm trap: call stack exhausted"),
            (5, "answer larger than 16.0 MiB in decode"),
            (6, "contract broken in decode: the canonical bytes are not JSON"),
            (8, "contract broken in decode: list pointer/length out of bounds"),
            (9, "contract broken in decode: the code \"1.0\" is not lower-case words"),
        ] {
            let failure = failure(&router, flags);
            assert!(failure.starts_with(&format!("plugin test-plugin 1.2.3: {expected}")), "{flags}: {failure}");
            let after = decode(&router, 10).unwrap();
            assert_eq!(after.canonical.as_deref(), Some(&b"1"[..]), "a fresh instance answers after {flags}");
            assert!(failure_free(&router), "{flags}");
            // Throw the instance away, so that the next one is fresh again.
            assert!(decode(&router, 1).is_err());
        }
    }

    fn failure_free(router: &CodecRouter) -> bool {
        decode(router, 0).is_ok_and(|decoded| {
            decoded.kind == Kind::Real && decoded.canonical.is_none() && &*decoded.schema == "test"
        })
    }

    #[test]
    fn a_call_after_a_long_silence_is_cut_off_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let router = router(dir.path());
        // Time enough for the clock to fall asleep.
        thread::sleep(clock::TICK * clock::LINGER * 10);
        assert!(failure(&router, 2).contains("deadline of 50ms exceeded in decode"));
    }

    #[test]
    fn a_rejection_keeps_the_instance() {
        let dir = tempfile::tempdir().unwrap();
        let router = router(dir.path());
        let Err(DecodeError::Rejected(rejection)) = decode(&router, 7) else { panic!("expected a rejection") };
        assert_eq!((&*rejection.code, &*rejection.path), ("test", "1.0"));
        assert_eq!(decode(&router, 10).unwrap().canonical.as_deref(), Some(&b"2"[..]));
    }

    #[test]
    fn an_instance_that_grew_is_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let router = router(dir.path());
        assert!(decode(&router, 11).is_ok());
        assert_eq!(router.slots[0].active().plugin.alive(), 0);
        assert_eq!(decode(&router, 10).unwrap().canonical.as_deref(), Some(&b"1"[..]));
        assert_eq!(router.slots[0].active().plugin.alive(), 1);
    }

    #[test]
    fn a_payload_that_is_called_canonical_but_is_not_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let answer = router(dir.path()).decode(&Key::new("test:key").unwrap(), &Bytes::from_static(b"{\xff}"), 0);
        assert!(matches!(answer, Err(DecodeError::Plugin(failure)) if failure.contains("not UTF-8")));
    }

    #[test]
    fn a_key_that_nobody_claims_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let answer = router(dir.path()).decode(&Key::new("other").unwrap(), &Bytes::from_static(b"{}"), 0);
        assert!(matches!(answer, Err(DecodeError::Rejected(rejection)) if rejection.code == "unclaimed-key"));
    }

    #[test]
    fn a_version_that_leaves_keys_to_no_codec_is_not_used_and_the_way_back_from_one_that_claims_more_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let claiming = |pattern: &str, at| claiming(dir.path(), pattern, at, &Limits::CODEC, 1);
        let slots = ["all:*", "test:*"].into_iter().enumerate().map(|(at, pattern)| {
            let (identity, pool) = claiming(pattern, at);
            Slot::new(pattern.into(), identity, pool)
        });
        let router = CodecRouter::new(slots.collect(), 1 << 20).unwrap();
        let activate = |at: usize, pattern: &str, back| {
            let (identity, pool) = claiming(pattern, at);
            let next = router.slots[at].offer(identity, pool);
            router.activate(at, &next, back, false).map_err(|error| error.to_string())
        };
        let refused = activate(1, "test:key", false).unwrap_err();
        assert!(refused.contains("no codec claims `test:*` any more") && refused.contains("restart"), "{refused}");
        assert_eq!((router.slots[1].active().number, failure_free(&router)), (1, true), "the active one goes on");
        activate(1, "t*", false).unwrap();
        activate(0, "tes*", false).unwrap_err();
        activate(1, "*", false).unwrap();
        // What it claimed is another codec's now.
        activate(0, "tes*", false).unwrap();
        assert!(failure_free(&router));
        activate(1, "t*", true).unwrap();
        assert_eq!(router.claims(), ["tes*", "t*"]);
    }

    #[test]
    fn calls_beyond_the_bound_wait_and_then_give_up() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { deadline: Duration::from_millis(300), ..Limits::CODEC };
        let router = Arc::new(CodecRouter::new(vec![pool(dir.path(), &limits, 1)], 1 << 20).unwrap());
        let slow = thread::spawn({
            let router = router.clone();
            move || decode(&router, 2).unwrap_err().to_string()
        });
        while router.slots[0].active().plugin.alive() == 0 {
            thread::yield_now();
        }
        // On a slow machine it may get the place just before it gives up.
        let waited = decode(&router, 0);
        assert!(waited.is_ok() || waited.unwrap_err().to_string().contains("no free instance within 250ms"));
        assert!(slow.join().unwrap().contains("deadline of 300ms"));
        assert!(failure_free(&router));
    }

    #[test]
    fn two_codecs_cannot_claim_one_pattern() {
        let dir = tempfile::tempdir().unwrap();
        let component = guest::codec("same:*");
        let codecs = ["first", "second"].map(|name| guest::spec(dir.path(), name, &component)).to_vec();
        let aggregator = guest::spec(dir.path(), "aggregator", &guest::aggregator());
        let config = Config { codecs, aggregator, ..Config::default() };
        let errors = super::super::Plugins::load(config, &dir.path().join("code")).unwrap_err();
        let [error] = &errors[..] else { panic!("{errors:?}") };
        let error = error.to_string();
        assert!(error.contains("second.wasm") && error.contains("claims `same:*`, which codec `first`"), "{error}");
    }
}
