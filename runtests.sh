#!/usr/bin/env bash
# The environment, then the tests: the default ones, then the long ones. Words are handed to pytest instead.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
prepare_environment requirements-test.txt
if [ $# -gt 0 ]; then
    exec "$PYTHON" -m pytest "$@"
fi
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m pytest --durations=15
"$PYTHON" -m pytest -m "long and not gpu" --durations=15
