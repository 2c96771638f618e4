"""Draw joint layouts as PNG files for the documents, each joint with its number.

The body is seen from the front, so its left side, in blue, is on the right. Thick lines are bones that are also edges
of the graph, thin ones are only bones, dashed ones only edges.
"""

import argparse
import pathlib
import sys

import cv2
import numpy as np
from PIL import Image

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common.command_line import CommandLine, run_main
from common.files import write_atomically
from layouts import NAMES, Layout, get_layout

WIDTH, HEIGHT = 480, 640  # of the area of the body, in pixels; the names are on its right
NAMES_WIDTH = 180
LEFT, RIGHT, MIDDLE = (0, 92, 176), (213, 94, 0), (96, 96, 96)
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
RADIUS = 10  # of a joint, pixels
DASH = 6  # pixels


def draw_layout(layout: Layout) -> np.ndarray:
    """Draw the joints of a layout as numbered discs, its bones and edges, and a list of the names.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        ValueError: the layout has no positions.
    """
    if not layout.positions:
        raise ValueError(f"layout '{layout.name}': no positions to draw; list its joints as [name, parent, x, y]")
    picture = np.full((HEIGHT, WIDTH + NAMES_WIDTH, 3), 255, np.uint8)
    points = [(round(x * WIDTH / 100), round(y * HEIGHT / 100)) for x, y in layout.positions]
    colors = choose_colors(layout)
    _draw_lines(picture, layout, points, colors)
    step = min(24, (HEIGHT - 20) // layout.num_joints)
    for joint, (name, point, color) in enumerate(zip(layout.joints, points, colors, strict=True)):
        cv2.circle(picture, point, RADIUS, color, -1, cv2.LINE_AA)
        (width, height), _ = cv2.getTextSize(str(joint), FONT, FONT_SCALE, 1)
        _write(picture, str(joint), (point[0] - width // 2, point[1] + height // 2), (255, 255, 255))
        _write(picture, f"{joint} {name}", (WIDTH, 20 + joint * step), color)
    return picture


def choose_colors(layout: Layout) -> list[tuple[int, int, int]]:
    """Return the (red, green, blue) of each joint, which depends on its side: left, right or middle."""
    colors = [MIDDLE] * layout.num_joints
    for left, right in layout.pairs:
        colors[left], colors[right] = LEFT, RIGHT
    return colors


def _draw_lines(picture, layout, points, colors):
    bones, edges = ({frozenset(pair) for pair in pairs} for pairs in (layout.bones, layout.edges))
    for pair in bones | edges:
        # A line between a side and the middle has the color of the side.
        first, second = sorted(pair, key=lambda joint: colors[joint] == MIDDLE)
        if pair in bones:
            thickness = 3 if pair in edges else 1
            cv2.line(picture, points[first], points[second], colors[first], thickness, cv2.LINE_AA)
        else:
            _draw_dashes(picture, np.array(points[first]), np.array(points[second]), colors[first])


def _draw_dashes(picture, start, end, color):
    num_steps = round(float(np.hypot(*(end - start))) / DASH)
    stops = np.linspace(start, end, 2 * (num_steps // 2) + 2).round().astype(int).tolist()
    for dash_start, dash_end in zip(stops[::2], stops[1::2], strict=True):
        cv2.line(picture, dash_start, dash_end, color, 2, cv2.LINE_AA)


def _write(picture, text, corner, color):
    cv2.putText(picture, text, corner, FONT, FONT_SCALE, color, 1, cv2.LINE_AA)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/draw_layouts.py --help`."""
    parser = CommandLine("Draw joint layouts as PNG files.")
    parser.add_argument("layouts", nargs="*", default=NAMES, help="names or yaml files; default: all of layouts/")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/layouts"), help="folder of the pictures")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Draw each layout to `<out>/<name>.png`."""
    args = parse_arguments(argv)
    for name in args.layouts:
        layout = get_layout(name)
        picture = Image.fromarray(draw_layout(layout)).quantize(32)  # few colors make a small file
        path = args.out / f"{layout.name}.png"
        with write_atomically(path) as file:
            picture.save(file, "PNG", optimize=True)
        print(path)


if __name__ == "__main__":
    run_main(main)
