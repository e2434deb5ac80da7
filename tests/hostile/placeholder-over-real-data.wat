;; warmer: plan
(i32.const 2000)
;; warmer: module
;; Two actions: key, step, body, priority, next-at, reason. The second is for a key that it was not told of.
(data (i32.const 2000) "\00\00\00\00\e0\07\00\00\02\00\00\00")
(data (i32.const 2016) "\20\03\00\00\0f\00\00\00\02\00\00\00\80\0a\00\00\14\00\00\00\01")
(data (i32.const 2056) "\10\00\00\00\07\00\00\00")
(data (i32.const 2064) "\94\0a\00\00\0a\00\00\00\02\00\00\00\80\0a\00\00\14\00\00\00\01")
(data (i32.const 2104) "\10\00\00\00\07\00\00\00")
(data (i32.const 2688) "{\22status\22:\22warming\22}")
(data (i32.const 2708) "secret:key")
