;; An aggregator that counts signals at 3000, publishes nothing, and composes nothing.
(module
  {{common}}
  (data (i32.const 600) "\00\00\00\00\b8\0b\00\00\04\00\00\00")
  (func (export "tiergate:plugin/state@0.1.0#save") (result i32) {{save|(i32.const 600)}})
  (func (export "tiergate:plugin/state@0.1.0#restore") (param $at i32) (param $len i32) (result i32)
    {{restore|(i32.const 512)}})

  (func (export "tiergate:plugin/aggregator@0.1.0#ingest") (param i64) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (local.get $len)))
    {{ingest|(i32.const 640)}})
  (export "cabi_post_tiergate:plugin/aggregator@0.1.0#ingest" (func $forget))
  (func (export "tiergate:plugin/aggregator@0.1.0#observe") (param i64 i32 i32) (result i32) {{observe|(i32.const 512)}})
  (func (export "tiergate:plugin/aggregator@0.1.0#documents") (param i64) (result i32) (local $i i32)
    {{documents|(i32.const 704)}})

  ;; The inputs of the built-in aggregator, without which it would not be taken in its place.
  {{inputs}}
  (func (export "tiergate:plugin/aggregator@0.1.0#inputs") (result i32) (i32.const 840))

  ;; Unsupported: the last views stay.
  (data (i32.const 760) "\01\00\00\00\01\00\00\00\10\00\00\00\07\00\00\00")
  (func (export "tiergate:plugin/aggregator@0.1.0#compose") (param i64 i32 i32 i32 i32) (result i32) (local $i i32)
    {{compose|(i32.const 760)}})
  (export "cabi_post_tiergate:plugin/aggregator@0.1.0#compose" (func $forget))
  {{module|}})
