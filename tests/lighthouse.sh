#!/usr/bin/env bash
# Lighthouse's view of the dashboard, as on a phone with a slow network: `tests/lighthouse.sh` of the demo, in a release build;
# `tests/lighthouse.sh URL` of a page that is served already. Prints the scores from 0 to 100, the largest paint, and the bytes
# over the wire; those of the stream of changes grow for as long as it looks, and do not count. Listens on loopback alone, and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
./tests/install.sh chromium:chromium node:nodejs npm:npm >&2
[ -d target/npm/node_modules/lighthouse ] || ./tests/npm.sh

folder=$(mktemp -d)
gateway=
clean_up() {
  if [ -n "$gateway" ]; then kill "$gateway"; wait "$gateway" || true; fi
  rm -rf "$folder"
}
trap clean_up EXIT

url=${1:-}
if [ -z "$url" ]; then
  cargo build --release --locked --workspace --quiet
  env TIERGATE_DATA_DIR="$folder/data" TIERGATE_HTTP__LISTEN=127.0.0.1:0 TIERGATE_HTTP__ADMIN=127.0.0.1:0 \
    TIERGATE_LOG__FORMAT=json target/release/tiergate --demo 2>"$folder/log" &
  gateway=$!
  for _ in {1..300}; do
    url=$(sed -n 's|.*"dashboard":"http://127.0.0.1\(:[0-9]*/mobile\)".*|http://localhost\1|p' "$folder/log")
    [ -z "$url" ] || break
    sleep 0.1
  done
  [ -n "$url" ] || { cat "$folder/log" >&2; exit 1; }
fi

# The flags are for containers; Lighthouse throttles by its own simulation of a phone.
CHROME_PATH=$(command -v chromium) node target/npm/node_modules/lighthouse/cli/index.js "$url" --quiet \
  --only-categories=performance,accessibility,best-practices --output=json --output-path="$folder/report.json" \
  --chrome-flags="--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir=$folder/profile"
node -e '
  const { categories, audits } = JSON.parse(require("fs").readFileSync(process.argv[1]));
  for (const [id, { score }] of Object.entries(categories)) console.log(`${id} ${Math.round(score * 100)}`);
  console.log(`largest-paint-ms ${Math.round(audits["largest-contentful-paint"].numericValue)}`);
  const loaded = audits["network-requests"].details.items.filter(({ url }) => !url.includes("/dashboard/stream"));
  console.log(`bytes ${loaded.reduce((sum, { transferSize }) => sum + (transferSize ?? 0), 0)}`);
  for (const { auditRefs } of Object.values(categories))
    for (const { id, weight } of auditRefs)
      if (weight > 0 && audits[id].score !== null && audits[id].score < 0.9) console.error(`${id}: ${audits[id].displayValue ?? audits[id].title}`);
' "$folder/report.json"
