"""Clips of heat maps from the 2-D key points of the skeleton pkl (PoseC3D, arXiv:2104.13586).

The one input of a sample is `pose`, float32 (views, M, T, V, 4): x and y in pixels of the map, score, and 1 in mirrored
views. `Heatmaps.prepare` draws the maps on the device, so that workers send key points only. The views of a sample are
its clips in time order, with `flip` each followed by itself mirrored.

A key point is missing if it is exactly (0, 0), or `MAX_DISTANCE` or more from the origin: it draws nothing. A key point
a little outside of the picture counts, and the box around the bodies includes it. A recording without any key point
gives empty maps; one without persons or frames, or with values that are no numbers, is damaged.
"""

import functools
from dataclasses import dataclass

import numpy as np

from common.ranges import Count, NonNegative, Positive, PositiveShare, Seed, Share
from layouts import Layout
from reader import boxes, device_heatmaps, draw_heatmaps, sampling
from reader import pose_transforms as transforms
from reader.preprocessor import Preprocessor
from reader.recordings import Recordings
from reader.skeleton_pkl import Recording

KINDS = ("joints", "limbs")
CROPS = ("resized", "multiscale")
CROP_AREA = [0.56, 1.0]


@dataclass
class Framing:
    """What is cut out of a picture.

    Attributes:
        body: the box around the bodies, (top, left, height, width).
        scaled_size: (height, width) to which that box is scaled.
        crop: the box that is cut out of it then.
        is_mirrored: the crop is mirrored left to right.
    """

    body: tuple
    scaled_size: tuple
    crop: tuple
    is_mirrored: bool

    def find_box(self) -> tuple:
        """Return the part of the picture that the crop shows, (top, left, height, width) in pixels."""
        scales = [self.body[2 + axis] / self.scaled_size[axis] for axis in (0, 1)]
        corner = [self.body[axis] + self.crop[axis] * scales[axis] for axis in (0, 1)]
        return *corner, self.crop[2] * scales[0], self.crop[3] * scales[1]

    def apply(self, keypoint: np.ndarray, score: np.ndarray, crop_size: int, layout: Layout) -> tuple:
        """Convert key points and scores of the picture to those of the crop, a square of `crop_size` pixels."""
        keypoint = transforms.resize(transforms.compact(keypoint, self.body), self.body[2:], self.scaled_size)
        keypoint = transforms.resize(transforms.crop(keypoint, self.crop), self.crop[2:], (crop_size, crop_size))
        return transforms.mirror(keypoint, score, crop_size, layout) if self.is_mirrored else (keypoint, score)


