;; codec: decode
(call $add (i32.const 400) (i32.const 8) (i64.const 3))
(i32.const 1024)
;; codec: module
(data (i32.const 400) "payloads")
