#!/bin/sh
# Two copies of the last commit, each with an environment made anew from the lock, must make the
# same bytes: store, dataset with pictures, policy. Takes a few minutes, and a network.
#
#   scripts/two_environments.sh [TASK]
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 4' INT TERM
zone=UTC
for one in first second; do
    mkdir "$work/$one"
    git archive HEAD | tar -x -C "$work/$one"
    "$work/$one/scripts/setup.sh"
    (
        cd "$work/$one"
        TZ=$zone .venv/bin/python scripts/print_digests.py "$work/$one/made" "$@"
    ) >"$work/$one.json"
    zone=Asia/Kathmandu
done
cat "$work/first.json"
if cmp "$work/first.json" "$work/second.json"; then
    echo "equal: two environments made the same bytes"
else
    cat "$work/second.json"
    exit 6
fi
