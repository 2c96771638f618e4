"""The lines of a training on the screen: of an update and of an epoch."""

from common.messages import wrap
from engine.console.text import format_figure, format_percent


def describe_epoch(row: dict, num_classes: int, duration: str, best: str | None) -> str:
    """Return the line of an epoch.

    Args:
        row: `train/..` and `val/..` numbers; of several heads only top1 is shown, of five classes or fewer no top5.
        num_classes: of the network.
        duration: of its updates, as a text.
        best: RUN.metric where the epoch is the best one so far, else None.
    """
    parts = []
    for phase in ("train", "val"):
        names = [name.removeprefix(f"{phase}/") for name in row if name.startswith(f"{phase}/")]
        shown = [name for name in names if _is_shown(name, num_classes)]
        if shown:
            figures = [f"{name.removeprefix('acc/')} {format_figure(name, row[f'{phase}/{name}'])}" for name in shown]
            parts.append(f"{phase} {', '.join(figures)}")
    note = f"; best {best} so far" if best else ""
    return wrap(f"END epoch {row['epoch']}: {'; '.join(parts)}; {duration}{note}")


def _is_shown(name: str, num_classes: int) -> bool:
    if name.startswith("acc/"):
        return name.endswith("_top1")
    return name != "lr" and not (name == "top5" and num_classes <= 5)


def describe_update(where: str, loss: float, top1: float, rate: float, speed: str) -> str:
    """Return the line of an update.

    Args:
        where: `epoch 0, 10/19`.
        loss, top1: of the update.
        rate: learning rate.
        speed: clips/s, time that is left, and so on.
    """
    return wrap(f"{where}: loss {loss:.4g}, top1 {format_percent(top1)}, lr {rate:.3g}, {speed}")
