#!/usr/bin/env bash
# Every test: Rust tests (they start the services they name), then the page's in Chromium.
# Ends with one line that counts them. Services of the testbed are stopped, unless some ran before.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
cluster=$(mktemp)
half=
down="target/release/testbed down"
if grep -q 'running, pid' <<<"$(target/release/testbed status)"; then
    echo "services of the testbed run already: all are left running (make testbed-down stops them)"
    down=:
fi
ended() {
    if [ -n "$half" ]; then
        kill -- "-$half" 2>/dev/null || true
        wait "$half" || true
    fi
    $down
    rm -f "$log" "$cluster"
}
trap ended EXIT

status=0
tests() { cargo test --locked --release --workspace --no-fail-fast "$@" 2>&1; }
cargo test --locked --release --workspace --no-run
# What both halves need: only one of them may start it.
for service in kafka redis s3 registry; do target/release/testbed "$service" start || status=$?; done
# Tests on the cluster wait most of the time, so they run beside all others, and are shown after them.
# No other file of tests begins with a k. Each half begins with what waits longest: one for a Kafka that
# is away for two minutes, the other breaks three brokers of its own.
on_the_cluster() {
    local status=0
    tests --test kubernetes_kafka_away || status=$?
    tests --test 'k*' -- --skip replicas_hold_while_kafka_is_away || status=$?
    return "$status"
}
# A group of processes, to be ended together.
set -m
on_the_cluster >"$cluster" &
half=$!
set +m
tests --test faults | tee "$log" || status=$?
tests --lib --bins --test '[!k]*' -- --skip every_fault_once | tee -a "$log" || status=$?
tests --doc | tee -a "$log" || status=$?
echo "the tests on the cluster, which ran meanwhile:"
wait "$half" || status=$?
half=
tee -a "$log" <"$cluster"

(cd edge/page-tests && npm ci --no-audit --no-fund --loglevel=error && npm test) 2>&1 | tee -a "$log" || status=$?

# cargo: "test result: ok. 5 passed; 0 failed; …"; node: "# pass 6", "# fail 0".
passed=$(sed -nE 's/^test result: .* ([0-9]+) passed;.*/\1/p; s/^(#|ℹ) pass ([0-9]+).*/\2/p' "$log" | awk '{n += $1} END {print n + 0}')
failed=$(sed -nE 's/^test result: .* ([0-9]+) failed;.*/\1/p; s/^(#|ℹ) fail ([0-9]+).*/\2/p' "$log" | awk '{n += $1} END {print n + 0}')
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1 # something did not even build or start
fi
echo "$passed passed, $failed failed"
exit "$status"
