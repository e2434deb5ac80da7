#!/usr/bin/env bash
# Makes the pictures of the README from a running gateway: tests/screenshots/*.png
set -euo pipefail
cd "$(dirname "$0")/.."
./tests/install.sh chromium:chromium chromedriver:chromium-driver
cargo build --locked -p tiergate
cargo test --locked -p tiergate -p tiergate-tests --test screenshots -- --ignored
