#!/usr/bin/env bash
# All tests but the nightly ones, in two runs of pytest beside each other: `make test`.
#
# Most of what the fault tests do is to wait for nothing to happen, and so is much of what the end-to-end tests do.
# Beside each other both take the time of the longer. The fault tests have deadlines of minutes, go last where there is
# too little CPU for all, and say what they found when the others are through; the one that looks at a clock is with those.
set -uo pipefail
cd "$(dirname "$0")/.."
said=$(mktemp)
nice -n 19 pytest -p no:cacheprovider -m "not nightly" tests/faults --ignore=tests/faults/test_failover.py >"$said" 2>&1 &
patient=$!
trap 'kill "$patient" 2>/dev/null; wait; rm -f "$said"' EXIT
failed=0
mapfile -t others < <(find tests -mindepth 1 -maxdepth 1 -type d -name '[a-z]*' ! -name faults | sort)
pytest -m "not nightly" "${others[@]}" tests/faults/test_failover.py || failed=$?
wait "$patient" || failed=$?
cat "$said"
exit "$failed"
