#!/usr/bin/env bash
# Measures the gateway: `tests/bench.sh` runs every row, `tests/bench.sh ROW...` some of them. Prints the rows of the README's
# table. Installs what it needs, listens on loopback alone, and leaves nothing running. Other work on the machine spoils the
# figures; both sides of a ratio take turns, so that it spoils ratios less.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1

# row:script of everything that can be measured
rows=(mobile-data:mobile_data rate:mobile_data engine:engine put:put ingest:ingest change:change demo:demo build:build)

# row:command:package of everything that is not a crate
needs=(all:python3:python3 all:ps:procps mobile-data:nginx:nginx mobile-data:wrk:wrk rate:nginx:nginx
  put:memcached:memcached put:redis-server:redis-server)

chosen=("$@")
[ $# -gt 0 ] || chosen=("${rows[@]%%:*}")
script() { printf '%s\n' "${rows[@]}" | sed -n "s/^$1://p"; }
for row in "${chosen[@]}"; do
  [ -n "$(script "$row")" ] || { echo "tests/bench.sh: no row '$row'; there are: ${rows[*]%%:*}" >&2; exit 2; }
done

missing=()
for need in "${needs[@]}"; do
  IFS=: read -r row command package <<<"$need"
  [[ " all ${chosen[*]} " == *" $row "* ]] || continue
  command -v "$command" >/dev/null || missing+=("$package")
done

if [ "${#missing[@]}" -gt 0 ]; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  echo "installing: ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  # Debian starts what it installs; the rows start their own servers.
  for service in memcached redis-server nginx; do
    [[ " ${missing[*]} " != *" $service"* ]] || "${as_root[@]}" service "$service" stop >/dev/null 2>&1 || true
  done
fi

# Not packaged; built once, beside the gateway.
if [[ " ${chosen[*]} " == *" rate "* ]] && [ ! -x target/tools/bin/oha ]; then
  cargo install --locked --root target/tools oha >&2
fi

echo "| row | what | Tiergate | compared with | ratio | target |"
echo "| --- | --- | --- | --- | --- | --- |"
for row in "${chosen[@]}"; do
  # Before each row: a benchmark of the engine leaves a gateway with its own features behind.
  cargo build --release --locked --workspace --quiet
  python3 "tests/bench/$(script "$row").py" "$row"
done
