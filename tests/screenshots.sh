#!/usr/bin/env bash
# Makes the pictures of the README from the running demo: tests/screenshots/*.png
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release -p tiergate
scratch=$(mktemp -d)
trap 'kill "$demo" 2>/dev/null; rm -rf "$scratch"' EXIT
export TIERGATE_DATA_DIR="$scratch/data" TIERGATE_HTTP__LISTEN=127.0.0.1:8092 TIERGATE_HTTP__ADMIN=127.0.0.1:8093
target/release/tiergate --demo 2>"$scratch/log" &
demo=$!
# Long enough for the score histories to fill.
sleep 30

picture() { # name, width, height
  chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$scratch/$1" --timeout=4000 \
    --window-size="$2,$3" --screenshot="tests/screenshots/$1.png" http://127.0.0.1:8092/mobile 2>/dev/null
}
picture mobile-phone 390 1180
picture mobile-desktop 1280 900
