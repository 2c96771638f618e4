"""Charts of a report: curves as what an SVG of the template is drawn from, confusion as a small picture."""

import io

import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image

WIDTH, HEIGHT = 460, 240  # of a chart, in pixels
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 30  # margins
MAX_POINTS = 200  # of a curve
MAX_CELLS = 1000  # in a row of the confusion picture
NUM_SHADES = 64


def place_curves(title: str, curves: dict, chosen: int | None, is_share: bool) -> dict:
    """Place curves by epoch on a chart that begins at 0.

    Args:
        curves: name -> [(epoch, value)].
        chosen: epoch of the weights, marked by a line.
        is_share: the values are fractions of 1.

    Returns:
        title, lines, ticks and mark, in pixels of the chart.
    """
    points = [point for curve in curves.values() for point in curve]
    first, last = (pick(epoch for epoch, _ in points) for pick in (min, max))
    high = 1.0 if is_share else max(max(value for _, value in points), 1e-6)

    def place_x(epoch: float) -> float:
        return round(LEFT + (epoch - first) / max(last - first, 1) * (WIDTH - LEFT - RIGHT), 1)

    def place_y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / high * (HEIGHT - TOP - BOTTOM), 1)

    return {
        "title": title,
        "lines": [
            [(place_x(epoch), place_y(value), epoch, f"{value:.4f}") for epoch, value in _thin(curve)]
            for curve in curves.values()
        ],
        "names": list(curves),
        "x_ticks": [(place_x(tick), f"{tick:g}") for tick in _find_ticks(first, last, is_integer=True)],
        "y_ticks": [(place_y(tick), _format_tick(tick, is_share)) for tick in _find_ticks(0, high)],
        "mark": None if chosen is None or not first <= chosen <= last else place_x(chosen),
    }


def _thin(curve: list) -> list:
    """Return at most `MAX_POINTS` points of a curve, the last one included."""
    return curve[:: -1 - (len(curve) - 1) // MAX_POINTS][::-1]


def _find_ticks(low: float, high: float, is_integer: bool = False) -> list:
    ticks = MaxNLocator(5, integer=is_integer).tick_values(low, high)
    return [tick for tick in ticks if low <= tick <= high]


def _format_tick(tick: float, is_share: bool) -> str:
    return f"{100 * tick:.0f}%" if is_share else f"{tick:.3g}"


def draw_matrix(fractions: np.ndarray) -> bytes:
    """Draw a matrix of fractions as a PNG with one pixel a cell, of large ones several cells; 0 is white, 1 blue."""
    shades = np.ceil(fractions * (NUM_SHADES - 1)).astype(np.uint8)  # what is not 0 is seen
    starts = np.arange(0, len(shades), -(-len(shades) // MAX_CELLS))
    shades = np.maximum.reduceat(np.maximum.reduceat(shades, starts, axis=0), starts, axis=1)
    picture = Image.frombytes("P", shades.shape[::-1], shades.tobytes())
    white, blue = np.array([247, 251, 255]), np.array([8, 48, 107])
    share = np.linspace(0, 1, NUM_SHADES)[:, None] ** 0.6
    picture.putpalette((white + share * (blue - white)).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
