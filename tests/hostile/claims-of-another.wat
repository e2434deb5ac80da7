;; codec: module
;; The pattern of the built-in codec for tickers.
(data (i32.const 48) "market:overview")
(data (i32.const 268) "\0f")
