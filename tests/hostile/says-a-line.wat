;; codec: decode
;; What somebody looks for in the log: the payload, as a warning.
(call $log (i32.const 3) (local.get $payload) (local.get $len))
(i32.const 1024)
