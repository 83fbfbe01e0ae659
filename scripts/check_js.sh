#!/usr/bin/env bash
# Checks static/js against its JSDoc with TypeScript's checker. Without Node, or where the checker
# can't be installed, it says so and goes on: the site itself needs neither.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "There is no Node here: the JavaScript isn't checked."
    exit 0
fi
if [ ! -x node_modules/.bin/tsc ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    if ! npm ci --no-audit --no-fund --silent; then
        echo "The checker could not be installed: the JavaScript isn't checked."
        exit 0
    fi
fi
exec node_modules/.bin/tsc --project tsconfig.json
