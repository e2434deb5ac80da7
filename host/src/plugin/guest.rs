//! Small plugins for the tests of this room, written by hand so that they can do what a compiler would not let them.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::PluginSpec;

const WIT: &str = include_str!("../../../wit/tiergate.wit");

/// What every guest has: memory, an allocator that forgets everything after a call, and the exports of `lifecycle`.
const COMMON: &str = r#"
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (block $fits (loop $grow
      (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
      (br $grow)))
    (local.get $at))
  (func $forget (param i32) (global.set $heap (i32.const 8192)))

  (data (i32.const 16) "test-plugin") (data (i32.const 32) "1.2.3")
  (data (i32.const 128) "\10\00\00\00\0b\00\00\00\20\00\00\00\05\00\00\00")
  (func (export "tiergate:plugin/lifecycle@0.1.0#describe") (result i32) (i32.const 128))
  ;; `init` refuses a configuration that is longer than `{}`.
  (data (i32.const 200) "\01\00\00\00\00\00\00\00\e0\00\00\00\0d\00\00\00") (data (i32.const 224) "unknown field")
  (func (export "tiergate:plugin/lifecycle@0.1.0#init") (param i32 i32) (result i32)
    (if (result i32) (i32.gt_u (local.get 1) (i32.const 2)) (then (i32.const 200)) (else (i32.const 512))))
"#;

