;; codec: decode
(call $canonical (i32.const 2000) (i32.const 20))
;; codec: module
(data (i32.const 2000) "{\22status\22:\22warming\22}")
