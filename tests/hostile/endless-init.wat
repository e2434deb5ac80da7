;; codec: init
(loop $forever (br $forever)) unreachable