/// A codec that does what the flags say.
const CODEC: &str = r#"
(module
  (import "tiergate:plugin/host-clock@0.1.0" "now" (func $now (result i64)))
  COMMON
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 48) "PATTERN")
  (data (i32.const 80) "test") (data (i32.const 88) "1.0")
  (data (i32.const 256) "\08\01\00\00\01\00\00\00\30\00\00\00\LEN\00\00\00\50\00\00\00\04\00\00\00\58\00\00\00\03\00\00\00")
  (func (export "tiergate:plugin/codec@0.1.0#claims") (result i32) (i32.const 256))

  ;; Accepted, real, no canonical bytes.
  (data (i32.const 1044) "\01")
  ;; Rejected: code, message, path.
  (data (i32.const 1104) "\01\00\00\00\00\00\00\00\50\00\00\00\04\00\00\00\58\00\00\00\03\00\00\00\58\00\00\00\03\00\00\00")
  ;; Rejected with a code that is no word.
  (data (i32.const 1200) "\01\00\00\00\00\00\00\00\58\00\00\00\03\00\00\00\58\00\00\00\03\00\00\00\58\00\00\00\03\00\00\00")

  (func $canonical (param $at i32) (param $len i32)
    (i32.store8 (i32.const 1032) (i32.const 1))
    (i32.store (i32.const 1036) (local.get $at))
    (i32.store (i32.const 1040) (local.get $len)))
  (func $recurse (param i32) (result i32) (i32.add (call $recurse (local.get 0)) (i32.const 1)))

  (func (export "tiergate:plugin/codec@0.1.0#decode") (param i32 i32 i32 i32) (param $flags i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (i32.const 1032) (i32.const 0))
    (if (i32.eq (local.get $flags) (i32.const 1)) (then unreachable))
    (if (i32.eq (local.get $flags) (i32.const 2)) (then (loop $forever (br $forever))))
    (if (i32.eq (local.get $flags) (i32.const 3)) (then (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
    (if (i32.eq (local.get $flags) (i32.const 4)) (then (drop (call $recurse (i32.const 0)))))
    (if (i32.eq (local.get $flags) (i32.const 5)) (then
      (drop (memory.grow (i32.const 320))) (call $canonical (i32.const 0) (i32.const 20000000))))
    (if (i32.eq (local.get $flags) (i32.const 6)) (then (call $canonical (i32.const 80) (i32.const 4))))
    (if (i32.eq (local.get $flags) (i32.const 7)) (then (return (i32.const 1104))))
    (if (i32.eq (local.get $flags) (i32.const 8)) (then (call $canonical (i32.const -4) (i32.const 100))))
    (if (i32.eq (local.get $flags) (i32.const 9)) (then (return (i32.const 1200))))
    ;; How many calls this instance has answered, from 0 to 9.
    (if (i32.eq (local.get $flags) (i32.const 10)) (then
      (i32.store8 (i32.const 2048) (i32.add (i32.const 48) (i32.rem_u (global.get $calls) (i32.const 10))))
      (call $canonical (i32.const 2048) (i32.const 1))))
    ;; Grows to more than three quarters of 64 MiB, and answers.
    (if (i32.eq (local.get $flags) (i32.const 11)) (then (drop (memory.grow (i32.const 800)))))
    (drop (call $now))
    (i32.const 1024))
  (export "cabi_post_tiergate:plugin/codec@0.1.0#decode" (func $forget)))
"#;

/// An aggregator that counts signals, and traps at one whose body begins with `X`. A view is the count; a limit of 13 traps.
const AGGREGATOR: &str = r#"
(module
  COMMON
  (data (i32.const 600) "\00\00\00\00\b8\0b\00\00\04\00\00\00")
  (func (export "tiergate:plugin/state@0.1.0#save") (result i32) (i32.const 600))
  (func (export "tiergate:plugin/state@0.1.0#restore") (param i32 i32) (result i32)
    (i32.store (i32.const 3000) (i32.load (local.get 0))) (i32.const 512))

  (func (export "tiergate:plugin/aggregator@0.1.0#ingest") (param i64) (param $at i32) (param $len i32) (result i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $len)))
      (if (i32.eq (i32.load8_u (i32.load offset=16 (local.get $at))) (i32.const 88)) (then unreachable))
      (i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 24)))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br $next)))
    (i32.const 640))
  (export "cabi_post_tiergate:plugin/aggregator@0.1.0#ingest" (func $forget))
  (func (export "tiergate:plugin/aggregator@0.1.0#observe") (param i64 i32 i32) (result i32) (i32.const 512))

  (data (i32.const 700) "\00\00\00\00\d0\02\00\00\02\00\00\00")
  (data (i32.const 720) "\20\03\00\00\04\00\00\00\30\03\00\00\01\00\00\00\05\00\00\00")
  (data (i32.const 740) "\28\03\00\00\07\00\00\00\30\03\00\00\01\00\00\00\05\00\00\00")
  (data (i32.const 800) "good") (data (i32.const 808) "bad key") (data (i32.const 816) "1")
  (func (export "tiergate:plugin/aggregator@0.1.0#documents") (param i64) (result i32) (i32.const 700))

  (data (i32.const 840) "\50\03\00\00\01\00\00\00\20\03\00\00\04\00\00\00")
  (func (export "tiergate:plugin/aggregator@0.1.0#inputs") (result i32) (i32.const 840))

  (data (i32.const 900) "\00\00\00\00\90\03\00\00\01\00\00\00\00\08\00\00\03\00\00\00")
  (data (i32.const 2048) "\22?\22")
  (func (export "tiergate:plugin/aggregator@0.1.0#compose") (param i64) (param $views i32) (param i32 i32 i32) (result i32)
    (if (i32.eq (i32.load offset=8 (local.get $views)) (i32.const 13)) (then unreachable))
    (i32.store8 (i32.const 2049) (i32.add (i32.const 48) (i32.load (i32.const 3000))))
    (i32.const 900))
  (export "cabi_post_tiergate:plugin/aggregator@0.1.0#compose" (func $forget)))
"#;

