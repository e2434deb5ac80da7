;; codec: module
;; Runs while the component is instantiated.
(func $forever (loop $forever (br $forever)))
(start $forever)
