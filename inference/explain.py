"""Where a network looks: what speaks for a class, by frame, in the frames or joints of the source.

`Explanations` makes it from a source (`inference/sources.py`) and a network, window by window, as the frames are asked
for. What the network saw of a frame is undone: crops and mirrored views are put where they were cut, clips at their
frames; views that see the same place are averaged, and frames between those that were seen are interpolated.
"""

from collections.abc import Iterator

import numpy as np
import paddle

from common.suggestions import suggest
from engine import onednn
from inference import drawing, grad_cam
from models.parts.action_model import ActionModel
from reader.boxes import ViewPlace

GRID_SIZE = 40  # rows and columns of a heat: more than any network's map has
SMOOTHED_FRAMES = 5  # a joint's importance jumps from frame to frame, as its movement changes direction
SKELETON = "skeleton"  # the input that has joints, not places


class Heat:
    """What speaks for a class in the places of a video, from 0 to 1.

    Args:
        values: (num_frames, rows, columns).
        box: of the frame that they cover, (top, left, height, width) as shares of its height and width.
    """

    def __init__(self, values: np.ndarray, box: tuple):
        self.values, self.box = values, box

    def find(self, index: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the heat in frame `index` at places given as shares of its height and width; 0 beyond the box."""
        grid, (top, left, height, width) = self.values[index], self.box
        rows = np.nan_to_num((y - top) / height * grid.shape[0], nan=-1)
        columns = np.nan_to_num((x - left) / width * grid.shape[1], nan=-1)
        inside = (rows >= 0) & (rows < grid.shape[0]) & (columns >= 0) & (columns < grid.shape[1])
        found = grid[np.where(inside, rows, 0).astype(int), np.where(inside, columns, 0).astype(int)]
        return np.where(inside, found, 0)


class Explanation:
    """What speaks for a class in one window of a source.

    Attributes:
        label: the class.
        start: first frame of the window.
        end: frame after its last one.
        heats: {name of an input with places, such as "rgb": `Heat` over the frames of the window}.
        joints: importance of each joint from 0 to 1, (persons, frames, joints), or None where the source has none.
        is_empty: nothing speaks for the class.
    """

    def __init__(self, label: int, start: int, end: int, heats: dict, joints: np.ndarray | None):
        self.label, self.start, self.end, self.heats, self.joints = label, start, end, heats, joints
        arrays = [heat.values for heat in heats.values()] + ([] if joints is None else [joints])
        self.is_empty = not any(array.any() for array in arrays)

    def find_joints(self, index: int) -> np.ndarray | None:
        """Return the importance of each joint in frame `index` of the source, (persons, joints)."""
        return None if self.joints is None else self.joints[:, index - self.start]


class Explanations:
    """The explanations of a source, one for each frame, made as they are iterated over.

    Args:
        source: that was opened and scored.
        network: what scored it, with its `model`; see predict.py's `FrameNetwork`.
        prediction: of it.
        class_names: by label.
        label: the class to explain; None: the best one of each window.
    """

    def __init__(
        self, source, network, prediction: drawing.Prediction, class_names: list[str], label: int | None = None
    ):
        self.source, self.network, self.prediction, self.label = source, network, prediction, label
        self.class_names, self.num_empty, self.last = class_names, 0, None

    def __iter__(self) -> Iterator[Explanation]:
        windows = zip(self.prediction.windows, self.source.read_windows(), strict=True)
        self.num_empty, self.last = 0, None
        for index in range(self.prediction.num_frames):
            shown = self.prediction.find_window(self.prediction.find_place(index))
            while self.last is None or (self.last.start, self.last.end) != (shown.start, shown.end):
                window, batch = next(windows)
                label = window.ranking[0][0] if self.label is None else self.label
                span = (window.start, window.end)
                self.last = explain_window(self.source, find_model(self.network), span, batch["inputs"], label)
                self.num_empty += self.last.is_empty
            yield self.last

    @property
    def class_name(self) -> str | None:
        """The name of the explained class; None: that of each window."""
        if self.label is None and len(self.prediction.windows) > 1:
            return None
        return self.class_names[self.prediction.ranking[0][0] if self.label is None else self.label]

    @property
    def note(self) -> str:
        """What the colours mean."""
        return f"colours: what speaks for {self.class_name or 'the class of the time'}"

    def describe(self) -> dict:
        """Describe what was drawn, for a json: the class, and of a source of one window how much counts.

        Returns:
            `class`; `frames`, the importance of each frame from 0 to 1 by the name of the input; `joints`, the share of
            each joint by its name, for each person, where the source has joints.
        """
        content, last = {"class": self.class_name}, self.last
        if len(self.prediction.windows) > 1 or last is None:
            return content
        over_frames = {name: heat.values.sum(axis=(1, 2)) for name, heat in last.heats.items()}
        if last.joints is not None:
            over_frames = over_frames or {SKELETON: last.joints.sum(axis=(0, 2))}
            shares, names = last.joints.sum(axis=1), self.source.reader.layout.joints
            shares = shares / max(float(shares.sum()), 1e-12)
            content["joints"] = [
                {name: round(float(share), 4) for name, share in zip(names, person, strict=True)} for person in shares
            ]
        content["frames"] = {
            name: [round(float(value), 3) for value in _scale_to_one(values)] for name, values in over_frames.items()
        }
        return content


def find_label(name: str, class_names: list) -> int:
    """Return the label of a class that is given by name or label.

    Raises:
        ValueError: there is none; the message has the nearest name.
    """
    by_name = {class_name.casefold(): label for label, class_name in enumerate(class_names)}
    if name.casefold() in by_name:
        return by_name[name.casefold()]
    if name.isdecimal() and int(name) < len(class_names):
        return int(name)
    raise ValueError(
        f"--explain '{name}': the network knows no such class{suggest(name, class_names)}; give one of "
        f"{', '.join(class_names[:10])}{', ...' if len(class_names) > 10 else ''}, or none for what it predicts"
    )


def explain_window(source, model: ActionModel, span: tuple, inputs: dict, label: int) -> Explanation:
    """Explain one window of a source.

    Args:
        source: has the `reader` of its views and says where they stand: `locate_views` and, where the network sees heat
            maps, `locate_joints`.
        span: (first frame, frame after the last one) of the window.
        inputs: the views of the window, {name: (views, ...)}, as the reader returns them.
    """
    places, num_frames = source.locate_views(*span), span[1] - span[0]
    views = _compute_views(model, source.reader.prepare, inputs, label)
    if SKELETON in views:
        joints = source.reader.spread_joints(place_joints(views[SKELETON], places[SKELETON], num_frames))
        return Explanation(label, *span, {}, joints)
    heats = {name: place_maps(maps, places[name], num_frames) for name, maps in views.items()}
    joints = find_joint_heat(heats["pose"], *source.locate_joints()) if "pose" in heats else None
    return Explanation(label, *span, heats, joints)


def find_joint_heat(heat: Heat, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the heat at joints (M, num_frames, V), given as shares of the picture's height and width; nan: missing."""
    num_frames = min(len(heat.values), y.shape[1])
    return np.stack([heat.find(index, y[:, index], x[:, index]) for index in range(num_frames)], axis=1)


def find_model(network) -> ActionModel:
    """Return the network of the dynamic graph, which alone has gradients."""
    model = network.model
    return model.model if isinstance(model, onednn.OneDNNNetwork) else model


def _compute_views(model: ActionModel, prepare, inputs: dict, label: int) -> dict:
    """Return {name of the input: array of each view}; view by view, because gradients take as much room as training."""
    model.eval()
    compute = grad_cam.compute_joint_shares if SKELETON in inputs else grad_cam.compute_maps
    found = []
    for index in range(len(next(iter(inputs.values())))):
        view = {name: paddle.to_tensor(values[index : index + 1]) for name, values in inputs.items()}
        found.append(compute(model, prepare(view), label))
    return {name: [view[name][0] for view in found] for name in found[0]}


def place_maps(maps: list, places: list[ViewPlace], num_frames: int) -> Heat:
    """Put the maps of views where the views stand in their video.

    Args:
        maps: (T', H', W') of each view.
        places: of each view.
        num_frames: of the video.
    """
    boxes = np.array([place.box for place in places])
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)  # top, left, bottom, right
    (top, left), (bottom, right) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    sums, counts = np.zeros((2, num_frames, GRID_SIZE, GRID_SIZE), np.float32)
    for view, place in zip(maps, places, strict=True):
        view = view[..., ::-1] if place.is_mirrored else view
        rows, is_row = _spread(view.shape[1], place.box[0], place.box[2], top, bottom - top)
        columns, is_column = _spread(view.shape[2], place.box[1], place.box[3], left, right - left)
        frames = _spread_frames(view, len(place.frames))
        heat = rows @ frames @ columns.T  # (T, H', W') -> (T, rows, columns)
        is_inside = is_row[:, None] & is_column
        _add_frames(sums, counts, np.where(is_inside, heat, 0), is_inside, place.frames)
    values = _fill_between(sums / np.maximum(counts, 1), counts.any(axis=(1, 2)))
    return Heat(_scale_to_one(values), (top, left, bottom - top, right - left))


