;; codec: memory
;; Pages of 64 KiB that it asks for when it is made, not by growth: 192 MiB.
3072
