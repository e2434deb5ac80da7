;; codec: decode
(loop $more
  (local.set $i (memory.grow (i32.const 16)))
  (if (i32.ne (local.get $i) (i32.const -1)) (then
    ;; Touched, so that it is really held.
    (memory.fill (i32.mul (local.get $i) (i32.const 65536)) (i32.const 1) (i32.const 1048576))
    (br $more))))
unreachable
