;; codec: decode
(loop $forever (br $forever)) unreachable
