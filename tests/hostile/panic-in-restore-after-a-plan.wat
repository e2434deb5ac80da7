;; warmer: restore
;; It takes the state back of one that has made no plan, as it is asked at `load`.
(if (i32.load (local.get $at)) (then unreachable))
(i32.const 512)
;; warmer: plan
;; Every other plan costs the instance, so that a new one is given the state.
(if (i32.eqz (i32.rem_u (i32.load (i32.const 3000)) (i32.const 2))) (then unreachable))
(i32.const 704)
