#!/usr/bin/env bash
# Measures the gateway: `tests/bench.sh` runs every row, `tests/bench.sh ROW...` some of them. Prints the rows of the README's
# table. Installs what it needs, listens on loopback alone, and leaves nothing running. Other work on the machine spoils the
# figures; both sides of a ratio take turns, so that it spoils ratios less.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1 PATH="$PATH:$PWD/target/tools/bin"

# row:script of everything that can be measured
rows=(mobile-data:mobile_data rate:mobile_data engine:engine put:put ingest:ingest swap:swap clients:clients change:change propagation:propagation visible:visible demo:demo build:build)

chosen=("$@")
[ $# -gt 0 ] || chosen=("${rows[@]%%:*}")
script() { printf '%s\n' "${rows[@]}" | sed -n "s/^$1://p"; }
for row in "${chosen[@]}"; do
  [ -n "$(script "$row")" ] || { echo "tests/bench.sh: no row '$row'; there are: ${rows[*]%%:*}" >&2; exit 2; }
done

./tests/install.sh python3:python3 ps:procps
for row in "${chosen[@]}"; do
  case $row in
    mobile-data) ./tests/install.sh nginx:nginx wrk:wrk ;;
    rate) ./tests/install.sh nginx:nginx ;;
    swap) ./tests/install.sh wrk:wrk ;;
    visible) ./tests/install.sh chromium:chromium chromedriver:chromium-driver ;;
    put | propagation) ./tests/install.sh memcached:memcached redis-server:redis-server ;;
  esac
  # Not packaged everywhere; built once, beside the gateway.
  [[ $row != rate && $row != swap && $row != clients ]] || command -v oha >/dev/null || cargo install --locked --root target/tools oha >&2
done

echo "| row | what | Tiergate | compared with | ratio | target |"
echo "| --- | --- | --- | --- | --- | --- |"
for row in "${chosen[@]}"; do
  # Before each row: a benchmark of the engine leaves a gateway with its own features behind.
  [ "$row" = build ] || cargo build --release --locked --workspace --quiet
  python3 "tests/bench/$(script "$row").py" "$row"
done
