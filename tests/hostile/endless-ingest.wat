;; aggregator: ingest
(loop $forever (br $forever)) unreachable
