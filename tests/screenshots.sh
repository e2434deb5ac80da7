#!/usr/bin/env bash
# Makes the pictures of the README from a running gateway: tests/screenshots/*.png
set -euo pipefail
cd "$(dirname "$0")/.."
./tests/install.sh chromium:chromium chromedriver:chromium-driver
# All of it, with the features of the tests, so that nothing is built twice.
cargo test --locked --workspace --no-run
cargo test --locked --workspace --test screenshots -- --ignored
