"""Run the scripts of this checkout."""

import os
import pathlib
import subprocess
import sys

from common import lifetime

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run_script(
    script: str,
    *argv,
    environment: dict | None = None,
    cwd: str | os.PathLike | None = None,
    log_file: str | os.PathLike | None = None,
) -> str:
    """Run a script of the project with this Python.

    Args:
        script: its path from the root of the project.
        *argv: arguments of its command line.
        environment: variables that it gets in addition to those of this process.
        cwd: folder to run it in; None: the current one.
        log_file: file that gets all that it prints.

    Returns:
        What it printed to stdout; "" if that went to `log_file`.

    Raises:
        OSError: it failed; the message ends with the last line that it printed.
    """
    options = {"env": {**os.environ, **(environment or {})}, "cwd": cwd, "encoding": "utf-8", "errors": "replace"}
    command = lifetime.tie([sys.executable, str(ROOT / script), *map(str, argv)])
    if log_file is None:
        process = subprocess.run(command, capture_output=True, check=False, **options)
        output = process.stderr.strip() or process.stdout.strip()
    else:
        with open(log_file, "w", encoding="utf-8") as file:
            process = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False, **options)
        output = pathlib.Path(log_file).read_text(encoding="utf-8", errors="replace").strip()
    if process.returncode:
        where = "" if log_file is None else f", its output is in {log_file}"
        last_line = output.splitlines()[-1] if output else "no output"
        raise OSError(f"{script} ended with status {process.returncode}{where}: {last_line}")
    return process.stdout or ""
