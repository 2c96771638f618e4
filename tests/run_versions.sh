#!/usr/bin/env bash
# Runs the default tests with the Paddle versions of AI Studio's images, each in a virtual environment of its own:
#     bash tests/run_versions.sh [folder for the environments, default .versions]
# Python 3.10 is taken where it is installed (PYTHON310 may name it), else the python3 that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.versions}
base=${PYTHON310:-$(command -v python3.10 || true)}
"${base:-false}" -c '' 2>/dev/null || base=python3

run_with() {
    local name=$1
    shift
    local python=$folder/$name/bin/python
    [ -x "$python" ] || "$base" -m venv "$folder/$name"
    grep -viE '^(#|paddlepaddle|numpy|setuptools)' requirements-cpu.txt >"$folder/$name.txt"
    "$python" -m pip install --quiet --disable-pip-version-check "$@" -r "$folder/$name.txt" -r requirements-test.txt
    echo "== $name: $("$python" --version)"
    "$python" -m pytest -p no:cacheprovider -n auto --dist worksteal
}

mkdir -p "$folder"
run_with paddle-2.6.2 paddlepaddle==2.6.2 'numpy<2' 'protobuf<7' 'opencv-python-headless<5'
run_with paddle-3.0.0 paddlepaddle==3.0.0 numpy
