"""The one check of an annotation of the skeleton pkl, for skeleton2pkl.py, the readers and predict.py.

`check_annotation` looks at types and shapes, `check_numbers` at the numbers: finite, coordinates in the unit of
`img_shape`, scores from 0 to 1.
"""

from collections.abc import Mapping

import numpy as np

from common.text_files import show_value

MAX_VALUE = 1e6  # of coordinates, in any unit
MAX_SCORE = 10  # networks overshoot 1 a little, and those that give sums of two bins a little more
MIN_SCORE = -0.5  # and 0
MAX_FRACTION = 1.5  # of coordinates that are shares of the picture; points may lie outside of it
MIN_SIDE = 16  # pixels of a picture whose key points do not all lie in its first two
MAX_OUTSIDE = 4.0  # picture sizes from the corner, of the median of all points
MAX_BEYOND = 1.05  # picture sizes to which points lie in a picture
MIN_OUTSIDE = 0.5  # of the points, more of which beyond the picture speak for one whose sides were exchanged
MIN_SCORE_RATIO = 20.0  # x and y in pixels over a score that stands as the third coordinate


def check_annotation(where: str, raw: Mapping) -> dict:
    """Check the types and shapes of an annotation, but not the values of its arrays.

    Args:
        where: what errors begin with.

    Returns:
        The annotation: `keypoint` (M, T, V, 2 or 3) and `keypoint_score` (M, T, V) of floating point numbers, cut to
        `total_frames`; `total_frames` int; `label` int, or absent where it is absent or None; `img_shape` two positive
        numbers.

    Raises:
        ValueError: a field that is missing or of another kind.
    """
    keypoint, score = raw.get("keypoint"), raw.get("keypoint_score")
    if keypoint is None and "raw_file" in raw:
        raise ValueError(
            f"{where}: the key points are in another file, {show_value(raw['raw_file'])}; read each into 'keypoint' "
            "(M, T, V, C) and write the pkl again"
        )
    keypoint = _as_numbers(where, "keypoint", keypoint, "numbers (M, T, V, C): persons, frames, joints, coordinates")
    if keypoint.ndim != 4:
        raise ValueError(f"{where}: keypoint is {describe(keypoint)}, expected numbers (M, T, V, C); reshape it")
    if keypoint.shape[3] not in (2, 3):
        raise ValueError(f"{where}: keypoint has {keypoint.shape[3]} coordinates, expected 2 or 3; correct the file")
    num_frames = _read_num_frames(where, raw.get("total_frames"), keypoint.shape[1])
    annotation = {**raw, "total_frames": num_frames, "keypoint": _cut(keypoint, num_frames)}
    if raw.get("label") is None:
        annotation.pop("label", None)
    else:
        annotation["label"] = _read_label(where, raw["label"])
    if score is not None:
        score = _as_numbers(where, "keypoint_score", score, f"{keypoint.shape[:3]} numbers")
        if score.shape != keypoint.shape[:3]:
            raise ValueError(f"{where}: keypoint_score is {describe(score)}, expected {keypoint.shape[:3]} numbers")
        annotation["keypoint_score"] = _cut(score, num_frames)
    if raw.get("img_shape") is not None:
        annotation["img_shape"] = _read_size(where, raw["img_shape"])
    return annotation


