;; codec: claims
(i32.const 300)
;; codec: module
;; 100,000 claims, which do not lie in its memory.
(data (i32.const 300) "\00\10\00\00\a0\86\01\00")
