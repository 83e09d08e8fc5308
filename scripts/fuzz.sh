#!/usr/bin/env bash
# Feeds a parser with what nobody thought of: scripts/fuzz.sh TARGET [RUNS], 100000 runs unless told.
# Targets: answer (what functions answer), filter (patterns and records), manifest (YAML files).
# What it installs, builds and finds is kept in the cache; an input that fails is named at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?usage: scripts/fuzz.sh answer|filter|manifest [RUNS]}
runs=${2:-100000}
[ -f "fuzz/targets/$target.rs" ] || { echo "fuzz: there is no target $target: use answer, filter or manifest" >&2; exit 2; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidemill
mkdir -p "$cache/fuzz/corpus/$target" "$cache/fuzz/artifacts/$target"
[ -x "$cache/bin/cargo-fuzz" ] || cargo install --locked --root "$cache" cargo-fuzz@0.13.2
features=()
[ "$target" != answer ] || features=(--features answer)
# The flags for coverage are the compiler's own and unstable; no sanitizer, which only unsafe code needs.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$cache/fuzz/target} PATH="$cache/bin:$PATH"
exec cargo fuzz run --fuzz-dir fuzz --sanitizer none "${features[@]}" "$target" \
    "$cache/fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -runs="$runs" -max_len=4096 -timeout=10 -print_final_stats=1 -artifact_prefix="$cache/fuzz/artifacts/$target/"
