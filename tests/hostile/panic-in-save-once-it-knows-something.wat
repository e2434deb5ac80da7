;; aggregator: save
(if (i32.load (i32.const 3000)) (then unreachable))
(i32.const 600)
