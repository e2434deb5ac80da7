;; codec: decode
(i32.const 1104)
;; codec: module
;; A rejection whose message is no text.
(data (i32.const 1104) "\01\00\00\00\00\00\00\00\10\00\00\00\07\00\00\00\d0\07\00\00\02\00\00\00\10\00\00\00\07\00\00\00")
(data (i32.const 2000) "\ff\fe")
