;; codec: decode
(call $canonical (i32.const 16) (i32.const 7))
