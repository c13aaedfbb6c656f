#!/usr/bin/env bash
# steps.sh TARGET...: makes each target in turn, stops at the first that fails, and says what each took.
set -euo pipefail
cd "$(dirname "$0")/.."

summary=()
finish() {
    printf '\n%-12s %8s  %s\n' step seconds result
    printf '%s\n' "${summary[@]}"
}
trap finish EXIT

for step in "$@"; do
    printf '\n=== %s\n' "$step"
    started=$SECONDS result=ok
    make --no-print-directory "$step" </dev/null || result=FAILED
    summary+=("$(printf '%-12s %8d  %s' "$step" $((SECONDS - started)) "$result")")
    [ "$result" = ok ] || exit 1
done
