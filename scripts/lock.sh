#!/bin/sh
# Writes requirements.lock for Python 3.11 to 3.13 from pyproject.toml and requirements.in.
#
# What the lock holds now is kept where it still fits; with --upgrade everything is fresh.
set -eu
cd "$(dirname "$0")/.."
without_torch=$(mktemp)
printf 'torch ; sys_platform == "never"\n' >"$without_torch"
.venv/bin/uv pip compile pyproject.toml requirements.in --all-extras --quiet \
    --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --override "$without_torch" --no-emit-package torch \
    --custom-compile-command "make lock" --output-file requirements.lock "$@"
rm "$without_torch"
