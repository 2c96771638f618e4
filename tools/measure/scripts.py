"""Run the scripts of this checkout, and the command line of the tools that train."""

import os
import pathlib
import subprocess
import sys

from common import command_line, lifetime
from engine import flags

ROOT = pathlib.Path(__file__).resolve().parents[2]


def parse_training(description: str, results: str, argv: list | None = None) -> tuple:
    """Parse the command line of a tool that trains and writes a line to a file: `--results`, and train.py's flags.

    Args:
        description: of the tool.
        results: the file where none is named.
        argv: words of the command line; None: those of this process.

    Returns:
        The parser, and the arguments: `results`, `rest`, what train.py gets, and `train`, how it parses them.
    """
    parser = command_line.CommandLine(description)
    parser.usage = "%(prog)s CONFIG --save_dir FOLDER [--results FILE] [flags of train.py]"
    parser.add_argument("--results", default=results, help="file to write to, one JSON object a line")
    args, args.rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    args.train = flags.parse_train(args.rest)
    if not args.train.config_text or not args.train.save_dir:
        parser.error("name a config text and --save_dir, such as configs/quickstart.txt --save_dir output/quickstart")
    return parser, args


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
