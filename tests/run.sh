#!/usr/bin/env bash
# Installs what the tests need, runs every check and test of the workspace, and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."

./tests/install.sh memcached:memcached redis-server:redis-server chromium:chromium chromedriver:chromium-driver \
  script:bsdutils ps:procps curl:curl python3:python3-venv node:nodejs npm:npm
# Debian's Python comes without what makes its environments.
python3 -c 'import ensurepip, venv' 2>/dev/null || ./tests/install.sh ensurepip:python3-venv

if [ ! -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)" ]; then
  command -v rustup >/dev/null || { echo "tests/run.sh: missing: the Rust target wasm32-unknown-unknown" >&2; exit 1; }
  rustup target add wasm32-unknown-unknown
fi

# Process number and name of everything that the tests start.
running() { ps -eo pid=,comm= | grep -E ' (memcached|redis-server|chromedriver|chromium|tiergate)$' | sort || true; }
before=$(running)

# Looks for what keeps people out of the pages, or lets them wait.
./tests/npm.sh

cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- -D warnings
cargo test --locked --workspace

# What was told to end may take a moment.
for _ in {1..50}; do
  left=$(comm -13 <(echo "$before") <(running))
  [ -n "$left" ] || exit 0
  sleep 0.1
done
printf 'tests/run.sh: the tests left running:\n%s\n' "$left" >&2
exit 1
