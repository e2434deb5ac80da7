;; aggregator: compose
;; 100 bodies that all point to the same 12 MiB.
(drop (memory.grow (i32.const 200)))
(loop $next
  (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 8))) (i32.const 131072))
  (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 8))) (i32.const 12582912))
  (local.set $i (i32.add (local.get $i) (i32.const 1)))
  (br_if $next (i32.lt_u (local.get $i) (i32.const 100))))
(i32.const 2000)
;; aggregator: module
(data (i32.const 2000) "\00\00\00\00\00\00\01\00\64\00\00\00")
