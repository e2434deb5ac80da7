#!/usr/bin/env bash
# Installs by apt what is missing of the `command:package` that are named, or says that it cannot.
set -euo pipefail

missing=()
for need in "$@"; do
  command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
if ! { command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; }; then
  echo "tests/install.sh: missing, and may not be installed from here: ${missing[*]}" >&2
  exit 1
fi
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
# Debian starts what it installs; tests and benchmarks start their own servers.
for service in memcached redis-server nginx; do
  [[ " ${missing[*]} " != *" $service "* ]] || "${as_root[@]}" service "$service" stop >/dev/null 2>&1 || true
done
