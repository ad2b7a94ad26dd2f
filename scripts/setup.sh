#!/bin/sh
# Makes .venv: pinned dependencies, the project, and an offscreen GL that really draws.
#
# The second run finds its stamp, does nothing, and needs no network. To choose otherwise:
#   FABRIKA_PYTHON  the interpreter to build .venv with; else the first of 3.11 or newer
#   FABRIKA_TORCH   "cpu" (default), a wheel file, or a backend such as "cu130" or "auto"
set -eu
cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/fabrika-setup
torch=$(sed -n 's/.*"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)

say() { printf '%s\n' "setup: $*" >&2; }
fail() {
    say "$1"
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 7
}

# Everything that decides what .venv holds. The folder is part of it: a moved .venv is broken.
recipe() {
    pwd
    printf '%s\n' "${FABRIKA_PYTHON:-}" "${FABRIKA_TORCH:-cpu}"
    cat scripts/setup.sh requirements.lock requirements-files.txt pyproject.toml
}
want=$(recipe | sha256sum)
if [ -x $venv/bin/fabrika ] && [ "$(cat $stamp 2>/dev/null)" = "$want" ]; then exit 0; fi

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Debian packages, when root; else the exact command, and the end.
apt_install() {
    command="apt-get install -y --no-install-recommends $*"
    if ! command -v apt-get >/dev/null; then
        fail "this system has no apt-get; install what Debian calls:" "$*"
    elif [ "$(id -u)" -ne 0 ]; then
        fail "system packages are missing. Run this, then the same command again:" "sudo $command"
    fi
    say "$command"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -q && $command; } </dev/null >&2 || fail "apt-get failed:" "$command"
}

find_python() {
    for python in ${FABRIKA_PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$python"; then return; fi
    done
    fail "Fabrika needs Python 3.11 or newer; found: $(python3 --version 2>&1 || echo none)." \
        "Debian 12, Ubuntu 24.04 and newer: sudo apt-get install -y python3 python3-venv" \
        "An interpreter elsewhere:           FABRIKA_PYTHON=/path/to/python3 make setup"
}

make_venv() {
    if new_enough $venv/bin/python && $venv/bin/python -m pip --version >/dev/null 2>&1; then
        return
    fi
    find_python
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear $venv
}

pip() { PIP_DISABLE_PIP_VERSION_CHECK=1 $venv/bin/python -m pip "$@" </dev/null >&2; }

# True if pip would choose, by its own settings, a torch that needs no CUDA packages.
pip_has_cpu_torch() {
    report=$(mktemp)
    pip install --quiet --dry-run --no-deps --ignore-installed --report "$report" "$torch" || return 1
    $venv/bin/python - "$report" <<'PYTHON'
import json, sys
with open(sys.argv[1]) as file:
    metadata = json.load(file)["install"][0]["metadata"]
needs = " ".join(metadata.get("requires_dist", []))
sys.exit("nvidia" in needs or "cuda" in needs)
PYTHON
}

# torch stands outside the lock: which build is right depends on the machine, and the build that
# an index gives by default brings gigabytes of CUDA.
install_torch() {
    choice=${FABRIKA_TORCH:-cpu}
    have=$($venv/bin/python -c 'from importlib.metadata import version as v; print(v("torch"))' \
        2>/dev/null || true)
    if [ "$choice" = cpu ] && [ "torch==${have%%+*}" = "$torch" ]; then return; fi
    case $choice in
        *.whl) pip install --quiet --no-deps "$choice" ;;
        cpu)
            if pip_has_cpu_torch; then
                pip install --quiet --no-deps "$torch"
            else
                $venv/bin/uv pip install --quiet --python $venv/bin/python --no-deps \
                    --torch-backend cpu "$torch"
            fi
            ;;
        *) $venv/bin/uv pip install --quiet --python $venv/bin/python \
            --torch-backend "$choice" "$torch" ;;
    esac || fail "$torch ($choice) cannot be installed." \
        "With a wheel at hand: FABRIKA_TORCH=/path/to/torch.whl make setup"
}

# A picture drawn in a child process: a library that is present may still not work.
draws() {
    MUJOCO_GL=$1 $venv/bin/python - >/dev/null 2>&1 <<'PYTHON'
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='.5'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any()
PYTHON
}

check_gl() {
    if draws egl; then return; fi
    if draws osmesa; then
        say "EGL does not work here, OSMesa does: set MUJOCO_GL=osmesa."
        return
    fi
    apt_install libegl1 libgl1 libgl1-mesa-dri
    draws egl || fail "no offscreen GL, although libegl1 is installed. What it says:" \
        "MUJOCO_GL=egl $venv/bin/python -c 'import mujoco; mujoco.GLContext(8, 8)'"
}

make_venv
say "installing the packages of requirements.lock"
pip install --quiet --require-hashes --only-binary :all: --requirement requirements.lock ||
    fail "the packages cannot be installed; the first run needs the network."
install_torch
pip install --quiet --no-deps --require-hashes --requirement requirements-files.txt ||
    fail "the files of requirements-files.txt cannot be installed; the first run needs the network."
pip install --quiet --no-deps --no-build-isolation --editable .
check_gl
printf '%s\n' "$want" >$stamp
say "ready: $venv/bin/fabrika"
