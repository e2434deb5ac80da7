;; A codec for `hostile:*` that takes every payload as it came, and misbehaves at keys that end in `!`.
(module
  (import "tiergate:plugin/host-log@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "tiergate:plugin/host-clock@0.1.0" "now" (func $now (result i64)))
  (import "tiergate:plugin/host-metrics@0.1.0" "add" (func $add (param i32 i32 i64)))
  {{common}}
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 48) "hostile:*") (data (i32.const 64) "1.0")
  (data (i32.const 256) "\08\01\00\00\01\00\00\00\30\00\00\00\09\00\00\00\10\00\00\00\07\00\00\00\40\00\00\00\03\00\00\00")
  (func (export "tiergate:plugin/codec@0.1.0#claims") (result i32) {{claims|(i32.const 256)}})

  ;; Accepted, real, as it came.
  (data (i32.const 1044) "\01")
  ;; Answers `at` as the canonical bytes.
  (func $canonical (param $at i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 1032) (i32.const 1))
    (i32.store (i32.const 1036) (local.get $at))
    (i32.store (i32.const 1040) (local.get $len))
    (i32.const 1024))
  (func $misbehave (param $payload i32) (param $len i32) (result i32) (local $i i32) {{decode|(i32.const 1024)}})

  (func (export "tiergate:plugin/codec@0.1.0#decode") (param $key i32) (param $key_len i32)
    (param $payload i32) (param $len i32) (param i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store8 (i32.const 1032) (i32.const 0))
    (if (i32.eq (i32.const 33)
          (i32.load8_u (i32.sub (i32.add (local.get $key) (local.get $key_len)) (i32.const 1))))
      (then (return (call $misbehave (local.get $payload) (local.get $len)))))
    (i32.const 1024))
  (export "cabi_post_tiergate:plugin/codec@0.1.0#decode" (func $forget))
  {{module|}})
