"""Skeletons: clips of key points from the skeleton pkl, random ones for training, fixed views for evaluation.

The one input of a sample is `skeleton`, float32 (views, M, T, V, C): persons, frames, joints, channels of the stream. A
recording is normalised, augmented (training only), cut to clips and converted to a stream; missing persons are zeros.
With two coordinates the third channel is the score, 1 for every joint where the file has no scores.
"""

import numpy as np

from common.ranges import Angle, Count, NonNegative, PartialShare, PositiveShare, Seed, Share
from dataset.skeleton_checks import are_shares
from reader import sampling, streams
from reader import skeleton_clips as clips
from reader import skeleton_transforms as transforms
from reader.boxes import ViewPlace
from reader.fault_tolerant import DamagedSampleError
from reader.preprocessor import Preprocessor, move_channels_first
from reader.recordings import Recordings
from reader.sampling import UNIFORM_CROPS
from reader.skeleton_clips import WHOLE_CLIPS
from reader.skeleton_pkl import Recording

SAMPLINGS = ("uniform", "resize", "ordered", "window", "pad", *WHOLE_CLIPS)


class Skeletons(Recordings):
    """Clips of the recordings in a split, by (epoch, index).

    Args:
        filelist: the skeleton pkl; None: no samples.
        split: name of a split in it.
        mode: "train" draws one clip per recording; "valid" and "test" make the evaluation views.
        num_classes: labels must be below it; None: the number of class names in the file, if it has them.
        seed: of everything drawn in training.
        augment: False takes the first evaluation view in training too, and draws nothing.
        layout: name of the joint layout, or a yaml file.
        stream: one of `streams.STREAMS`, or several joined with `+`.
        score_channel: with two coordinates, False leaves the third channel, the score, out of the input.
        scores: third channel of bones and motions in 2-D: the "mean" of the scores (PYSKL) or "difference" (MS-G3D).
        normalization: None. "center": the centre joint of the first frame to the origin (CTR-GCN). "box": centred,
            turned, then each coordinate to -1 ... 1 over the recording (CTR-GCN's N-UCLA). With three coordinates
            "pyskl_3d" (PreNormalize3D), "pyskl_3d_center" (it without rotation), "msg3d", "infogcn". With two
            "pyskl_2d" and "pyskl_2d_auto" (PreNormalize2D), "stgcn_2d" and "msg3d_2d" (Kinetics-skeleton),
            "center_frames": the centre joint to the origin in every frame, for skaters who cross the picture;
            "center_frames_paddlevideo": PaddleVideo's SkeletonNorm, which moves joints that are not seen too. But for
            it and None, a joint of score 0 is missing.
        score_threshold: of PreNormalize2D: joints whose score is not above it are missing.
        sampling: "uniform": frames spread over the recording (PYSKL). "resize": a crop of it stretched or shrunk to
            the clip (CTR-GCN). "ordered": frames drawn in order, evenly placed in evaluation (CTR-GCN's N-UCLA).
            "window": a random window in training, evenly placed ones in evaluation (ST-GCN's random_choose).
            "pad": from the first frame; normalisations see the padded recording (MS-G3D, PB-GCN). "auto_padding":
            the whole, filled up with zeros or thinned out evenly; "auto_padding_paddlevideo": PaddleVideo's own.
        clip_len: frames of a clip.
        test_clips: whose clips evaluation has with sampling "uniform", those of "pyskl" or of "mmaction2".
        num_clips: clips per recording in evaluation.
        num_persons: persons of a clip, those with a body first; missing ones are zeros, further ones are left out.
        padding: what a "window" or "pad" clip has beyond the recording: "zero" frames, or it again ("loop").
        crop_ratio: the share of the recording that a "uniform" or "resize" clip is made of, or [least, greatest]
            of a random one; "resize" draws in training only and else takes the first. None: 1, but for "resize"
            [0.5, 1.0] in training and 0.95 in evaluation.
        min_crop_len: frames that a random crop of "resize" has at least; a shorter recording is not cropped.
        rotation: greatest angle of a random rotation in radians, about every axis or [about x, about y, about z]; with
            two coordinates about z.
        scale: each coordinate is scaled by 1 - scale to 1 + scale; or one number for each coordinate.
        bone_scale: each bone gets 1 - bone_scale to 1 + bone_scale of its length, left and right alike.
        shear: greatest share of one coordinate that is added to another.
        noise: standard deviation of what is added to each coordinate, or with `noise_base` to each joint.
        noise_base: None: `noise` is in units of the coordinates. "frame", "video": it is a share of the extent of a
            body in the frame, or of all in the recording (PYSKL's RandomGaussianNoise).
        noise_shared: with `noise_base` "video", the noise of a joint is the same in all frames.
        flip_ratio: share of training clips that are mirrored at x = 0, left and right joints exchanged.
        joint_drop_ratio: share of the joints that are missing in a training clip, drawn anew for each clip.
        frame_drop_ratio: share of the frames that are left out of a recording before a training clip is cut.
        random_move: rotate, scale and shift x and y gradually over a "window" or "pad" clip (ST-GCN's random_move).
        random_shift: move the non-empty frames of a "window" or "pad" clip to a random start (ST-GCN's random_shift).
        repeat: times that each sample is drawn per epoch of training.
        memory_limit_gib: a larger pkl is unpacked beside itself, once, and memory-mapped.

    Attributes:
        prepare: converts a batch's inputs to the model's on the current device: `skeleton` (B, M, T, V, C) to
            (B, C, T, V, M).

    Raises:
        ValueError: an argument that is out of range or does not go with another; a file that is of another form.
        FileNotFoundError: the file is missing.
    """

    NAME = "skeletons"
    SAMPLINGS = SAMPLINGS

    def __init__(
        self,
        filelist: str | None,
        split: str | None = None,
        mode: str = "train",
        num_classes: Count | None = None,
        seed: Seed = 0,
        augment: bool = True,
        layout: str = "ntu25",
        stream: str = "joint",
        score_channel: bool = True,
        scores: str = "mean",
        normalization: str | None = "center",
        score_threshold: Share = transforms.SCORE_THRESHOLD,
        sampling: str = "uniform",
        clip_len: Count = 100,
        test_clips: str = "pyskl",
        num_clips: Count = 1,
        num_persons: Count = 2,
        padding: str = "zero",
        crop_ratio: list[PositiveShare] | PositiveShare | None = None,
        min_crop_len: Count = clips.MIN_CROP,
        rotation: Angle | list[Angle] = 0.0,
        scale: PartialShare | list[PartialShare] = 0.0,
        bone_scale: PartialShare = 0.0,
        shear: NonNegative = 0.0,
        noise: NonNegative = 0.0,
        noise_base: str | None = None,
        noise_shared: bool = False,
        flip_ratio: Share = 0.0,
        joint_drop_ratio: PartialShare = 0.0,
        frame_drop_ratio: PartialShare = 0.0,
        random_move: bool = False,
        random_shift: bool = False,
        repeat: Count = 1,
        memory_limit_gib: NonNegative = 8.0,
    ):
        super().__init__(filelist, split, mode, num_classes, seed, augment, layout, repeat, memory_limit_gib)
        self.stream, self.scores, self.score_channel = stream, scores, score_channel
        self.num_channels = streams.count_channels(stream, self.layout) * (3 if score_channel else 2) // 3
        self.normalization, self.sampling, self.padding, self.test_clips = normalization, sampling, padding, test_clips
        self.clip_len, self.num_clips, self.num_persons = clip_len, num_clips, num_persons
        self.crop_ratio, self.min_crop_len = self._resolve_crop_ratio(crop_ratio), min_crop_len
        self.rotation = rotation if isinstance(rotation, list) else [rotation] * 3
        self.scale, self.bone_scale, self.shear, self.noise = scale, bone_scale, shear, noise
        self.noise_base, self.noise_shared, self.score_threshold = noise_base, noise_shared, score_threshold
        self.flip_ratio, self.joint_drop_ratio, self.frame_drop_ratio = flip_ratio, joint_drop_ratio, frame_drop_ratio
        self.random_move, self.random_shift = random_move, random_shift
        self._check_arguments()
        if mode == "train":
            self.num_clips = 1
        self._check_entries()
        self.prepare = Preprocessor(skeleton=move_channels_first)

    @property
    def num_coordinates(self) -> int:
        """Coordinates of a key point in the file, 2 or 3."""
        return self.entries[0].keypoint.shape[3] if self.entries else 3

    @property
    def input_shape(self) -> dict[str, list[int]]:
        """Shape of one view for the model: `skeleton` [C, T, V, M]."""
        return {"skeleton": [self.num_channels, self.clip_len, self.layout.num_joints, self.num_persons]}

    @property
    def num_views(self) -> int:
        """Views of a sample."""
        return self.num_clips

    def sample_bytes(self) -> int:
        """Return how much memory one sample takes, in bytes."""
        return self.num_views * 4 * int(np.prod(self.input_shape["skeleton"]))

    def draw_noise(self, num_views: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return views of noise in the form of a sample's `inputs`, to measure what comes after the reader."""
        channels, num_frames, num_joints, num_persons = self.input_shape["skeleton"]
        shape = (num_views, num_persons, num_frames, num_joints, channels)
        return {"skeleton": rng.standard_normal(shape, np.float32)}

    def locate_views(self, index: int) -> dict[str, list[ViewPlace]]:
        """Return which frames of a recording its evaluation views show."""
        keypoint = self._prepare(self.entries[index], None)
        clock = np.arange(1, self.entries[index].keypoint.shape[1] + 1, dtype=np.float32)[None, :, None, None]
        if self.sampling == "pad":
            clock = clips.cut_window(clock, 0, self.clip_len, self.padding)
        elif self.sampling in WHOLE_CLIPS:
            clock[:, clips.find_used_range(self._clean(self.entries[index]))[1] :] = 0
            clock = WHOLE_CLIPS[self.sampling](clock, self.clip_len)
        clock[:, clips.find_used_range(keypoint)[1] :] = 0  # so that it is cut where the recording is
        return {"skeleton": [ViewPlace(view[0, :, 0, 0] - 1) for view in self._cut(clock, None)]}

    def _read_inputs(self, recording: Recording, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        keypoint = self._prepare(recording, rng)
        if self.sampling == "uniform":  # motion is between neighbouring frames of the recording
            views = self._cut(self._make_stream(keypoint), rng)
        else:
            views = self._make_clips(keypoint, rng)
        return {"skeleton": clips.stack_views(views, self.num_persons)}

    def _prepare(self, recording: Recording, rng: np.random.Generator | None) -> np.ndarray:
        """Return the key points of a recording that clips are cut from, (num_persons, T, V, 3)."""
        keypoint = self._clean(recording)
        if rng is not None and self.bone_scale:
            keypoint = clips.draw_bones(keypoint, self.bone_scale, self.num_coordinates, self.layout, rng)
        keypoint = self._normalize(keypoint, recording.img_shape)
        if rng is not None:
            keypoint = self._augment(keypoint, rng)
        if self.normalization == "box":
            keypoint = transforms.change_seen(transforms.normalize_box, keypoint, self.num_coordinates)
        return keypoint[: self.num_persons]

    def _clean(self, recording: Recording) -> np.ndarray:
        """Return the key points of a recording that is not empty, see `Recording.join_scores`."""
        self._refuse_empty(recording)
        if self.normalization == "pyskl_2d_auto" and recording.keypoint.any() and are_shares(recording.keypoint):
            raise DamagedSampleError(
                f"{recording.where}: x and y lie within -1.5 and 1.5 and are no pixels, which pyskl_2d_auto takes; "
                "multiply them by the picture's width and height, or set READER.normalization=center"
            )
        return recording.join_scores()

    def _normalize(self, keypoint: np.ndarray, img_shape: tuple | None) -> np.ndarray:
        if self.sampling == "pad":
            keypoint = clips.cut_window(keypoint, 0, self.clip_len, self.padding)
        elif self.sampling in WHOLE_CLIPS:
            keypoint = WHOLE_CLIPS[self.sampling](keypoint, self.clip_len)
        normalize = transforms.NORMALIZATIONS[self.normalization]
        if self.normalization in transforms.ANY_NORMALIZATIONS:
            return transforms.change_seen(lambda part: normalize(part, self.layout), keypoint, self.num_coordinates)
        return normalize(keypoint, self.layout, img_shape, self.score_threshold)

    def _augment(self, keypoint: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rotate, scale and shear a recording, mirror it, add noise, and drop joints and frames, each at random."""
        if any(self.rotation) or np.any(self.scale) or self.shear:
            matrix = clips.draw_matrix(self.rotation, self.scale, self.shear, self.num_coordinates, rng)
            keypoint = transforms.rotate(keypoint, matrix)
        if self.flip_ratio and rng.random() < self.flip_ratio:
            keypoint = clips.mirror(keypoint, self.layout)
        if self.noise and self.noise_base:
            options = (self.noise, self.noise_base, self.noise_shared)
            keypoint = clips.add_relative_noise(keypoint, *options, self.num_coordinates, rng)
        elif self.noise:
            keypoint = clips.add_noise(keypoint, self.noise, self.num_coordinates, rng)
        if self.joint_drop_ratio:
            keypoint = clips.drop_joints(keypoint, self.joint_drop_ratio, rng)
        if self.frame_drop_ratio:
            keypoint = clips.drop_frames(keypoint, self.frame_drop_ratio, rng)
        return keypoint

    def _make_stream(self, joints: np.ndarray) -> np.ndarray:
        average_scores = self.num_coordinates == 2 and self.scores == "mean"
        stream = streams.make_stream(joints, self.stream, self.layout, average_scores)
        if self.score_channel:
            return stream
        return stream.reshape(*stream.shape[:3], -1, 3)[..., :2].reshape(*stream.shape[:3], self.num_channels)

    def _make_clips(self, keypoint: np.ndarray, rng: np.random.Generator | None) -> list:
        """Make clips and then their stream, whose motion is between neighbouring frames of the clip."""
        views = self._cut(keypoint, rng)
        if rng is not None and self.random_shift:
            views = [clips.draw_shift(views[0], rng)]
        if rng is not None and self.random_move:
            views = [clips.draw_move(views[0], rng)]
        return [self._make_stream(view) for view in views]

    def _cut(self, keypoint: np.ndarray, rng: np.random.Generator | None) -> list:
        """Cut clips out of a recording."""
        samplers = {
            "uniform": self._sample_uniform,
            "resize": self._sample_resized,
            "ordered": self._sample_ordered,
            "window": self._sample_windows,
            **dict.fromkeys(("pad", *WHOLE_CLIPS), lambda padded, _: [padded]),
        }
        return samplers[self.sampling](keypoint, rng)

    def _sample_uniform(self, keypoint: np.ndarray, rng: np.random.Generator | None) -> list:
        num_frames = keypoint.shape[1]
        if rng is None:
            crop_ratio = UNIFORM_CROPS[self.test_clips] and self.crop_ratio
            indices = sampling.place_uniform_clips(num_frames, self.clip_len, self.num_clips, crop_ratio)
        else:
            indices = [sampling.draw_uniform_clip(num_frames, self.clip_len, rng, self.crop_ratio)]
        return [keypoint.take(clip, axis=1) for clip in indices]

    def _sample_resized(self, keypoint: np.ndarray, rng: np.random.Generator | None) -> list:
        num_frames = clips.find_used_range(keypoint)[1]
        if rng is None:
            starts, length = clips.place_crops(num_frames, self.crop_ratio[0], self.num_clips)
        else:
            start, length = clips.draw_crop(num_frames, self.crop_ratio, rng, self.min_crop_len)
            starts = [start]
        return [clips.crop_and_resize(keypoint, start, length, self.clip_len) for start in starts]

    def _sample_ordered(self, keypoint: np.ndarray, rng: np.random.Generator | None) -> list:
        return [keypoint.take(clips.place_ordered(keypoint.shape[1], self.clip_len, rng), axis=1)]

    def _sample_windows(self, keypoint: np.ndarray, rng: np.random.Generator | None) -> list:
        starts = clips.place_windows(keypoint.shape[1], self.clip_len, self.num_clips, rng)
        return [clips.cut_window(keypoint, start, self.clip_len, self.padding) for start in starts]

    def _resolve_crop_ratio(self, crop_ratio: list | float | None) -> list:
        """Return [least, greatest] share of the recording, the defaults filled in."""
        if crop_ratio is None:
            crop_ratio = 1.0
            if self.sampling in ("resize", "crop_uniform"):
                crop_ratio = [0.5, 1.0] if self.mode == "train" and self.augment else 0.95
        return crop_ratio if isinstance(crop_ratio, list) else [crop_ratio] * 2

    def _check_arguments(self) -> None:
        self._check_choices(sampling=self.SAMPLINGS, normalization=tuple(transforms.NORMALIZATIONS))
        self._check_choices(padding=("zero", "loop"), scores=("mean", "difference"), test_clips=tuple(UNIFORM_CROPS))
        self._check_choices(noise_base=(None, "frame", "video"))
        self._check_ranges()
        scales = self.scale if isinstance(self.scale, list) else [self.scale] * 3
        needed = self.num_coordinates if self.entries else 2
        if not needed <= len(scales) <= 3:
            self._refuse("scale", "a number, or a list of them with one for each coordinate")
        if self.noise_shared and self.noise_base != "video":
            self._refuse("noise_shared", "False: it goes with noise_base video")
        if len(self.rotation) != 3:
            self._refuse("rotation", "an angle in radians, or three")
        if len(self.crop_ratio) != 2 or self.crop_ratio[0] > self.crop_ratio[1]:
            self._refuse("crop_ratio", "a share above 0 and up to 1, or [least, greatest]")
        if self.test_clips == "mmaction2" and (self.sampling != "uniform" or self.crop_ratio != [1.0, 1.0]):
            self._refuse("test_clips", "pyskl: mmaction2 has sampling uniform only, of the whole recording")
        if self.num_clips > 1 and self.sampling in ("ordered", "pad", *WHOLE_CLIPS):
            self._refuse("num_clips", f"1: sampling {self.sampling} takes the whole recording")
        if self.frame_drop_ratio and self.sampling in ("pad", *WHOLE_CLIPS):
            self._refuse("frame_drop_ratio", f"0: sampling {self.sampling} fixes the frames before")
        if (self.random_move or self.random_shift) and self.sampling not in ("window", "pad"):
            self._refuse("sampling", "window or pad, to which random_move and random_shift belong")

    def _check_entries(self) -> None:
        """Refuse recordings that the normalisation does not work for."""
        self._log_persons_left_out()
        for recording in self.entries:
            where = f"{self.filelist}: '{recording.name}'"
            if recording.keypoint.shape[3] != self.num_coordinates:
                raise ValueError(
                    f"{where} has {recording.keypoint.shape[3]} coordinates, the first sample {self.num_coordinates}; "
                    "run skeleton2pkl.py on each kind by itself"
                )
            if self.num_coordinates == 2 and self.normalization in transforms.NEED_SIZE and recording.img_shape is None:
                raise ValueError(
                    f"{where} has no img_shape; set READER.normalization=pyskl_2d_auto, or give predict.py --image_size"
                )
        if self.entries and self.num_coordinates == 3 and not self.score_channel:
            self._refuse("score_channel", "True: the third channel of these key points is z")
        wrong = transforms.NORMALIZATIONS_2D if self.num_coordinates == 3 else transforms.NORMALIZATIONS_3D
        if self.entries and self.normalization in wrong:
            known = ", ".join(str(name) for name in transforms.NORMALIZATIONS if name not in wrong)
            self._refuse("normalization", f"for {self.num_coordinates} coordinates one of {known}")
