;; aggregator: module
(global $calls (mut i32) (i32.const 0))
;; aggregator: ingest
(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
(if (i32.eqz (i32.rem_u (global.get $calls) (i32.const 3))) (then unreachable))
(i32.const 640)
