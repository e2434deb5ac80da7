#!/usr/bin/env bash
# Installs from npm, into target/npm, what looks at the pages: in one step, for npm removes what it is not told of.
set -euo pipefail
cd "$(dirname "$0")/.."
npm install --silent --no-audit --no-fund --no-save --prefix target/npm axe-core@4.11 lighthouse@12 >&2