/// An aggregator that tells signals apart by the four digits of their body `{"n":1000}`, from 1000 to 5095: how many it was
/// given, how many different ones, and how many it knew when it was restored, is its only view. A limit other than 0 makes it
/// trap that many steps later, in the midst of whatever it does then: a signal, `save` and `documents` are a step each. An
/// instance that takes over knows nothing of it.
const EXACT_AGGREGATOR: &str = r#"
(module
  COMMON
  (global $left (mut i32) (i32.const 0))
  (global $restored (mut i32) (i32.const 0))
  (func $step
    (if (global.get $left) (then
      (global.set $left (i32.sub (global.get $left) (i32.const 1)))
      (if (i32.eqz (global.get $left)) (then unreachable)))))

  ;; Its state is at 4088: both counts, and a byte for each signal.
  (data (i32.const 600) "\00\00\00\00\f8\0f\00\00\08\10\00\00")
  (func (export "tiergate:plugin/state@0.1.0#save") (result i32) (call $step) (i32.const 600))
  (func (export "tiergate:plugin/state@0.1.0#restore") (param i32 i32) (result i32)
    (memory.copy (i32.const 4088) (local.get 0) (local.get 1))
    (global.set $restored (i32.load (i32.const 4088)))
    (i32.const 512))

  (func $count (param $body i32) (local $i i32) (local $n i32)
    (loop $digit
      (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10))
        (i32.sub (i32.load8_u offset=5 (i32.add (local.get $body) (local.get $i))) (i32.const 48))))
      (br_if $digit (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
    (local.set $n (i32.sub (local.get $n) (i32.const 1000)))
    (if (i32.ge_u (local.get $n) (i32.const 4096)) (then unreachable))
    (i32.store (i32.const 4088) (i32.add (i32.load (i32.const 4088)) (i32.const 1)))
    (if (i32.eqz (i32.load8_u offset=4096 (local.get $n)))
      (then (i32.store (i32.const 4092) (i32.add (i32.load (i32.const 4092)) (i32.const 1)))))
    (i32.store8 offset=4096 (local.get $n) (i32.const 1)))
  (func (export "tiergate:plugin/aggregator@0.1.0#ingest") (param i64) (param $at i32) (param $len i32) (result i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $len)))
      (call $count (i32.load offset=16 (local.get $at)))
      (call $step)
      (local.set $at (i32.add (local.get $at) (i32.const 24)))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br $next)))
    (i32.const 640))
  (export "cabi_post_tiergate:plugin/aggregator@0.1.0#ingest" (func $forget))
  (func (export "tiergate:plugin/aggregator@0.1.0#observe") (param i64 i32 i32) (result i32) (i32.const 512))
  (func (export "tiergate:plugin/aggregator@0.1.0#documents") (param i64) (result i32) (call $step) (i32.const 640))
  (func (export "tiergate:plugin/aggregator@0.1.0#inputs") (result i32) (i32.const 640))

  ;; Writes a number of four digits.
  (func $write (param $at i32) (param $n i32) (local $i i32)
    (local.set $i (i32.const 4))
    (loop $digit
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (i32.store8 (i32.add (local.get $at) (local.get $i))
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $digit (local.get $i))))
  (data (i32.const 900) "\00\00\00\00\90\03\00\00\01\00\00\00\00\08\00\00\10\00\00\00")
  (data (i32.const 2048) "\220000 0000 0000\22")
  (func (export "tiergate:plugin/aggregator@0.1.0#compose") (param i64) (param $views i32) (param i32 i32 i32) (result i32)
    (global.set $left (i32.load offset=8 (local.get $views)))
    (call $write (i32.const 2049) (i32.load (i32.const 4088)))
    (call $write (i32.const 2054) (i32.load (i32.const 4092)))
    (call $write (i32.const 2059) (global.get $restored))
    (i32.const 900))
  (export "cabi_post_tiergate:plugin/aggregator@0.1.0#compose" (func $forget)))
"#;

