;; codec: decode
(drop (memory.grow (i32.const 320)))
(call $log (i32.const 2) (i32.const 0) (i32.const 20000000))
(i32.const 1024)
