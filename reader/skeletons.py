"""Skeletons: clips of key points from the skeleton pkl, random ones for training, fixed views for evaluation.

Everything leaves as float32 (views, M, T, V, C): persons, frames, joints, channels of the stream. On the way a recording
is normalised, turned and shaken in training, cut or resampled to clips, and made a stream. Missing persons are zeros.
"""

import numpy as np
import paddle

from reader import sampling, streams
from reader import skeleton_transforms as transforms
from reader.frames import DamagedSampleError
from reader.skeleton_pkl import Annotation, read_annotations
from skeleton import get_layout

MODES = ("train", "valid", "test")
SAMPLINGS = ("uniform", "resize", "ordered")
NORMALIZATIONS = ("none", "center", "pyskl_3d", "pyskl_3d_center", "pyskl_2d", "box")
MOST_DRAWS = 10  # samples tried before a training run with damaged data stops


class Skeletons(paddle.io.Dataset):
    """Clips of the recordings in a split; the key of a sample is its index or, for training, (epoch, index).

    A training sample depends on (seed, epoch, index) alone, not on the number of workers or on what was read before.

    Args:
        filelist: the skeleton pkl; None: no samples.
        split: name of a split in it.
        mode: "train" draws one clip a recording; "valid" and "test" make the evaluation views.
        num_classes: labels must be below it; None: the number of class names in the file, if it has them.
        seed: of everything drawn in training.
        augment: False takes the first evaluation view in training too, and draws nothing.
        layout: name of the joint layout.
        stream: one of `streams.STREAMS`, or several joined with `+`.
        normalization: "none". "center": the centre joint of the first frame to the origin (CTR-GCN). "pyskl_3d":
            PreNormalize3D; "pyskl_3d_center": without its rotation. "pyskl_2d": pixels to -1 ... 1. "box": centred, and
            each coordinate scaled to -1 ... 1 over the recording once it is turned (CTR-GCN's N-UCLA).
        sampling: "uniform": frames spread over the recording (PYSKL). "resize": a crop of the recording stretched or
            shrunk to the clip (CTR-GCN). "ordered": frames drawn in order, evenly placed in evaluation (its N-UCLA).
        clip_len: frames of a clip.
        num_clips: of a recording in evaluation.
        num_persons: persons of a clip; those that a recording lacks are zeros, those it has too many are left out.
        crop_ratio: least and greatest share of the recording that a clip is made of; None: the whole for "uniform",
            [0.5, 1.0] for "resize", and 0.95 of it, the centre, in evaluation.
        rotation: greatest angle of a random rotation in radians, about all axes or [about x, about y, about z].
        repeat: times that each sample is drawn in an epoch of training.

    Raises:
        ValueError: an argument that is out of range or does not go with another; a file that is of another form.
        FileNotFoundError: the file is missing.
    """

    def __init__(
        self,
        filelist: str | None,
        split: str | None = None,
        mode: str = "train",
        num_classes: int | None = None,
        seed: int = 0,
        augment: bool = True,
        layout: str = "ntu25",
        stream: str = "joint",
        normalization: str = "center",
        sampling: str = "uniform",
        clip_len: int = 100,
        num_clips: int = 1,
        num_persons: int = 2,
        crop_ratio: list[float] | float | None = None,
        rotation: float | list[float] = 0.0,
        repeat: int = 1,
    ):
        super().__init__()
        self.filelist, self.split, self.mode, self.seed, self.augment = filelist, split, mode, seed, augment
        self.layout, self.stream, self.normalization, self.sampling = get_layout(layout), stream, normalization, sampling
        self.clip_len, self.num_clips, self.num_persons = clip_len, num_clips, num_persons
        self.crop_ratio = self._choose_crop(crop_ratio)
        self.rotation = rotation if isinstance(rotation, list) else [rotation] * 3
        self.repeat = repeat if mode == "train" else 1
        self.entries, self.class_names = ([], None) if filelist is None else read_annotations(filelist, split)
        self.num_classes = len(self.class_names) if num_classes is None and self.class_names else num_classes

    def _choose_crop(self, crop_ratio) -> list:
        if crop_ratio is None and self.sampling == "resize":
            crop_ratio = [0.5, 1.0] if self.mode == "train" and self.augment else 0.95
        crop_ratio = 1.0 if crop_ratio is None else crop_ratio
        return crop_ratio if isinstance(crop_ratio, list) else [crop_ratio, crop_ratio]

    def __len__(self) -> int:
        return len(self.entries) * self.repeat

    def __getitem__(self, key: int | tuple[int, int]) -> dict:
        """Read one sample.

        Returns:
            dict of `inputs` float32 (views, M, T, V, C), one view in training; `label` int; `name` str; `faults`, what
            was wrong with the samples that this one replaces (training only).

        Raises:
            ValueError: in evaluation a damaged sample; in training ten of them in a row.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if self.mode != "train":
            return {**self._read(index, None), "faults": []}
        rng = np.random.default_rng([self.seed, epoch, index])
        faults = []
        while len(faults) < MOST_DRAWS:
            try:
                return {**self._read(index, rng if self.augment else None), "faults": faults}
            except DamagedSampleError as error:
                faults.append(str(error))
                index = int(rng.integers(len(self)))
        raise ValueError(
            f"{self.filelist}: {MOST_DRAWS} samples in a row are damaged, the last one: {faults[-1]}; "
            "run skeleton2pkl.py again"
        )

    def keep(self, indices: list[int]) -> None:
        """Forget all samples but these."""
        self.entries, self.repeat = [self.entries[index % len(self.entries)] for index in indices], 1

    def find_class(self, index: int) -> int:
        """Return the label of a sample."""
        return self.entries[index % len(self.entries)].label

    @property
    def input_shape(self) -> list[int]:
        """What the model sees of one view: [C, T, V, M]."""
        return [3 * len(self.stream.split("+")), self.clip_len, self.layout.num_joints, self.num_persons]

    def sample_bytes(self) -> int:
        """Return how much memory one sample takes, in bytes."""
        views = 1 if self.mode == "train" else self.num_clips
        return views * 4 * int(np.prod(self.input_shape))

    def prepare(self, inputs: paddle.Tensor | np.ndarray) -> paddle.Tensor:
        """Make the model's input on the current device: (B, M, T, V, C) -> (B, C, T, V, M)."""
        inputs = inputs if isinstance(inputs, paddle.Tensor) else paddle.to_tensor(inputs)
        return inputs.transpose([0, 4, 2, 3, 1])

    def _read(self, index: int, rng: np.random.Generator | None) -> dict:
        entry = self.entries[index % len(self.entries)]
        keypoint = self._normalize(self._open(entry), entry)
        if rng is not None and any(self.rotation):
            keypoint = keypoint @ transforms.draw_rotation(self.rotation, rng).T.astype(np.float32)
        if self.normalization == "box":
            keypoint = transforms.normalize_box(keypoint)
        keypoint = keypoint[: self.num_persons]
        clips = self._make_uniform(keypoint, rng) if self.sampling == "uniform" else self._make_clips(keypoint, rng)
        return {"inputs": clips, "label": entry.label, "name": entry.name}

    def _open(self, entry: Annotation) -> np.ndarray:
        """Return the key points of an entry as float32 (M, T, V, 3); with two coordinates the third is the score."""
        where = f"{self.filelist}: '{entry.name}'"
        if entry.keypoint.size == 0:
            raise DamagedSampleError(f"{where} is empty, {entry.keypoint.shape[:2]} persons and frames")
        keypoint = entry.keypoint.astype(np.float32)
        if keypoint.shape[2] != self.layout.num_joints:
            raise ValueError(f"{where} has {keypoint.shape[2]} joints, expected {self.layout.num_joints}")
        if keypoint.shape[3] == 2:
            score = transforms.find_present(keypoint)[..., 0] if entry.score is None else entry.score
            keypoint = np.concatenate([keypoint, score[..., None].astype(np.float32)], axis=3)
        if not np.isfinite(keypoint.sum()):
            raise DamagedSampleError(f"{where} holds numbers that are not finite")
        return keypoint

    def _normalize(self, keypoint: np.ndarray, entry: Annotation) -> np.ndarray:
        if self.normalization in ("center", "box"):
            return transforms.center(keypoint, transforms.find_centre(self.layout))
        if self.normalization == "pyskl_2d":
            return transforms.normalize_pyskl_2d(keypoint, entry.img_shape)
        if self.normalization.startswith("pyskl_3d"):
            return transforms.normalize_pyskl_3d(keypoint, self.layout, self.normalization == "pyskl_3d")
        return keypoint

    def _make_uniform(self, keypoint: np.ndarray, rng) -> np.ndarray:
        """Make the stream of the whole recording, whose motion is between neighbouring frames, then choose frames."""
        num_frames = keypoint.shape[1]
        if rng is None:
            num_clips = 1 if self.mode == "train" else self.num_clips
            indices = sampling.place_uniform_clips(num_frames, self.clip_len, num_clips, self.crop_ratio)
        else:
            indices = sampling.draw_uniform_clip(num_frames, self.clip_len, rng, self.crop_ratio)[None]
        features = self._make_stream(keypoint)
        return self._join([features.take(clip, axis=1) for clip in indices])

    def _make_clips(self, keypoint: np.ndarray, rng) -> np.ndarray:
        """Make clips, then their stream, whose motion is between neighbouring frames of the clip."""
        num_frames = keypoint.shape[1]
        if self.sampling == "ordered":
            if rng is None:
                indices = np.linspace(0, num_frames - 1, self.clip_len).astype(int)
            else:
                indices = np.sort(rng.integers(num_frames, size=self.clip_len))
            return self._join([self._make_stream(keypoint.take(indices, axis=1))])
        if rng is None:
            first = int((1 - self.crop_ratio[0]) * num_frames / 2)
            length = num_frames - 2 * first
        else:
            first, length = transforms.draw_crop(num_frames, self.crop_ratio, rng)
        return self._join([self._make_stream(transforms.crop_and_resize(keypoint, first, length, self.clip_len))])

    def _make_stream(self, joints: np.ndarray) -> np.ndarray:
        has_scores = self.layout.num_joints == 17
        parts = [streams.STREAMS[name](joints, self.layout, has_scores) for name in self.stream.split("+")]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _join(self, clips: list) -> np.ndarray:
        """Stack clips (M, T, V, C) as views, and add the persons that are missing."""
        joined = np.zeros((len(clips), self.num_persons, *clips[0].shape[1:]), np.float32)
        for view, clip in zip(joined, clips, strict=True):
            view[: len(clip)] = clip
        return joined
