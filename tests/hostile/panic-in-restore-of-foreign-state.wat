;; aggregator: restore
;; Its own state has four bytes.
(if (i32.ne (local.get $len) (i32.const 4)) (then unreachable))
(i32.const 512)
