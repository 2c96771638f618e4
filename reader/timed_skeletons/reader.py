"""Skeletons for SkateFormer: the joints of the layout's partition, in its order, and the time of each frame.

The inputs of a sample are `skeleton`, float32 (views, M, T, V, C) as in `reader/skeletons.py`, with the V joints of the
partition; and `time_index`, float32 (views, T): 2 * frame / number of frames - 1, from -1 to 1. There is one view.
Bones and motions are made of all joints, and motion between neighbouring frames of the clip.
"""

import numpy as np
import paddle

from common.ranges import Count, PositiveShare, Share
from reader import skeleton_clips as clips
from reader.boxes import ViewPlace
from reader.skeleton_pkl import Recording
from reader.skeletons import Skeletons
from reader.timed_skeletons import augmentation, times


class TimedSkeletons(Skeletons):
    """Clips of the recordings in a split, by (epoch, index), with the time of each frame.

    Args:
        filelist: the skeleton pkl; None: no samples.
        split: name of a split in it.
        mode: "train" draws one clip per recording; "valid" and "test" make the evaluation view.
        layout: name of the joint layout, or a yaml file; it has a `partition`.
        sampling: "crop_uniform": a crop of the recording, and frames spread over it; a crop that is shorter than the
            clip is stretched (SkateFormer's NTU RGB+D). "ordered": frames drawn in order, evenly placed in evaluation
            (its N-UCLA).
        clip_len: frames of a clip.
        crop_ratio: of "crop_uniform": [least, greatest] share of the recording in training; evaluation takes the
            least. None: [0.5, 1.0] in training and 0.95 in evaluation.
        time_index: give the input `time_index`.
        intra_ratio: share of training clips that are changed by `augmentations`, each with probability 1/2.
        augmentations: names of `augmentation.AUGMENTATIONS`, in the order in which they are made.
        dropped_joints: least and greatest number of joints that "drop_joints" sets to 0.
        inter_ratio: share of training clips that get the bone lengths of another recording of their class.
        **others: as in `Skeletons`.

    Attributes:
        prepare: converts a batch's inputs to the model's on the current device: `skeleton` (B, M, T, V, C) to
            (B, C, T, V, M).

    Raises:
        ValueError: as `Skeletons`; a layout without partition, a setting that does not go with another.
    """

    NAME = "timed_skeletons"
    SAMPLINGS = ("crop_uniform", "ordered")

    def __init__(
        self,
        filelist: str | None,
        split: str | None = None,
        mode: str = "train",
        layout: str = "ntu25_skateformer",
        sampling: str = "crop_uniform",
        clip_len: Count = 64,
        crop_ratio: list[PositiveShare] | PositiveShare | None = None,
        time_index: bool = True,
        intra_ratio: Share = 0.0,
        augmentations: list[str] | tuple = tuple(augmentation.AUGMENTATIONS),
        dropped_joints: list[Count] | tuple = (5, 15),
        inter_ratio: Share = 0.0,
        **others,
    ):
        self.time_index, self.intra_ratio, self.inter_ratio = time_index, intra_ratio, inter_ratio
        self.augmentations, self.dropped_joints = list(augmentations), list(dropped_joints)
        sizes = {"sampling": sampling, "clip_len": clip_len, "crop_ratio": crop_ratio}
        super().__init__(filelist, split, mode, layout=layout, **sizes, **others)
        self.order = list(sum(self.layout.partition, ()))
        if not self.order:
            raise ValueError(
                f"reader {self.NAME}: layout '{layout}' has no partition of its joints; set READER.layout to "
                "ntu25_skateformer, ucla20 or a yaml file with `partition:`"
            )
        if time_index:
            self.prepare.changes["time_index"] = _keep

    @property
    def input_shape(self) -> dict[str, list[int]]:
        """Shape of one view for the model: `skeleton` [C, T, V, M] and `time_index` [T]."""
        shape = [self.num_channels, self.clip_len, len(self.order), self.num_persons]
        return {"skeleton": shape, **({"time_index": [self.clip_len]} if self.time_index else {})}

    def draw_noise(self, num_views: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return views of noise in the form of a sample's `inputs`, to measure what comes after the reader."""
        noise = super().draw_noise(num_views, rng)
        if self.time_index:
            noise["time_index"] = np.sort(rng.uniform(-1, 1, (num_views, self.clip_len)).astype(np.float32), axis=1)
        return noise

    def locate_views(self, index: int) -> dict[str, list[ViewPlace]]:
        """Return which frames of a recording its evaluation view shows."""
        moments, _ = self._choose_times(self._prepare(self.entries[index], None), None)
        return {name: [ViewPlace(moments)] for name in self.input_shape}

    def spread_joints(self, values: np.ndarray) -> np.ndarray:
        """Return values of the partition's joints (..., V) in the order of the layout; other joints have 0."""
        spread = np.zeros((*values.shape[:-1], self.layout.num_joints), values.dtype)
        spread[..., self.order] = values
        return spread

    def _read_inputs(self, recording: Recording, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        keypoint = self._prepare(recording, rng)
        moments, num_frames = self._choose_times(keypoint, rng)
        index = (2 * moments / num_frames - 1).astype(np.float32)
        clip = clips.stack_views([times.interpolate(keypoint, moments)], self.num_persons)[0]
        if rng is not None:
            clip = self._change(clip, recording, moments, num_frames, rng)
        stream = self._make_stream(clip)[None, :, :, self.order]  # -> (1, M, T, V, C)
        return {"skeleton": np.ascontiguousarray(stream), **({"time_index": index[None]} if self.time_index else {})}

    def _choose_times(self, keypoint: np.ndarray, rng: np.random.Generator | None) -> tuple[np.ndarray, int]:
        """Return the times of a clip's frames in those of the recording, and how many it has."""
        if self.sampling == "ordered":
            clock = np.arange(keypoint.shape[1], dtype=np.float64)[None, :, None, None]
            return self._sample_ordered(clock, rng)[0][0, :, 0, 0], keypoint.shape[1]
        num_frames = clips.find_used_range(keypoint)[1]
        if rng is None:
            return times.place_times(num_frames, self.clip_len, self.crop_ratio[0]), num_frames
        return times.draw_times(num_frames, self.clip_len, self.crop_ratio, rng), num_frames

    def _change(
        self,
        clip: np.ndarray,
        recording: Recording,
        moments: np.ndarray,
        num_frames: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Augment a clip within itself, or by another one of its class, or not at all.

        Args:
            clip: (M, T, V, 3).
            recording: that it is cut from.
            moments: the time of each frame in those of the recording.
            num_frames: of the recording.
            rng: draws.
        """
        drawn = rng.random() if self.intra_ratio or self.inter_ratio else 1.0
        if drawn < self.intra_ratio:
            return augmentation.change_randomly(clip, self.augmentations, self.layout, self.dropped_joints, rng)
        if drawn >= self.intra_ratio + self.inter_ratio:
            return clip
        same = [each for each in self.entries if each.label == recording.label]
        keypoint = self._prepare(same[rng.integers(len(same))], None)
        moments = np.floor(moments * clips.find_used_range(keypoint)[1] / num_frames)
        other = clips.stack_views([times.interpolate(keypoint, moments)], self.num_persons)[0]
        return augmentation.exchange_bone_lengths(clip, other, self.layout)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if self.num_clips > 1:
            self._refuse("num_clips", "1: a recording has one clip in evaluation")
        unknown = [name for name in self.augmentations if name not in augmentation.AUGMENTATIONS]
        if unknown:
            self._refuse("augmentations", f"some of {', '.join(augmentation.AUGMENTATIONS)}")
        if len(self.dropped_joints) != 2 or self.dropped_joints[0] > self.dropped_joints[1]:
            self._refuse("dropped_joints", "[least, greatest] number of joints")
        if self.intra_ratio + self.inter_ratio > 1:
            self._refuse("inter_ratio", f"at most {1 - self.intra_ratio:g}, what intra_ratio leaves")

    def _check_entries(self) -> None:
        super()._check_entries()
        if self.num_coordinates == 2 and (self.intra_ratio or self.inter_ratio):
            self._refuse("intra_ratio", "0, like inter_ratio: what they do is for key points of three coordinates")


def _keep(values: paddle.Tensor) -> paddle.Tensor:
    return values