def place_joints(shares: list, places: list[ViewPlace], num_frames: int) -> np.ndarray:
    """Put what joints add to a logit in the frames of views (M, T, V) into the frames of their recording.

    Returns:
        Importance from 0 to 1, (M, num_frames, V), the mean over `SMOOTHED_FRAMES` neighbouring frames; what speaks
        against the class is 0.
    """
    sums, counts = np.zeros((2, num_frames, *shares[0].swapaxes(0, 1).shape[1:]), np.float32)
    for view, place in zip(shares, places, strict=True):
        _add_frames(sums, counts, view.swapaxes(0, 1), np.ones(1, bool), place.frames)
    values = _fill_between(sums / np.maximum(counts, 1), counts.any(axis=(1, 2)))
    places = np.arange(num_frames)
    is_near = np.abs(places[:, None] - places) <= SMOOTHED_FRAMES // 2
    smooth = np.tensordot(is_near / is_near.sum(axis=1, keepdims=True), np.maximum(values, 0), axes=1)
    return _scale_to_one(smooth).swapaxes(0, 1)


def _add_frames(sums: np.ndarray, counts: np.ndarray, values: np.ndarray, is_inside: np.ndarray, frames) -> None:
    """Add the frames (T, ...) of a view to those of the video, and count them; padding is left out."""
    indices = np.round(frames).astype(int)
    known = (indices >= 0) & (indices < len(sums))
    np.add.at(sums, indices[known], values[known])
    np.add.at(counts, indices[known], is_inside)


