"""The page of a report: the template, filled and written.

Names of classes and of files are anybody's text: the template escapes whatever it shows. The page forbids itself to
load anything.
"""

import base64
import os
import platform
import shlex
import sys
import time

import jinja2
import numpy as np

from common import files

MAX_NAME, MAX_PATH, MAX_COMMAND = 60, 200, 2000  # characters that are shown
FOLDER = os.path.dirname(os.path.abspath(__file__))


def write_page(path: str, content: dict) -> None:
    """Fill the template and write the page.

    Args:
        content: the variables of `report.html`.

    Raises:
        OSError: the file cannot be written.
    """
    with files.write_atomically(path) as file:
        file.write(fill_template(content).encode("utf-8", "replace"))  # file names may be no UTF-8


def fill_template(content: dict) -> str:
    """Return the text of the page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(name=cut_name, path=cut_path, percent=format_percent, data_uri=make_data_uri)
    return environment.get_template("report.html").render(content)


def describe_making(versions: str = "") -> dict:
    """Return how and when the report was made.

    Args:
        versions: of what else affects results.
    """
    return {
        "command": shlex.join(["python", *sys.argv])[:MAX_COMMAND],
        "folder": os.getcwd(),
        "versions": versions or f"NumPy {np.__version__}, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def cut_name(value: object) -> str:
    """Return the beginning of a text that is long."""
    text = str(value)
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"


def cut_path(value: object) -> str:
    """Return the end of a text that is long."""
    text = str(value)
    return text if len(text) <= MAX_PATH else f"…{text[1 - MAX_PATH :]}"


def format_percent(fraction: float) -> str:
    """Return 0.98765 as 98.77%."""
    return f"{100 * fraction:.2f}%"


def make_data_uri(picture: bytes) -> str:
    """Return a picture, WebP or PNG, as an address that holds it."""
    kind = "webp" if picture[8:12] == b"WEBP" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