class Heatmaps(Recordings):
    """Heat maps of the recordings in a split, by (epoch, index).

    Args:
        filelist: the skeleton pkl, with two coordinates; None: no samples.
        split: name of a split in it.
        mode: "train" draws one clip per recording; "valid" and "test" make the evaluation views.
        num_classes: labels must be below it; None: the number of class names in the file, if it has them.
        seed: of everything drawn in training.
        augment: False takes the first evaluation clip in training too, and draws nothing.
        layout: name of the joint layout, or a yaml file.
        kind: what is drawn, "joints" or "limbs".
        limbs: [joint, joint] of each limb; None: those of the authors for COCO key points, else the layout's graph.
        sigma: standard deviation of the Gaussians in pixels of the map.
        scaling: size of the map as a share of `crop_size`.
        clip_len: frames of a clip, spread over the recording.
        test_clips: whose clips evaluation has, those of "mmaction2" or of "pyskl"; both spread them over the recording.
        num_clips: clips per recording in evaluation.
        flip: score each evaluation clip mirrored as well.
        num_persons: persons of a clip, those with a body first; further ones are left out.
        short_size: the short side of the box around the bodies is scaled to it before `crop_size` is cut out.
        crop_size: side of the square that is drawn, in pixels; in evaluation it is cut from the centre.
        scales: of evaluation, instead of `short_size`: every clip is scored at each of these sizes.
        stretch: scale that box to a square, whatever its aspect.
        hw_ratio: least and, inverted, greatest height / width of that box; None: no limit.
        crop: of training. "resized": of random area and aspect. "multiscale": of three scales at five positions.
        crop_area: least and greatest area of a "resized" crop, as a share.
        flip_ratio: share of training clips that are mirrored.
        repeat: times that each sample is drawn per epoch of training.
        memory_limit_gib: a larger pkl is unpacked beside itself, once, and memory-mapped.

    Attributes:
        prepare: draws a batch's maps on the current device: `pose` (B, M, T, V, 4) to (B, K, T, H, W).

    Raises:
        ValueError: an argument that is out of range or does not go with another; a file that is of another form.
        FileNotFoundError: the file is missing.
    """

    NAME = "heatmaps"

    def __init__(
        self,
        filelist: str | None,
        split: str | None = None,
        mode: str = "train",
        num_classes: Count | None = None,
        seed: Seed = 0,
        augment: bool = True,
        layout: str = "coco17",
        kind: str = "joints",
        limbs: list | None = None,
        sigma: Positive = 0.6,
        scaling: PositiveShare = 1.0,
        clip_len: Count = 48,
        test_clips: str = "mmaction2",
        num_clips: Count = 1,
        flip: bool = False,
        num_persons: Count = 2,
        short_size: Count = 64,
        crop_size: Count = 56,
        scales: list[Count] | None = None,
        stretch: bool = False,
        hw_ratio: Positive | None = 1.0,
        crop: str = "resized",
        crop_area: list[PositiveShare] = CROP_AREA,
        flip_ratio: Share = 0.5,
        repeat: Count = 1,
        memory_limit_gib: NonNegative = 8.0,
    ):
        super().__init__(filelist, split, mode, num_classes, seed, augment, layout, repeat, memory_limit_gib)
        self.kind, self.sigma, self.scaling = kind, sigma, scaling
        self.test_clips = test_clips
        self.clip_len, self.num_clips, self.flip, self.num_persons = clip_len, num_clips, flip, num_persons
        self.short_size, self.crop_size, self.scales, self.stretch = short_size, crop_size, scales, stretch
        self.hw_ratio, self.crop, self.crop_area, self.flip_ratio = hw_ratio, crop, crop_area, flip_ratio
        self._check_arguments()
        if mode == "train":  # one clip, at one size
            self.num_clips, self.flip, self.scales = 1, False, None
        self.map_size = draw_heatmaps.scale_size((crop_size, crop_size), scaling)
        self.limbs, self.mirror_order = None, self.layout.mirror_indices()
        if kind == "limbs":
            self.limbs = draw_heatmaps.choose_limbs(self.layout) if limbs is None else [tuple(limb) for limb in limbs]
            self._check_limbs()
            self.mirror_order = draw_heatmaps.mirror_limbs(self.limbs, self.layout)
        self._check_entries()
        order = self.mirror_order if self.flip else None
        size = {"size": self.map_size, "sigma": sigma}
        draw = functools.partial(device_heatmaps.draw_batch, **size, limbs=self.limbs, mirror_order=order)
        self.prepare = Preprocessor(pose=draw)

    @property
    def input_shape(self) -> dict[str, list[int]]:
        """Shape of one view for the model: `pose` [joints or limbs, T, H, W]."""
        return {"pose": [len(self.mirror_order), self.clip_len, *self.map_size]}

    def describe_drawing(self) -> dict:
        """Return how the maps are drawn, in plain values: what another program needs to draw them alike."""
        channels = list(range(self.layout.num_joints)) if self.limbs is None else [list(limb) for limb in self.limbs]
        return {
            "joints": list(self.layout.joints),
            "kind": self.kind,
            "channels": channels,
            "channels_of_mirrored_views": list(map(int, self.mirror_order)),
            "size": list(self.map_size),
            "sigma": self.sigma,
            "window": draw_heatmaps.WINDOW,
            "min_score": draw_heatmaps.MIN_SCORE,
            "min_limb_length": draw_heatmaps.MIN_LENGTH,
        }

    def sample_bytes(self) -> int:
        """Return how much memory one sample takes, in bytes."""
        return self.num_views * self.num_persons * self.clip_len * self.layout.num_joints * 4 * 4

    def draw_noise(self, num_views: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return views of noise in the form of a sample's `inputs`, to measure what comes after the reader."""
        noise = rng.random((num_views, self.num_persons, self.clip_len, self.layout.num_joints, 4), np.float32)
        noise[..., :2] *= self.map_size[::-1]
        noise[..., 3] = 0
        return {"pose": noise}

    @property
    def num_views(self) -> int:
        """Views of a sample."""
        return self.num_clips * (2 if self.flip else 1) * len(self._sizes)

    @property
    def _sizes(self) -> list[int]:
        return self.scales or [self.short_size]

    def _read_inputs(self, recording: Recording, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        keypoint, score = self._clean(recording)
        frames = self._choose_frames(keypoint.shape[1], self.clip_len, rng)
        keypoint, score = keypoint[:, frames], score[:, frames]  # (M, clips, T, V, ...)
        framings = [self._draw_framing(keypoint, recording.img_shape, size, rng) for size in self._sizes]
        return {"pose": np.concatenate([self._make_views(keypoint, score, framing) for framing in framings])}

    def locate_views(self, index: int) -> dict[str, list[boxes.ViewPlace]]:
        """Return where the evaluation views of a recording stand in it, in their order."""
        recording = self.entries[index]
        keypoint, _ = self._clean(recording)
        frames = self._choose_frames(keypoint.shape[1], self.clip_len, None)
        return {"pose": self._locate_clips(frames, self._list_framings(keypoint[:, frames], recording.img_shape))}

    def _list_framings(self, keypoint: np.ndarray, img_shape: tuple) -> list:
        """Return (framing, picture size) of evaluation at each scale."""
        return [(self._draw_framing(keypoint, img_shape, size, None), img_shape) for size in self._sizes]

    def _locate_clips(self, frames: np.ndarray, framings: list) -> list[boxes.ViewPlace]:
        """Return the places of the views of clips (clips, T), mirrored ones after each."""
        return [
            boxes.ViewPlace(clip, boxes.share_box(framing.find_box(), *img_shape), is_mirrored)
            for framing, img_shape in framings
            for clip in frames
            for is_mirrored in ((False, True) if self.flip else (False,))
        ]

    def _clean(self, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
        """Return key points and scores as float32 (M, T, V, 2) and (M, T, V); missing ones are 0."""
        persons = recording.choose_persons(self.num_persons)
        keypoint = recording.keypoint[persons].astype(np.float32)
        self._refuse_empty(recording)
        is_there = (np.abs(keypoint) < draw_heatmaps.MAX_DISTANCE).all(axis=3) & keypoint.any(axis=3)
        score = is_there if recording.score is None else recording.score[persons]
        score = score.astype(np.float32) * is_there
        return np.where(is_there[..., None], keypoint, np.float32(0)), score

    def _choose_frames(self, num_frames: int, clip_len: int, rng: np.random.Generator | None) -> np.ndarray:
        """Return the frames of each clip, (clips, T)."""
        if rng is not None:
            return sampling.draw_uniform_clip(num_frames, clip_len, rng, None)[None]
        crop_ratio = sampling.UNIFORM_CROPS[self.test_clips]
        return sampling.place_uniform_clips(num_frames, clip_len, self.num_clips, crop_ratio)

    def _draw_framing(
        self, keypoint: np.ndarray, img_shape: tuple, short_size: int, rng: np.random.Generator | None
    ) -> Framing:
        """Find the box around the bodies of all clips, and draw what is cut from it."""
        ratio = None if self.hw_ratio is None else (self.hw_ratio, self.hw_ratio)
        body = transforms.find_body_box(keypoint, img_shape, ratio)
        size = (short_size, short_size)
        if not self.stretch:
            size = boxes.scaled_size(*body[2:], short_size, boxes.round_half_up)
        if rng is None:
            return Framing(body, size, boxes.centre_box(*size, self.crop_size, self.crop_size), False)
        if self.crop == "resized":
            crop = boxes.draw_resized_box_mmaction2(*size, self.crop_area, rng)
        else:
            choices = boxes.list_multi_scale_boxes(*size, self.crop_size)
            crop = choices[rng.integers(len(choices))]
        return Framing(body, size, crop, bool(rng.random() < self.flip_ratio))

    def _make_views(self, keypoint: np.ndarray, score: np.ndarray, framing: Framing) -> np.ndarray:
        """Make the views (views, M, T, V, 4) of key points (M, clips, T, V, 2) in pixels of the picture."""
        keypoint, score = framing.apply(keypoint, score, self.crop_size, self.layout)
        views = np.zeros((keypoint.shape[1], self.num_persons, *keypoint.shape[2:4], 4), np.float32)
        views[:, : len(keypoint), ..., :2] = keypoint.swapaxes(0, 1) * np.float32(self.scaling)
        views[:, : len(keypoint), ..., 2] = score.swapaxes(0, 1)
        if self.flip:
            views = np.repeat(views, 2, axis=0)
            views[1::2, ..., 3] = 1
        return views

    def _check_arguments(self) -> None:
        self._check_choices(kind=KINDS, crop=CROPS, test_clips=tuple(sampling.UNIFORM_CROPS))
        self._check_ranges()
        if len(self.crop_area) != 2 or self.crop_area[0] > self.crop_area[1]:
            self._refuse("crop_area", "[least, greatest] share, above 0 and up to 1")
        if self.crop_size > min([self.short_size, *(self.scales or [])]):
            self._refuse("crop_size", f"at most short_size, {self.short_size}, and scales, from which it is cut")

    def _check_limbs(self) -> None:
        joints = range(self.layout.num_joints)
        wrong = [limb for limb in self.limbs if len(limb) != 2 or not all(joint in joints for joint in limb)]
        if wrong or not self.limbs:
            raise ValueError(
                f"reader {self.NAME}: limbs has {wrong[0] if wrong else 'none'}, expected pairs of joints from 0 to "
                f"{len(joints) - 1}"
            )

    def _check_entries(self) -> None:
        """Refuse recordings that no picture belongs to."""
        self._log_persons_left_out()
        for recording in self.entries:
            where = f"{self.filelist}: '{recording.name}'"
            if recording.keypoint.shape[3] != 2:
                raise ValueError(
                    f"{where} has 3 coordinates, heat maps need 2: x and y in pixels; set READER.name=skeletons"
                )
            if recording.img_shape is None:
                raise ValueError(
                    f"{where} has no img_shape, (height, width) of its picture; add it to the file, or give predict.py "
                    "--image_size"
                )