/// A warmer that counts its plans, and gives the count as the reason to leave the one key that it watches. A budget of 1 traps,
/// one of 2 never ends, and one of 3 names what is no key; 6, 7 and 8 are answered with the errors of the contract, in order.
const WARMER: &str = r#"
(module
  COMMON
  (data (i32.const 600) "\00\00\00\00\b8\0b\00\00\04\00\00\00")
  (func (export "tiergate:plugin/state@0.1.0#save") (result i32) (i32.const 600))
  (func (export "tiergate:plugin/state@0.1.0#restore") (param i32 i32) (result i32)
    (i32.store (i32.const 3000) (i32.load (local.get 0))) (i32.const 512))

  (data (i32.const 800) "good") (data (i32.const 808) "bad key")
  (data (i32.const 840) "\50\03\00\00\01\00\00\00\20\03\00\00\04\00\00\00")
  (func (export "tiergate:plugin/warmer@0.1.0#watches") (result i32) (i32.const 840))

  ;; One action: key, step, body, priority, next-at, reason.
  (data (i32.const 1100) "\00\00\00\00\60\04\00\00\01\00\00\00")
  (data (i32.const 1120) "\20\03\00\00\04\00\00\00\03\00\00\00\00\00\00\00\00\00\00\00\01")
  (data (i32.const 1160) "\10\08\00\00\01\00\00\00")
  ;; An error, with the text that `init` has.
  (data (i32.const 1200) "\01\00\00\00\00\00\00\00\e0\00\00\00\0d\00\00\00")
  (func (export "tiergate:plugin/warmer@0.1.0#plan") (param i64 i32 i32) (param $budget i32) (result i32)
    (i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (i32.const 1)))
    (if (i32.eq (local.get $budget) (i32.const 1)) (then unreachable))
    (if (i32.eq (local.get $budget) (i32.const 2)) (then (loop $forever (br $forever))))
    (if (i32.eq (local.get $budget) (i32.const 3)) (then
      (i32.store (i32.const 1120) (i32.const 808)) (i32.store (i32.const 1124) (i32.const 7))))
    (if (i32.and (i32.ge_u (local.get $budget) (i32.const 6)) (i32.le_u (local.get $budget) (i32.const 8))) (then
      (i32.store8 (i32.const 1204) (i32.sub (local.get $budget) (i32.const 6))) (return (i32.const 1200))))
    (i32.store8 (i32.const 2064) (i32.add (i32.const 48) (i32.load (i32.const 3000))))
    (i32.const 1100))
  (export "cabi_post_tiergate:plugin/warmer@0.1.0#plan" (func $forget)))
"#;

/// An aggregator that keeps every law of the contract. It counts signals, publishes the document `good` once it has taken one,
/// and shows the last digit of the count in every view. A state has four bytes.
const LAWFUL_AGGREGATOR: &str = r#"
(module
  COMMON
  (data (i32.const 600) "\00\00\00\00\b8\0b\00\00\04\00\00\00")
  (func (export "tiergate:plugin/state@0.1.0#save") (result i32) (i32.const 600))
  (func (export "tiergate:plugin/state@0.1.0#restore") (param i32 i32) (result i32)
    (if (i32.ne (local.get 1) (i32.const 4)) (then (return (i32.const 200))))
    (i32.store (i32.const 3000) (i32.load (local.get 0))) (i32.const 512))

  (func (export "tiergate:plugin/aggregator@0.1.0#ingest") (param i64) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (local.get $len)))
    (i32.const 640))
  (export "cabi_post_tiergate:plugin/aggregator@0.1.0#ingest" (func $forget))
  (func (export "tiergate:plugin/aggregator@0.1.0#observe") (param i64 i32 i32) (result i32) (i32.const 512))

  (data (i32.const 700) "\00\00\00\00\d0\02\00\00\01\00\00\00")
  (data (i32.const 720) "\20\03\00\00\04\00\00\00\30\03\00\00\01\00\00\00\05\00\00\00")
  (data (i32.const 800) "good") (data (i32.const 808) "bad key") (data (i32.const 816) "1")
  (func (export "tiergate:plugin/aggregator@0.1.0#documents") (param i64) (result i32)
    (select (i32.const 700) (i32.const 640) (i32.load (i32.const 3000))))

  (data (i32.const 840) "\50\03\00\00\01\00\00\00\20\03\00\00\04\00\00\00")
  (func (export "tiergate:plugin/aggregator@0.1.0#inputs") (result i32) (i32.const 840))

  ;; Unsupported, and six times the same body.
  (data (i32.const 680) "\01\00\00\00\01\00\00\00\e0\00\00\00\0d\00\00\00")
  (data (i32.const 900) "\00\00\00\00\90\03\00\00")
  (data (i32.const 912) "\00\08\00\00\03\00\00\00\00\08\00\00\03\00\00\00\00\08\00\00\03\00\00\00")
  (data (i32.const 936) "\00\08\00\00\03\00\00\00\00\08\00\00\03\00\00\00\00\08\00\00\03\00\00\00")
  (data (i32.const 2048) "\22?\22")
  (func (export "tiergate:plugin/aggregator@0.1.0#compose") (param i64) (param $views i32) (param $len i32) (param i32 i32)
    (result i32)
    ;; No view of the dashboard begins with an `n`.
    (if (i32.eq (i32.load8_u (i32.load (local.get $views))) (i32.const 110)) (then (return (i32.const 680))))
    (i32.store8 (i32.const 2049) (i32.add (i32.const 48) (i32.rem_u (i32.load (i32.const 3000)) (i32.const 10))))
    (i32.store (i32.const 908) (local.get $len))
    (i32.const 900))
  (export "cabi_post_tiergate:plugin/aggregator@0.1.0#compose" (func $forget)))
