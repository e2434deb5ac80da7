;; aggregator: restore
unreachable
