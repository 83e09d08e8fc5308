#!/usr/bin/env bash
# Feeds the parsers with what nobody thought of: scripts/fuzz.sh [TARGET|all] [RUNS].
# Targets: answer (what functions answer), filter (patterns and records), manifest (YAML files), wire
# (values that a schema describes); each has 10 seconds, or as many runs as are told. What is installed, built and found is kept in the
# cache; an input that fails is named at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${2:-}
case ${1:-all} in
    all) targets=(answer filter manifest wire) ;;
    answer | filter | manifest | wire) targets=("$1") ;;
    *) echo "fuzz: there is no target $1: use answer, filter, manifest, wire or all" >&2; exit 2 ;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidemill
[ -x "$cache/bin/cargo-fuzz" ] || cargo install --locked --root "$cache" cargo-fuzz@0.13.2
# cargo-fuzz would write a lock file that is not current, and go on with other versions.
cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null ||
    { echo "fuzz: run cargo metadata --manifest-path fuzz/Cargo.toml >/dev/null, and commit fuzz/Cargo.lock" >&2; exit 1; }
# The flags for coverage are the compiler's own and unstable; no sanitizer, which only unsafe code needs.
# The folder is fuzzing's own: those flags are compiled into every dependency.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$cache/fuzz/target} PATH="$cache/bin:$PATH"
cargo fuzz build --fuzz-dir fuzz --sanitizer none
limit=(-max_total_time=10)
[ -z "$runs" ] || limit=("-runs=$runs")
for target in "${targets[@]}"; do
    mkdir -p "$cache/fuzz/corpus/$target" "$cache/fuzz/artifacts/$target"
    echo "fuzz: $target"
    cargo fuzz run --fuzz-dir fuzz --sanitizer none "$target" \
        "$cache/fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        "${limit[@]}" -max_len=4096 -timeout=10 -verbosity=0 -print_final_stats=1 \
        -artifact_prefix="$cache/fuzz/artifacts/$target/"
done
