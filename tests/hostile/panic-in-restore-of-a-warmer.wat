;; warmer: restore
unreachable
