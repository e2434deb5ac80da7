;; aggregator: documents
(i32.const 2000)
;; aggregator: module
;; Six publications: key, body, seconds to live.
(data (i32.const 2000) "\00\00\00\00\e0\07\00\00\06\00\00\00")
(data (i32.const 2016) "\00\0a\00\00\0f\00\00\00\80\0a\00\00\14\00\00\00\3c\00\00\00")
(data (i32.const 2036) "\10\0a\00\00\0d\00\00\00\98\0a\00\00\02\00\00\00\3c\00\00\00")
(data (i32.const 2056) "\20\0a\00\00\07\00\00\00\98\0a\00\00\02\00\00\00\3c\00\00\00")
(data (i32.const 2076) "\00\0a\00\00\0f\00\00\00\9c\0a\00\00\04\00\00\00\3c\00\00\00")
(data (i32.const 2096) "\00\0a\00\00\0f\00\00\00\10\00\00\00\07\00\00\00\3c\00\00\00")
(data (i32.const 2116) "\00\0a\00\00\0f\00\00\00\a0\0a\00\00\2c\00\00\00\3c\00\00\00")
;; A placeholder over real data, a key that nobody knows, no key at all, no UTF-8, no JSON, data of the year 2096.
;; The built-in codec takes every key (`*`); what becomes of one that no codec claims is shown in host/src/plugin/codec/mod.rs.
(data (i32.const 2560) "market:overview") (data (i32.const 2576) "hostile?key:x") (data (i32.const 2592) "bad key")
(data (i32.const 2688) "{\22status\22:\22warming\22}") (data (i32.const 2712) "{}") (data (i32.const 2716) "\22\ff\fe\22")
(data (i32.const 2720) "{\22total_symbols\22:1,\22timestamp\22:4000000000.0}")