def _fill_between(values: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    """Interpolate the frames (num_frames, ...) that no view saw; before the first and after the last, repeat them."""
    known = np.flatnonzero(is_known)
    if len(known) in (0, len(values)):
        return values
    places = np.interp(np.arange(len(values)), known, np.arange(len(known)))
    return np.tensordot(_interpolate(places, len(known)), values[known], axes=1)


def _spread_frames(view: np.ndarray, num_frames: int) -> np.ndarray:
    """Interpolate a map (T', H', W') to the frames of its clip, (T, H', W')."""
    places = (np.arange(num_frames) + 0.5) * len(view) / num_frames - 0.5
    return np.tensordot(_interpolate(places, len(view)), view, axes=1)


def _spread(length: int, start: float, extent: float, grid_start: float, grid_extent: float) -> tuple:
    """Return the matrix (GRID_SIZE, length) from a map's axis to the grid's, and which cells of that it covers."""
    centres = grid_start + (np.arange(GRID_SIZE) + 0.5) / GRID_SIZE * grid_extent
    shares = (centres - start) / extent
    return _interpolate(shares * length - 0.5, length), (shares >= 0) & (shares < 1)


def _interpolate(places: np.ndarray, length: int) -> np.ndarray:
    """Return the matrix that interpolates linearly at places from 0 to `length` - 1; beyond, the ends are repeated."""
    places = np.clip(places, 0, length - 1)
    before = np.minimum(places.astype(int), max(length - 2, 0))
    matrix, rows = np.zeros((len(places), length), np.float32), np.arange(len(places))
    matrix[rows, before] = 1 - (places - before)
    matrix[rows, np.minimum(before + 1, length - 1)] += places - before
    return matrix


def _scale_to_one(values: np.ndarray) -> np.ndarray:
    return values / max(float(values.max()), 1e-12)
