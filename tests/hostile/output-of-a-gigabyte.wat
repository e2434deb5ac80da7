;; codec: decode
;; 4,096 repairs that all point to the same 256 KiB: little memory, and a gigabyte for the host to copy.
(drop (memory.grow (i32.const 16)))
(loop $next
  (i32.store (i32.add (i32.const 65536) (i32.mul (local.get $i) (i32.const 24))) (i32.const 16))
  (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 24))) (i32.const 7))
  (i32.store (i32.add (i32.const 65544) (i32.mul (local.get $i) (i32.const 24))) (i32.const 16))
  (i32.store (i32.add (i32.const 65548) (i32.mul (local.get $i) (i32.const 24))) (i32.const 7))
  (i32.store (i32.add (i32.const 65552) (i32.mul (local.get $i) (i32.const 24))) (i32.const 524288))
  (i32.store (i32.add (i32.const 65556) (i32.mul (local.get $i) (i32.const 24))) (i32.const 262144))
  (local.set $i (i32.add (local.get $i) (i32.const 1)))
  (br_if $next (i32.lt_u (local.get $i) (i32.const 4096))))
(i32.store (i32.const 1076) (i32.const 65536))
(i32.store (i32.const 1080) (i32.const 4096))
(i32.const 1024)
