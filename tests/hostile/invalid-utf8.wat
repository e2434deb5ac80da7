;; codec: decode
(call $canonical (i32.const 2000) (i32.const 4))
;; codec: module
(data (i32.const 2000) "\22\ff\fe\22")
