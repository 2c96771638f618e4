# Sourced by quickstart.sh and runtests.sh: sets PYTHON to an environment that holds what the project needs.
# The active environment is used if Paddle can be imported there, else .venv is made. An installed Paddle, NumPy or
# OpenCV is never replaced. Arguments: further requirement files.

can_import() { "$PYTHON" -c "import $1" >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in python3.12 python3.11 python3.10 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    echo "No Python 3.10, 3.11 or 3.12 found; install one (Debian, Ubuntu: apt-get install python3 python3-venv)." >&2
    return 1
}

prepare_environment() {
    PYTHON=$(command -v python || command -v python3 || true)
    if [ -z "$PYTHON" ] || ! can_import paddle; then
        if [ ! -x .venv/bin/python ]; then
            local base
            base=$(find_python) || return 1
            echo "Making .venv with $base"
            if ! "$base" -m venv .venv; then
                rm -rf .venv
                echo "Could not make .venv; on Debian or Ubuntu: apt-get install python3-venv" >&2
                return 1
            fi
        fi
        PYTHON=$PWD/.venv/bin/python
    fi
    local main=requirements-cpu.txt
    if nvidia-smi -L >/dev/null 2>&1; then main=requirements.txt; fi
    install_missing "$main" "$@"
    "$PYTHON" -c 'import sys, paddle; print(f"Python {sys.version.split()[0]} and Paddle {paddle.__version__} in {sys.prefix}")' 2>/dev/null ||
        { echo "Paddle does not import:" >&2; "$PYTHON" -c "import paddle"; return 1; }
}

# Installs what the requirement files name and is not there in a version that they allow, less the Paddle and OpenCV
# builds that are there already.
install_missing() {
    local wanted fixed outdated skip='^$'
    wanted=$(mktemp) fixed=$(mktemp)
    if can_import paddle; then skip="$skip|^(paddlepaddle|numpy|protobuf)"; fi  # whichever versions it runs with
    if can_import cv2; then skip="$skip|^opencv"; fi
    cat "$@" | sed 's/ *#.*//' | grep -viE "$skip" >"$wanted"
    outdated=$(find_unmet "$wanted")
    if [ -n "$outdated" ]; then
        echo "Installing $* into $("$PYTHON" -c 'import sys; print(sys.prefix)'), for $outdated"
        if can_import paddle; then  # what a working Paddle stands on is left as it is
            "$PYTHON" -m pip freeze 2>/dev/null | { grep -iE '^(paddlepaddle|numpy|opencv|protobuf)[a-z_-]*==' || true; } >"$fixed"
            "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$wanted" -c "$fixed"
        else
            "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$wanted"
        fi
    fi
    rm -f "$wanted" "$fixed"
}

# Prints the requirements of a file that no installed package meets. Its lines are `name>=1.2,<3`, by the operators
# below; of a version only the numbers count.
find_unmet() {
    "$PYTHON" - "$1" <<'PY'
import importlib.metadata as metadata, operator, re, sys

COMPARE = {">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt}


def read_numbers(version):
    numbers = [int(number) for number in re.match(r"\d+(\.\d+)*", version).group().split(".")]
    return numbers + [0] * (6 - len(numbers))


unmet = []
for line in filter(None, map(str.strip, open(sys.argv[1]))):
    name, limits = re.match(r"([\w.-]+)(.*)", line).groups()
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        unmet.append(f"{line} (not there)")
        continue
    limits = [re.fullmatch(r"\s*([<>]=?|[=!]=)\s*([\w.]+)\s*", limit).groups() for limit in limits.split(",") if limit]
    if not all(COMPARE[sign](read_numbers(version), read_numbers(limit)) for sign, limit in limits):
        unmet.append(f"{line} ({version})")
print(", ".join(unmet))
PY
}
