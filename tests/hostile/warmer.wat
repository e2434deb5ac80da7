;; A warmer that watches `market:overview`, counts its plans at 3000, and leaves everything as it is.
(module
  {{common}}
  (data (i32.const 600) "\00\00\00\00\b8\0b\00\00\04\00\00\00")
  (func (export "tiergate:plugin/state@0.1.0#save") (result i32) {{save|(i32.const 600)}})
  (func (export "tiergate:plugin/state@0.1.0#restore") (param $at i32) (param $len i32) (result i32)
    {{restore|(i32.const 512)}})

  (data (i32.const 800) "market:overview")
  (data (i32.const 840) "\50\03\00\00\01\00\00\00\20\03\00\00\0f\00\00\00")
  (func (export "tiergate:plugin/warmer@0.1.0#watches") (result i32) (i32.const 840))

  (func (export "tiergate:plugin/warmer@0.1.0#plan") (param i64 i32 i32 i32) (result i32)
    (i32.store (i32.const 3000) (i32.add (i32.load (i32.const 3000)) (i32.const 1)))
    {{plan|(i32.const 704)}})
  (export "cabi_post_tiergate:plugin/warmer@0.1.0#plan" (func $forget))
  {{module|}})
