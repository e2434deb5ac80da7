;; codec: describe
(loop $forever (br $forever)) unreachable