"#;

/// What [`WARMER`] does in place of misbehaving, to keep every law of the contract: it leaves the first key that it is told of.
const LEAVES_THE_FIRST_KEY: &str = "
    (if (i32.eqz (local.get $len)) (then (return (i32.const 640))))
    (i32.store (i32.const 1120) (i32.load (local.get $keys)))
    (i32.store (i32.const 1124) (i32.load offset=4 (local.get $keys)))";

/// What a guest with state does in place of its `restore`: the first byte of the state says what, and the next four how often.
const GREEDY_RESTORE: &str = r#"(local $n i32)
    (local.set $n (i32.load offset=1 (local.get 0)))
    ;; Grows its memory by so many pages.
    (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 109))
      (then (if (i32.eq (memory.grow (local.get $n)) (i32.const -1)) (then unreachable))))
    ;; Grows its table by so many elements.
    (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 116))
      (then (if (i32.eq (table.grow $table (ref.null func) (local.get $n)) (i32.const -1)) (then unreachable))))
    ;; Calls itself so often.
    (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 115)) (then (drop (call $recurse (local.get $n)))))
    ;; Saves so many bytes.
    (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 111)) (then (i32.store (i32.const 608) (local.get $n))))
    (i32.const 512))
  (table $table 0 funcref)
  (func $recurse (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0)) (else
      (i32.add (call $recurse (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))))"#;

/// How [`AGGREGATOR`] and [`WARMER`] take a state back.
const RESTORE: &str = "(i32.store (i32.const 3000) (i32.load (local.get 0))) (i32.const 512))";

/// A component of `world` from a core module as text.
pub(super) fn component(world: &str, wat: &str) -> Vec<u8> {
    component_of(WIT, world, wat)
}

