;; warmer: plan
(loop $forever (br $forever)) unreachable
