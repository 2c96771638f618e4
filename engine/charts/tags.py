"""Which chart of VisualDL shows which number of the jsonl file.

Charts stand in groups, by what is before the slash of their tag: `accuracy` and `loss` by epoch, `update` by update,
`system` by epoch. VisualDL draws what has one tag in two folders as two lines of one chart; so what is of training is
written to the folder `train` in that of the run, and what is of validation to that of the run itself.
"""

STEP_TAGS = "train/step_"  # of the numbers of an update in the jsonl file; those of an epoch have other tags
RUN_DIR, TRAIN_DIR = "", "train"
SHARES = ("data", "model", "statistics")  # of the time of an epoch


def find_chart(tag: str) -> tuple[str, str] | None:
    """Return the folder and the tag of a number in VisualDL; None for one that stands in another chart already.

    Args:
        tag: of the jsonl file, such as `val/top1`, or of what only VisualDL has, which stays as it is.
    """
    group, _, name = tag.partition("/")
    if tag == "train/lr":  # the rate of the last update of an epoch
        return None
    if tag.startswith(STEP_TAGS):
        name = tag.removeprefix(STEP_TAGS)
        return RUN_DIR, f"update/{'learning_rate' if name == 'lr' else name}"
    if group in ("train", "val"):
        kind = "accuracy" if is_accuracy(name) else "loss"
        return (TRAIN_DIR if group == "train" else RUN_DIR), f"{kind}/{name.removeprefix('acc/')}"
    if group == "time":
        return RUN_DIR, f"system/{name}_share" if name in SHARES else f"system/{name}"
    return RUN_DIR, f"system/{tag}" if tag == "memory_gib" else tag


def is_accuracy(name: str) -> bool:
    """Return whether a figure is a share from 0 to 1, not a loss."""
    return name.startswith(("top", "mean_class_accuracy", "acc/"))