fn component_of(wit: &str, world: &str, wat: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("tiergate.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// The codec that does what the flags say, for the keys of `pattern`.
pub(super) fn codec(pattern: &str) -> Vec<u8> {
    let wat =
        CODEC.replace("COMMON", COMMON).replace("PATTERN", pattern).replace("LEN", &format!("{:02x}", pattern.len()));
    component("codec-plugin", &wat)
}

/// The aggregator that counts.
pub(super) fn aggregator() -> Vec<u8> {
    component("aggregator-plugin", &AGGREGATOR.replace("COMMON", COMMON))
}

/// The aggregator that counts, built for this version of the interface, which has the same types.
pub(super) fn aggregator_for(version: &str) -> Vec<u8> {
    let of_it = |text: &str| text.replace("@0.1.0", &format!("@{version}"));
    component_of(&of_it(WIT), "aggregator-plugin", &of_it(&AGGREGATOR.replace("COMMON", COMMON)))
}

/// The aggregator that counts, of which every signal costs an instance.
pub(super) fn aggregator_that_traps() -> Vec<u8> {
    // `{` in place of `X`.
    component("aggregator-plugin", &AGGREGATOR.replace("COMMON", COMMON).replace("(i32.const 88)", "(i32.const 123)"))
}

/// The aggregator that counts, and refuses every state.
pub(super) fn aggregator_that_refuses_states() -> Vec<u8> {
    component("aggregator-plugin", &refusing_states(AGGREGATOR).replace("COMMON", COMMON))
}

/// The same, of which every signal costs an instance besides.
pub(super) fn aggregator_that_refuses_states_and_traps() -> Vec<u8> {
    let traps = refusing_states(AGGREGATOR).replace("(i32.const 88)", "(i32.const 123)");
    component("aggregator-plugin", &traps.replace("COMMON", COMMON))
}

fn refusing_states(guest: &str) -> String {
    // Its own is the empty one, which `load` tries.
    let refuses = [(
        "(i32.store (i32.const 3000) (i32.load (local.get 0))) (i32.const 512))",
        "(i32.store (i32.const 3000) (i32.load (local.get 0)))
         (if (result i32) (i32.eqz (i32.load (local.get 0))) (then (i32.const 512)) (else (i32.const 200))))",
    )];
    changed(guest.to_owned(), &refuses)
}

/// The aggregator that counts, and grows to more than three quarters of a MiB at a signal whose body begins with `X`. It cannot
/// be saved while it has counted four.
pub(super) fn aggregator_that_grows() -> Vec<u8> {
    let changes = [
        ("(i32.const 88)) (then unreachable)", "(i32.const 88)) (then (drop (memory.grow (i32.const 13))))"),
        (
            "state@0.1.0#save\") (result i32) (i32.const 600)",
            "state@0.1.0#save\") (result i32)
           (if (result i32) (i32.eq (i32.load (i32.const 3000)) (i32.const 4)) (then (i32.const 200)) (else (i32.const 600)))",
        ),
    ];
    component("aggregator-plugin", &changed(AGGREGATOR.replace("COMMON", COMMON), &changes))
}

/// The aggregator that counts, and takes some milliseconds for each batch.
pub(super) fn aggregator_that_is_slow() -> Vec<u8> {
    let ingest = "#ingest\") (param i64) (param $at i32) (param $len i32) (result i32)";
    let slow = format!(
        "{ingest} (local $left i32)
           (local.set $left (i32.const 5000000))
           (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    );
    component("aggregator-plugin", &changed(AGGREGATOR.replace("COMMON", COMMON), &[(ingest, slow.as_str())]))
}

/// The aggregator that counts, and saves besides what `save`, `init` and `restore` see of time and randomness.
pub(super) fn aggregator_that_saves_the_time() -> Vec<u8> {
    let changes = [
        (
            "(module\n",
            "(module
  (import \"tiergate:plugin/host-clock@0.1.0\" \"now\" (func $now (result i64)))
  (import \"tiergate:plugin/host-random@0.1.0\" \"next-u64\" (func $random (result i64)))\n",
        ),
        ("\\b8\\0b\\00\\00\\04\\00", "\\b8\\0b\\00\\00\\28\\00"),
        (
            "state@0.1.0#save\") (result i32)",
            "state@0.1.0#save\") (result i32)
              (i64.store (i32.const 3008) (call $now)) (i64.store (i32.const 3016) (call $random))",
        ),
        (
            "lifecycle@0.1.0#init\") (param i32 i32) (result i32)",
            "lifecycle@0.1.0#init\") (param i32 i32) (result i32) (i64.store (i32.const 3024) (call $now))",
        ),
        (
            "state@0.1.0#restore\") (param i32 i32) (result i32)",
            "state@0.1.0#restore\") (param i32 i32) (result i32) (i64.store (i32.const 3032) (call $now))",
        ),
    ];
    component("aggregator-plugin", &changed(AGGREGATOR.replace("COMMON", COMMON), &changes))
}

/// The text of a guest with each first part of `changes` replaced by the second.
fn changed(wat: String, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(wat, |wat, (from, to)| {
        assert!(wat.contains(from), "the guest's {from} has changed");
        wat.replace(from, to)
    })
}

/// [`COMMON`] in a guest, which names the field that the kit has it refuse.
fn naming_the_field(wat: &str) -> String {
    wat.replace("COMMON", &COMMON.replace("unknown field", "no-such-field"))
}

/// A codec that keeps every law of the contract, but for `changes` to its text. It gives one answer to everything, and where it
/// is given that, it does this besides.
pub(super) fn lawful_codec(at_own_answer: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    let begin = "(i32.store (i32.const 1032) (i32.const 0))";
    let answer = format!(
        "(local.set $flags (i32.const 0))
    (i32.store8 (i32.const 1044) (i32.const 1))
    (i32.store (i32.const 1080) (i32.const 0))
    (call $canonical (i32.const 2048) (i32.const 12))
    (if (i32.eq (local.get 3) (i32.const 12)) (then
      (if (i32.eq (i32.load (local.get 2)) (i32.load (i32.const 2048))) (then {at_own_answer}))))"
    );
    // A repair with the code `test`, should there be one.
    let data = r#"(data (i32.const 2048) "\22own answer\22") (data (i32.const 2064) "1")
  (data (i32.const 1076) "\60\08\00\00")
  (data (i32.const 2144) "\50\00\00\00\04\00\00\00\58\00\00\00\03\00\00\00\58\00\00\00\03\00\00\00")
  (func $canonical"#;
    let wat = naming_the_field(CODEC).replace("PATTERN", "test:*").replace("LEN", "06");
    let wat = changed(wat, &[(begin, answer.as_str()), ("(func $canonical", data)]);
    component("codec-plugin", &changed(wat, changes))
}

/// An aggregator that keeps every law of the contract, but for `changes` to its text.
pub(super) fn lawful_aggregator(changes: &[(&str, &str)]) -> Vec<u8> {
    component("aggregator-plugin", &changed(naming_the_field(LAWFUL_AGGREGATOR), changes))
}

/// A warmer that keeps every law of the contract, but for `changes` to its text.
pub(super) fn lawful_warmer(changes: &[(&str, &str)]) -> Vec<u8> {
    let (from, to) = ("    (if (i32.eq (local.get $budget) (i32.const 1))", "    (i32.store8 (i32.const 2064)");
    let wat = naming_the_field(WARMER);
    let (before, rest) = wat.split_once(from).unwrap();
    let (_, after) = rest.split_once(to).unwrap();
    let wat = format!("{before}{LEAVES_THE_FIRST_KEY}\n{to}{after}");
    let restore = format!("(if (i32.ne (local.get 1) (i32.const 4)) (then (return (i32.const 200))))\n    {RESTORE}");
    let lawful = [
        (RESTORE, restore.as_str()),
        ("(param i64 i32 i32) (param $budget i32)", "(param i64) (param $keys i32) (param $len i32) (param i32)"),
    ];
    component("warmer-plugin", &changed(changed(wat, &lawful), changes))
}

/// An aggregator that takes what a state tells it to take of memory, table, stack and output.
pub(super) fn greedy_aggregator() -> Vec<u8> {
    component("aggregator-plugin", &changed(AGGREGATOR.replace("COMMON", COMMON), &[(RESTORE, GREEDY_RESTORE)]))
}

/// A warmer that does the same.
pub(super) fn greedy_warmer() -> Vec<u8> {
    component("warmer-plugin", &changed(WARMER.replace("COMMON", COMMON), &[(RESTORE, GREEDY_RESTORE)]))
}

/// The codec that does what the flags say, built for a contract with this change, and with these changes to its text.
pub(super) fn codec_of((from, to): (&str, &str), changes: &[(&str, &str)]) -> Vec<u8> {
    assert!(WIT.contains(from), "the contract's {from} has changed");
    let wat = CODEC.replace("COMMON", COMMON).replace("PATTERN", "test:*").replace("LEN", "06");
    component_of(&WIT.replace(from, to), "codec-plugin", &changed(wat, changes))
}

/// The aggregator that tells signals apart, and traps where it is told to.
pub(super) fn exact_aggregator() -> Vec<u8> {
    component("aggregator-plugin", &EXACT_AGGREGATOR.replace("COMMON", COMMON))
}

/// The warmer that counts.
pub(super) fn warmer() -> Vec<u8> {
    component("warmer-plugin", &WARMER.replace("COMMON", COMMON))
}

/// The warmer that counts, and refuses every state.
pub(super) fn warmer_that_refuses_states() -> Vec<u8> {
    component("warmer-plugin", &refusing_states(WARMER).replace("COMMON", COMMON))
}

/// `component` as a file in `dir`, to be loaded under `name`.
pub(super) fn spec(dir: &std::path::Path, name: &str, component: &[u8]) -> PluginSpec {
    let path = dir.join(format!("{name}.wasm"));
    std::fs::write(&path, component).unwrap();
    PluginSpec { path: Some(path), ..PluginSpec::built_in(name) }
}
