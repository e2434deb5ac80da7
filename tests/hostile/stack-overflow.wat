;; codec: decode
(call $recurse (i32.const 0))
