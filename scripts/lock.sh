#!/bin/sh
# Writes requirements.lock for Python 3.11 to 3.13 from pyproject.toml and requirements.in.
#
# torch and the packages of requirements-files.txt stay outside: docs/dependencies.md has why.
# What the lock holds now is kept where it still fits; with --upgrade everything is fresh.
set -eu
cd "$(dirname "$0")/.."
without_torch=$(mktemp)
printf 'torch ; sys_platform == "never"\n' >"$without_torch"
files=$(mktemp)
sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements-files.txt >"$files"
.venv/bin/uv pip compile pyproject.toml requirements.in --all-extras --quiet \
    --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --override "$without_torch" --no-emit-package torch --excludes "$files" \
    --custom-compile-command "make lock" --output-file requirements.lock "$@"
rm "$without_torch" "$files"
