;; codec: decode
;; The payload is the answer, as it lies in memory: whatever a plugin could answer, somebody can post.
(memory.copy (i32.const 1024) (local.get $payload)
  (select (local.get $len) (i32.const 4096) (i32.lt_u (local.get $len) (i32.const 4096))))
(i32.const 1024)
