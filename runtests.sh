#!/usr/bin/env bash
# The environment, then the style of the code, then the tests, one process a core, each with one thread:
#     bash runtests.sh            the default tests, a few minutes; names at the end what it left out
#     bash runtests.sh --all      the long tests too
#     bash runtests.sh WORDS      python -m pytest WORDS, in this process alone
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
prepare_environment requirements-test.txt

chosen="not long" left_out=yes
if [ "${1:-}" = --all ]; then
    chosen="" left_out=
    shift
fi
if [ $# -gt 0 ]; then
    exec "$PYTHON" -m pytest -m "$chosen" "$@"
fi
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
status=0
"$PYTHON" -m pytest -m "$chosen" -n auto --dist worksteal --durations=15 -rs || status=$?
if [ -n "$left_out" ]; then
    cat <<'TEXT'

Left out: the long tests. They train small ones of most networks on the sample data until they can tell the actions apart,
run the notebooks, run the 2020 config as it is, compare the larger networks with their authors', kill runs at random
moments, and watch memory, several machines and thousands of damaged files. To run them too, about half an hour more on
2 cores:
    bash runtests.sh --all
TEXT
fi
exit $status
