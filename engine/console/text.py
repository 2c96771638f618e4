"""How numbers are written on the screen."""

from engine.charts.tags import is_accuracy


def format_percent(share: float) -> str:
    """Write a share from 0 to 1 as `48.48%`."""
    return f"{100 * share:.2f}%"


def format_figure(name: str, value: float) -> str:
    """Write a figure by its name: losses with four significant digits, accuracies in percent."""
    return format_percent(value) if is_accuracy(name) else f"{value:.4g}"
