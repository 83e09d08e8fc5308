#!/usr/bin/env bash
# Writes each chart's README from its values' comments; with --check, compares instead.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidemill
if [ ! -x "$cache/bin/helm-docs" ]; then
    echo "setup: installing helm-docs 1.14.2"
    GOBIN="$cache/bin" go install github.com/norwoodj/helm-docs/cmd/helm-docs@v1.14.2
fi
if [ "${1:-}" != --check ]; then
    exec "$cache/bin/helm-docs" --log-level warning -c charts
fi
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r charts "$copy"
"$cache/bin/helm-docs" --log-level warning -c "$copy/charts"
diff -r charts "$copy/charts" || { echo "charts/*/README.md are not current: run \`make generate\`"; exit 1; }
