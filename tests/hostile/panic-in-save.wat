;; aggregator: save
unreachable
