"""Pictures of clips with their classes: what a network is trained on, and what it takes for something else."""

import numpy as np
from PIL import Image, ImageDraw

from inference.text_renderer import TextRenderer

MAX_CLIPS, MAX_FRAMES = 8, 6
MIN_SIDE, TEXT_SIZE, TITLE_HEIGHT = 112, 14, 24  # pixels
GROUND = (24, 26, 30)


def draw_clips(clips: list, titles: list) -> np.ndarray:
    """Draw clips below each other: a title, and under it frames from left to right.

    Args:
        clips: uint8 RGB (T, H, W, 3) of one size.
        titles: one for each clip; what is too long for its row is shortened.

    Returns:
        uint8 RGB (height, width, 3).
    """
    renderer = TextRenderer("".join(titles))
    rows = [np.concatenate(_choose_frames(clip), axis=1) for clip in clips]
    height, width = rows[0].shape[:2]
    picture = Image.new("RGB", (width, len(rows) * (TITLE_HEIGHT + height)), GROUND)
    draw = ImageDraw.Draw(picture)
    for index, (row, title) in enumerate(zip(rows, titles, strict=True)):
        top = index * (TITLE_HEIGHT + height)
        renderer.write(draw, (6, top + TITLE_HEIGHT // 2), title, TEXT_SIZE, width - 12)
        picture.paste(Image.fromarray(row), (0, top + TITLE_HEIGHT))
    return np.asarray(picture)


def _choose_frames(clip: np.ndarray) -> list:
    """Return frames evenly spaced over a clip, enlarged where they are smaller than `MIN_SIDE`."""
    indices = np.linspace(0, len(clip) - 1, min(MAX_FRAMES, len(clip))).round().astype(int)
    height, width = clip.shape[1:3]
    scale = max(1, MIN_SIDE / min(height, width))
    size = round(scale * width), round(scale * height)
    return [np.asarray(Image.fromarray(clip[index]).resize(size, Image.BICUBIC)) for index in indices]


def draw_batch(class_names: list, batch: dict) -> np.ndarray | None:
    """Draw clips of a batch of `reader.loader.Loader` with their classes; None where it has no clips of RGB.

    Args:
        class_names: names by label.
    """
    if "rgb" not in batch["inputs"]:
        return None
    clips, names = np.asarray(batch["inputs"]["rgb"]), batch["names"][:MAX_CLIPS]
    titles = [
        f"{_name_class(class_names, label)} ({name})" for label, name in zip(batch["labels"], names, strict=False)
    ]
    starts = np.cumsum([0, *batch["views"]])[: len(titles)]
    return draw_clips(list(clips[starts]), titles) if titles else None


def draw_wrong(loader, result: dict, class_names: list) -> np.ndarray | None:
    """Draw the samples of a scored list that the network takes for another class, the surest first.

    Args:
        loader: of the list, by which these samples are read again.
        result: `labels` and `scores` of the list, see `engine.evaluator.evaluate`.
        class_names: names by label.

    Returns:
        A picture as of `draw_clips`; None where no sample is wrong or the samples have no clips of RGB.
    """
    guesses, labels = result["scores"].argmax(axis=1), result["labels"]
    wrong = np.flatnonzero(guesses != labels)
    wrong = wrong[np.argsort(-result["scores"].max(axis=1)[wrong], kind="stable")][:MAX_CLIPS]
    if "rgb" not in loader.input_shape or not len(wrong):
        return None
    clips, titles = [], []
    for index, batch in zip(wrong, loader.read_samples([int(index) for index in wrong]), strict=True):
        clips.append(np.asarray(batch["inputs"]["rgb"])[0])
        label, guess = (_name_class(class_names, each[index]) for each in (labels, guesses))
        titles.append(f"{label}, taken for {guess} ({batch['names'][0]})")
    return draw_clips(clips, titles)


def _name_class(class_names: list, label: int) -> str:
    """Return the name of a class, or its number: a network may have more outputs than its list has names."""
    return class_names[label] if label < len(class_names) else str(label)
