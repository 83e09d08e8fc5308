#!/usr/bin/env bash
# Draws where a runner's CPU time goes into docs/performance.svg: at full speed, with a function that
# reads its event and answers none. Needs root, for perf.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidemill
./scripts/packages.sh linux-perf
[ -x "$cache/bin/inferno-flamegraph" ] || cargo install --locked --root "$cache" inferno@0.12.4
samples=$(mktemp -d)
trap 'rm -rf "$samples"' EXIT
cargo bench --locked --profile release --workspace --bench runner -- profile &
bench=$!
echo "flamegraph: waiting for the runner"
until runner=$(pgrep -f 'tidemill-runner --report' | head -1); [ -n "$runner" ]; do
    kill -0 "$bench" # it ended without one
    sleep 0.2
done
sleep 1
# No frame pointers: stacks are unwound by what panics need.
perf record --quiet --output "$samples/perf.data" --freq 499 --call-graph dwarf,16384 --pid "$runner" -- sleep 3
wait "$bench"
perf script --input "$samples/perf.data" 2>/dev/null |
    "$cache/bin/inferno-collapse-perf" |
    "$cache/bin/inferno-flamegraph" --title "A runner at full speed" --width 1400 >docs/performance.svg
echo "flamegraph: docs/performance.svg"
