;; aggregator: module
;; It hides nothing: it publishes how many signals it was given, and how many different ones. A signal is told by the six
;; digits of its body `{"n":100000}`, from 100000 to 165535.
;; Its state is at 3145728, out of the reach of the allocator: both counts, and a byte for each signal.
(data (i32.const 616) "\00\00\00\00\00\00\30\00\08\00\01\00")
(func $count (param $body i32) (local $i i32) (local $n i32)
  (loop $digit
    (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 10))
      (i32.sub (i32.load8_u offset=5 (i32.add (local.get $body) (local.get $i))) (i32.const 48))))
    (br_if $digit (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6))))
  (local.set $n (i32.sub (local.get $n) (i32.const 100000)))
  (if (i32.ge_u (local.get $n) (i32.const 65536)) (then unreachable))
  (i32.store (i32.const 3145728) (i32.add (i32.load (i32.const 3145728)) (i32.const 1)))
  (if (i32.eqz (i32.load8_u offset=3145736 (local.get $n)))
    (then (i32.store (i32.const 3145732) (i32.add (i32.load (i32.const 3145732)) (i32.const 1)))))
  (i32.store8 offset=3145736 (local.get $n) (i32.const 1)))
;; Writes a number of six digits.
(func $write (param $at i32) (param $n i32) (local $i i32)
  (local.set $i (i32.const 6))
  (loop $digit
    (local.set $i (i32.sub (local.get $i) (i32.const 1)))
    (i32.store8 (i32.add (local.get $at) (local.get $i))
      (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
    (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
    (br_if $digit (local.get $i))))
;; One publication: key, body, seconds to live.
(data (i32.const 2000) "\00\00\00\00\e0\07\00\00\01\00\00\00")
(data (i32.const 2016) "\00\0a\00\00\09\00\00\00\80\0a\00\00\26\00\00\00\3c\00\00\00")
(data (i32.const 2560) "app:count")
(data (i32.const 2688) "{\22given\22:\22000000\22,\22distinct\22:\22000000\22}")
;; aggregator: memory
64
;; aggregator: save
(i32.const 616)
;; aggregator: restore
(if (i32.ne (local.get $len) (i32.const 65544)) (then unreachable))
(memory.copy (i32.const 3145728) (local.get $at) (local.get $len))
(i32.const 512)
;; aggregator: ingest
(block $done (loop $next
  (br_if $done (i32.eqz (local.get $len)))
  (call $count (i32.load offset=16 (local.get $at)))
  (local.set $at (i32.add (local.get $at) (i32.const 24)))
  (local.set $len (i32.sub (local.get $len) (i32.const 1)))
  (br $next)))
(i32.const 640)
;; aggregator: documents
(call $write (i32.const 2698) (i32.load (i32.const 3145728)))
(call $write (i32.const 2718) (i32.load (i32.const 3145732)))
(i32.const 2000)
