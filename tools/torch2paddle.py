"""The former name of tools/convert_weights.py, which does the same: python tools/convert_weights.py --help."""

import pathlib
import sys

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line

if __name__ == "__main__":
    command_line.start_paddle()

from tools.convert_weights import main, parse_arguments

__all__ = ["main", "parse_arguments"]

if __name__ == "__main__":
    command_line.run_main(main)
