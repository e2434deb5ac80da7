;; codec: decode
(call $canonical (i32.const -4) (i32.const 100))