def _as_numbers(where: str, key: str, value, expected: str) -> np.ndarray:
    """Return a value as floating point numbers, an array of them as it is."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise ValueError(f"{where}: {key} is lists of different lengths, expected {expected}; correct it") from None
    if array.dtype.kind not in "fiu" or not isinstance(value, (np.ndarray, list, tuple)):
        raise ValueError(f"{where}: {key} is {describe(value)}, expected {expected}; correct the file")
    return array if array.dtype.kind == "f" and isinstance(value, np.ndarray) else array.astype(np.float32)


def _cut(values: np.ndarray, num_frames: int) -> np.ndarray:
    return values if values.shape[1] == num_frames else values[:, :num_frames]


def is_whole(value) -> bool:
    """Return whether a value is a whole number, also one such as 20.0 or of NumPy."""
    if isinstance(value, (float, np.floating)):
        return float(value).is_integer()
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def _read_label(where: str, label) -> int:
    if not is_whole(label) or isinstance(label, (float, np.floating)) or label < 0:
        raise ValueError(
            f"{where}: label is {show_value(label)}, expected a whole number from 0; correct it, or leave it out if "
            "it is not known"
        )
    return int(label)


def _read_num_frames(where: str, total_frames, num_frames: int) -> int:
    if total_frames is None or num_frames == 0:
        return num_frames
    if not is_whole(total_frames) or not 1 <= total_frames <= num_frames:
        raise ValueError(
            f"{where}: total_frames is {show_value(total_frames)}, keypoint has {num_frames} frames; correct it or "
            "leave it out"
        )
    return int(total_frames)


def _read_size(where: str, size) -> tuple:
    """Read (height, width); a tuple of int stays the same object."""
    sides = size.tolist() if isinstance(size, np.ndarray) else size
    is_pair = isinstance(sides, (tuple, list)) and len(sides) == 2
    if not is_pair or not all(is_whole(side) and side > 0 for side in sides):
        raise ValueError(
            f"{where}: img_shape is {show_value(size)}, expected (height, width) of the picture in pixels; correct it"
        )
    return size if isinstance(size, tuple) and all(type(side) is int for side in size) else tuple(map(int, sides))


def check_numbers(
    where: str, keypoint: np.ndarray, score: np.ndarray | None, img_shape: tuple | None, limit: float = MAX_VALUE
) -> None:
    """Check the key points and scores of an annotation; see `check_values` and `check_units`.

    Args:
        limit: largest plausible absolute value of a coordinate.
    """
    check_values(where, keypoint, limit, "coordinates")
    if score is not None:
        check_values(where, score, MAX_VALUE, "score")
    check_units(where, keypoint, score, img_shape)


def check_values(where: str, values: np.ndarray, limit: float, what: str) -> None:
    """Refuse values, (M, T, V) or (M, T, V, C), that are not numbers from -limit to limit."""
    sizes = np.abs(values).astype(np.promote_types(values.dtype, np.float32))  # float16 does not hold every limit
    if sizes.size == 0 or sizes.max() <= limit:  # nan compares false
        return
    person, frame, joint = np.argwhere(~(sizes <= limit))[0, :3].tolist()
    raise ValueError(
        f"{where} person {person}, frame {frame}, joint {joint}: {what} {values[person, frame, joint].tolist()}, "
        f"expected numbers from {-limit:g} to {limit:g}; correct the file or get it again"
    )


def check_units(where: str, keypoint: np.ndarray, score: np.ndarray | None, img_shape: tuple | None) -> None:
    """Compare coordinates with the size of the picture, and scores with 0 to 1.

    Args:
        keypoint: (M, T, V, C) finite numbers.
        score: (M, T, V) finite numbers, or None.
        img_shape: (height, width) in the unit of x and y, or None.

    Raises:
        ValueError: shares of the picture where pixels are expected, or the other way round; a score that stands as
            third coordinate; scores below 0, of 0 to 100, or all 0.
    """
    points = keypoint[keypoint[..., :2].any(axis=3)].astype(np.float32)  # (N, C)
    if not len(points):
        return
    extent = np.abs(points[:, :2]).max(axis=0)
    shown = f"x up to {extent[0]:.4g} and y up to {extent[1]:.4g}"
    if points.shape[1] == 3:
        third = points[:, 2]
        if 0 <= third.min() and 0 < third.max() <= 1 and extent.min() > MIN_SCORE_RATIO:
            raise ValueError(
                f"{where}: {shown}, but the third coordinate is 0 to 1 as a score is; put x and y into keypoint and "
                "the score into keypoint_score (M, T, V)"
            )
    elif img_shape is not None:
        height, width = img_shape
        if are_shares(points) and min(img_shape) >= MIN_SIDE:
            raise ValueError(
                f"{where}: key points have {shown}, but img_shape is ({height}, {width}): they are shares of the "
                "picture where pixels are expected; multiply x by the width and y by the height"
            )
        if (np.median(np.abs(points), axis=0) > MAX_OUTSIDE * np.array([width, height])).any():
            raise ValueError(
                f"{where}: key points have {shown}, far beyond img_shape, ({height}, {width}); give (height, width) of "
                "the picture in which they were found"
            )
        if (extent > MAX_BEYOND * np.array([width, height])).any() and is_exchanged(keypoint, score, img_shape):
            raise ValueError(
                f"{where}: key points have {shown}, beyond the img_shape ({height}, {width}), height and width, but "
                f"within ({width}, {height}); write img_shape as (height, width) of the picture"
            )
    _check_scores(where, keypoint, score)


def are_shares(points: np.ndarray) -> bool:
    """Return whether key points (..., C), some of which are not 0, can only be shares of the picture."""
    return bool(np.abs(points[..., :2]).max(initial=0) <= MAX_FRACTION)


def is_exchanged(keypoint: np.ndarray, score: np.ndarray | None, img_shape: tuple) -> bool:
    """Return whether key points (M, T, V, 2) leave the picture (height, width) but lie in one of (width, height).

    Points of less than half of the best score, which may be anywhere, do not count.
    """
    found = keypoint.any(axis=3) if score is None else keypoint.any(axis=3) & (score >= score.max() / 2)
    points, sides = keypoint[found].astype(np.float32), np.array(img_shape, np.float32) * MAX_BEYOND
    outside = (points > sides[::-1]).any(axis=1)
    return outside.mean() > MIN_OUTSIDE and not (points > sides).any() if len(points) else False


def _check_scores(where: str, keypoint: np.ndarray, score: np.ndarray | None) -> None:
    if score is None or not score.size:
        return
    low, high = float(score.min()), float(score.max())
    expected = "expected 0 to 1"
    if high > MAX_SCORE:
        raise ValueError(
            f"{where}: keypoint_score goes up to {high:g}, {expected}; divide it, by 100 if it is per cent"
        )
    if low < MIN_SCORE:
        raise ValueError(f"{where}: keypoint_score goes down to {low:g}, {expected}; write 0 for a point not found")
    if high <= 0:
        raise ValueError(
            f"{where}: keypoint_score is 0 for every point, so that none would count; leave it out or write the scores"
        )


def check_class_names(path: str, names) -> list[str] | None:
    """Return the class names of a file, or None where it has none.

    Raises:
        ValueError: no list of names in label order, or one name for two classes.
    """
    if names is None:
        return None
    if not isinstance(names, (list, tuple, np.ndarray)):
        raise ValueError(f"{path}: class_names is {show_value(names)}, expected a list of names in the order of labels")
    names = [str(name) for name in names]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: class_names has '{twice[0]}' {names.count(twice[0])} times; name each class once")
    return names


def describe(value) -> str:
    """Return shape and type of an array, or the type of another value."""
    return (
        f"of the shape {value.shape}, {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    )
