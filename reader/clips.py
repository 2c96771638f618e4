"""RGB clips from records, frame folders or video files: random clips for training, the views of each for evaluation.

The one input of a sample is `rgb`, uint8 (views, T, H, W, C); `Clips.prepare` makes the model's float input on the
device.

The views of a sample have this order: clip by clip in time; within a clip all crops, then (with `flip`, or the ten
crops) the same crops mirrored; the crops in the order of `boxes.place_boxes`. The model scores each view by itself; the
scores are averaged.
"""

import os

import numpy as np

from common.ranges import Aspect, Count, PositiveShare, Seed, Share
from dataset.annotations import pair_mirrored_classes
from dataset.records import is_record, read_list
from dataset.splits import find_class_in_name, find_contradicting_class
from reader import boxes, sampling, transforms
from reader.fault_tolerant import UNLABELLED_ADVICE, FaultTolerantDataset
from reader.frames import EncodedClip, Video, open_video
from reader.modalities import build_modality
from reader.preprocessor import Preprocessor

# Of Kinetics, from the 3D-ResNet code; RGB order, 0 to 1.
KINETICS_MEAN = [0.4345, 0.4051, 0.3775]
KINETICS_STD = [0.2768, 0.2713, 0.2737]
CROP_AREA = [0.25, 1.0]
CROP_ASPECT = list(boxes.ASPECTS)  # width / height

TRAINING_CROPS = ("random", "corner", "resized")
EVALUATION_CROPS = {"center": 1, "three": 3, "ten": 5}
PROTOCOLS = ("clips", "windows")
NUM_WINDOWS = 16  # that `sample_bytes` assumes a video to have


class Clips(FaultTolerantDataset):
    """Clips of the videos in a list, by (epoch, index).

    Args:
        filelist: list of records, frame folders or videos, see `records.read_list`; None: no samples (`make_views`).
        mode: "train" draws one clip per video; "valid" and "test" make the evaluation views.
        num_classes: labels must be below it; None: the number of class names in the list, if it has them.
        seed: of everything drawn in training.
        num_segments: parts of the video that a clip is taken from; T = num_segments * clip_len.
        clip_len: consecutive frames from each part.
        frame_interval: 1 takes every frame, 2 every other.
        short_size: the short side is scaled to it before `crop_size` is cut out ("random" crop, and all evaluation
            crops); None: `crop_size`, so that the whole short side is seen.
        crop_size: side of the square that the model sees, in pixels.
        augment: False takes the centre clip and crop in training too, and draws nothing.
        crop: of training. "random": at any position in the frame scaled to `short_size`. "corner": the 3D-ResNet
            paper's five scales and five positions. "resized": of random area and aspect (RandomResizedCrop).
        crop_area: least and greatest area of a "resized" crop, as a share of the frame; the default is 3D-ResNet's,
            MMAction2 has [0.08, 1.0].
        crop_aspect: least and greatest width / height of a "resized" crop.
        flip_ratio: share of training clips that are mirrored.
        flip_label_map: {label: label after mirroring}, for classes such as "left" and "right"; None: of those
            whose names in the list differ in these words alone.
        color_jitter: brightness, contrast and saturation change by up to this ratio in training.
        erasing_ratio: share of training clips in which a box is blanked.
        protocol: of evaluation. "clips": `num_clips` clips of a video. "windows": the 3D-ResNet paper's, the whole
            video in windows of `clip_len` frames.
        test_clips: whose places those clips have: "mmaction2" (1.x), "mmaction2_0x", "tsm", "tpn" (the authors'
            code), "resnet3d" (3D-ResNets-PyTorch), "paddlevideo_tsm", "paddlevideo_pptsm", "paddlevideo_dense", or
            "middle" (each in the middle of its share of the video).
        num_clips: clips per video in evaluation; one is its centre.
        crops: of evaluation: "center", "three" along the long side, or "ten" (corners and centre, and mirrored).
        flip: score each evaluation view mirrored as well.
        mean: of the data in RGB order, 0 to 1.
        std: of the data in RGB order, 0 to 1.
        modality: "rgb", "flow" or "rgb_diff"; see `reader/modalities/`. Flow has no `mean`, `std` and `color_jitter`.
        num_stacked: fields of flow, or differences, that are the channels of one frame.
        flow_method: of flow that is computed from video files, "dis" or "tvl1".
        flow_short_size: of the frames that it is computed of, as avi2jpg.py --short_size; None: their own.

    Attributes:
        prepare: converts a batch's inputs to the model's on the current device: `rgb` uint8 (B, T, H, W, C) to float32
            (B, C, T, H, W), of RGB (pixel / 255 - mean) / std.

    Raises:
        ValueError: an argument that is out of range or does not go with another; on reading, also a label outside the
            classes or against the class names.
        FileNotFoundError: the list or a file in it is missing.
    """

    NAME, ADVICE = "clips", "run data_list_gener.py to list them all"
    CLASSES_ADVICE = "run data_list_gener.py again"

    def __init__(
        self,
        filelist: str | None,
        mode: str = "train",
        num_classes: Count | None = None,
        seed: Seed = 0,
        num_segments: Count = 1,
        clip_len: Count = 16,
        frame_interval: Count = 1,
        short_size: Count | None = None,
        crop_size: Count = 112,
        augment: bool = True,
        crop: str = "random",
        crop_area: list[PositiveShare] = CROP_AREA,
        crop_aspect: list[Aspect] = CROP_ASPECT,
        flip_ratio: Share = 0.5,
        flip_label_map: dict | None = None,
        color_jitter: Share = 0.0,
        erasing_ratio: Share = 0.0,
        protocol: str = "clips",
        test_clips: str = "middle",
        num_clips: Count = 1,
        crops: str = "center",
        flip: bool = False,
        mean: list[Share] = KINETICS_MEAN,
        std: list[PositiveShare] = KINETICS_STD,
        modality: str = "rgb",
        num_stacked: Count = 1,
        flow_method: str = "dis",
        flow_short_size: Count | None = None,
    ):
        super().__init__(filelist, mode, seed, augment)
        self.num_segments, self.clip_len, self.frame_interval = num_segments, clip_len, frame_interval
        self.short_size = crop_size if short_size is None else short_size
        self.crop_size, self.crop, self.crop_area, self.crop_aspect = crop_size, crop, crop_area, crop_aspect
        self.flip_ratio, self.color_jitter, self.erasing_ratio = flip_ratio, color_jitter, erasing_ratio
        self.flip_label_map = {int(label): int(other) for label, other in (flip_label_map or {}).items()}
        self.protocol, self.test_clips = protocol, test_clips
        self.num_clips, self.crops, self.flip = num_clips, crops, flip
        self.mean, self.std, self.num_stacked, self.flow_short_size = mean, std, num_stacked, flow_short_size
        self._check_arguments()
        self.modality = build_modality(modality, num_stacked, mean, std, flow_method, flow_short_size)
        if mode == "train":  # without augmentation, the centre
            self.protocol, self.test_clips = "clips", "middle"
            self.num_clips, self.crops, self.flip = 1, "center", False
        self.entries, self.class_names = ([], None) if filelist is None else read_list(filelist)
        self._labels = {name.casefold(): label for label, name in enumerate(self.class_names or [])}
        self.num_classes = len(self.class_names) if num_classes is None and self.class_names else num_classes
        self._check_label_map()
        if mode == "train" and flip_label_map != {}:  # {}: labels stay as they are
            self._pair_mirrored_classes()
        self.prepare = Preprocessor(rgb=self.modality.prepare)

    def lacks_label(self, index: int) -> bool:
        """Return whether the list says that the label of a sample is not known; records have theirs in them."""
        return super().lacks_label(index) and not is_record(self.entries[index].path)

    def find_class(self, index: int) -> int | str | None:
        """Return the class of a sample: its label, or where the list has none the class in the name of its record."""
        entry = self.entries[index]
        if entry.label is not None:
            return entry.label
        return find_class_in_name(os.path.basename(entry.path)) or open_video(entry).label

    def find_label(self, index: int, read: bool = True) -> int | None:
        """Return the label of a sample; one that only its record has is read, or None where it is not to be."""
        entry = self.entries[index]
        if entry.label is not None:
            return entry.label
        name = find_class_in_name(os.path.basename(entry.path)) or ""
        label = self._labels.get(name.casefold())
        return open_video(entry).label if label is None and read else label

    def find_file(self, index: int) -> str:
        """Return the path of a sample's video or folder of frames; where its record holds the frames, of the record."""
        entry = self.entries[index]
        return open_video(entry).frames.path or entry.path

    @property
    def input_shape(self) -> dict[str, list[int]]:
        """Shape of one view for the model: `rgb` [C, T, H, W]; C is 3 but for flow and differences."""
        num_frames = self.num_segments * self.clip_len
        return {"rgb": [self.modality.num_channels, num_frames, self.crop_size, self.crop_size]}

    @property
    def num_views(self) -> int:
        """Views of a sample; with protocol "windows", whose number is that of the frames, those of 16 windows."""
        num_clips = NUM_WINDOWS if self.protocol == "windows" else self.num_clips
        num_flips = 2 if self.flip or self.crops == "ten" else 1
        return num_clips * num_flips * EVALUATION_CROPS[self.crops]

    def sample_bytes(self) -> int:
        """Return how much memory one sample takes, in bytes."""
        num_pictures = self.num_segments * self.clip_len * self.modality.num_pictures
        return self.num_views * num_pictures * self.crop_size**2 * 3

    def draw_noise(self, num_views: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return views of noise in the form of a sample's `inputs`, to measure what comes after the reader."""
        _, num_frames, *size = self.input_shape["rgb"]
        shape = (num_views, num_frames * self.modality.num_pictures, *size, 3)
        return {"rgb": rng.integers(0, 256, shape, np.uint8)}

    def _read_sample(self, index: int, rng: np.random.Generator | None) -> dict:
        video = self._open(index)
        views, label = (self._read_views(video), video.label) if rng is None else self._draw_clip(video, rng)
        return {"inputs": {"rgb": views}, "label": label, "name": video.name}

    def _draw_clip(self, video: Video, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Return a random clip (1, T, H, W, 3), and the label, which mirroring may change."""
        num_frames, num_places = len(video.frames), self.modality.count_places(len(video.frames))
        places = sampling.sample_clip(num_places, self.clip_len, rng, self.num_segments, self.frame_interval)
        clip = EncodedClip(self.modality.open(video), self.modality.list_pictures(places, num_frames))
        frames = clip.decode(self._draw_box(*clip.frame_size, rng), (self.crop_size, self.crop_size))
        label = video.label
        if rng.random() < self.flip_ratio:
            frames, label = self.modality.mirror(frames), self.flip_label_map.get(label, label)
        if self.color_jitter and self.modality.has_color:
            frames = transforms.jitter_color(frames, self.color_jitter, rng)
        if rng.random() < self.erasing_ratio:
            frames = transforms.erase(frames, self.modality.fill, rng)
        return frames[None], label

    def _draw_box(self, height: int, width: int, rng: np.random.Generator) -> tuple:
        if self.crop == "corner":
            return boxes.draw_corner_box(height, width, rng)
        if self.crop == "resized":
            return boxes.draw_resized_box(height, width, rng, self.crop_area, self.crop_aspect)
        return boxes.draw_random_box(height, width, self.crop_size / self.short_size, rng)

    def _read_views(self, video: Video) -> np.ndarray:
        """Return the evaluation views (views, T, H, W, 3) of a video; only the frames in them are decoded."""
        clips = self._list_pictures(len(video.frames))
        distinct, positions = np.unique(clips, return_inverse=True)
        encoded = EncodedClip(self.modality.open(video), distinct)
        height, width = encoded.frame_size
        frames = encoded.decode((0, 0, height, width), boxes.scaled_size(height, width, self.short_size))
        return self._cut_views(frames, positions.reshape(clips.shape))

    def _cut_views(self, frames: np.ndarray, clips: np.ndarray) -> np.ndarray:
        return transforms.cut_views(frames, clips, self.crop_size, self.crops, self.flip, self.modality.mirror)

    def make_views(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        """Cut the evaluation views out of all frames of a video that is in no list.

        Args:
            frames: uint8 (num_frames, H, W, 3), scaled to `short_size`.

        Returns:
            `inputs` of a sample: `rgb` uint8 (views, T, crop_size, crop_size, 3).
        """
        return {"rgb": self._cut_views(frames, self._list_pictures(len(frames)))}

    def locate_views(self, num_frames: int, frame_size: tuple) -> dict[str, list[boxes.ViewPlace]]:
        """Return where the evaluation views of a video stand in it, in their order.

        Args:
            frame_size: (height, width) of a frame, scaled to `short_size`.
        """
        flips = (False, True) if self.flip or self.crops == "ten" else (False,)
        crops = boxes.place_boxes(*frame_size, self.crop_size, self.crops)
        views = [
            boxes.ViewPlace(clip, boxes.share_box(box, *frame_size), is_mirrored)
            for clip in self._place_clips(num_frames)
            for is_mirrored in flips
            for box in crops
        ]
        return {"rgb": views}

    def _place_clips(self, num_frames: int) -> np.ndarray:
        """Return the frame indices of each evaluation clip of a video: (clips, T)."""
        num_frames = self.modality.count_places(num_frames)
        if self.protocol == "windows":
            return sampling.slide_windows(num_frames, self.clip_len, self.frame_interval)
        counts = (self.num_clips, self.num_segments, self.frame_interval)
        return sampling.place_clips(num_frames, self.clip_len, *counts, self.test_clips)

    def _list_pictures(self, num_frames: int) -> np.ndarray:
        """Return the indices of the pictures of each evaluation clip of a video: (clips, pictures)."""
        return self.modality.list_pictures(self._place_clips(num_frames), num_frames)

    def _open(self, index: int) -> Video:
        """Open a video and check its label against the classes; only in a test it may have none."""
        entry = self.entries[index]
        video = open_video(entry)
        where = f"{self.filelist} line {entry.line}: '{entry.path}'"
        if video.label is None and self.mode == "test":
            return video
        if video.label is None:
            raise ValueError(f"{where} has no label; {UNLABELLED_ADVICE[self.mode]}")
        if self.num_classes is not None and not 0 <= video.label < self.num_classes:
            raise ValueError(
                f"{where} has label {video.label}, expected 0 to {self.num_classes - 1} ({self.num_classes} classes); "
                "run jpg2pkl.py and data_list_gener.py again, or correct MODEL.num_classes"
            )
        self._check_class(video, where)
        return video

    def _check_class(self, video: Video, where: str) -> None:
        """Refuse a label that contradicts the class in the video's name or path: it is of another class numbering."""
        name = find_contradicting_class(video.name, video.frames.path, video.label, self._labels)
        if name is not None:
            raise ValueError(
                f"{where} has label {video.label}, but its video is of class '{name}', which has label "
                f"{self._labels[name.casefold()]} in this list: the record is of another class numbering; run "
                "jpg2pkl.py again"
            )

    def _check_label_map(self) -> None:
        labels = {*self.flip_label_map.keys(), *self.flip_label_map.values()}
        if self.num_classes is not None and not labels <= set(range(self.num_classes)):
            raise ValueError(
                f"reader clips: flip_label_map is {self.flip_label_map}, expected labels 0 to {self.num_classes - 1}"
            )

    def _pair_mirrored_classes(self) -> None:
        """Take the pairs of classes that mirroring swaps from the class names; refuse a map that contradicts them."""
        pairs = pair_mirrored_classes(self.class_names or [])
        self.flip_label_map = self.flip_label_map or pairs
        wrong = [label for label in pairs if self.flip_label_map.get(label) != pairs[label]]
        if wrong:
            name, mirrored = (self.class_names[label] for label in (wrong[0], pairs[wrong[0]]))
            raise ValueError(
                f"reader clips: flip_label_map is {self.flip_label_map}, but by the class names of {self.filelist} "
                f"'{name}' is mirrored '{mirrored}', so expected {pairs}; leave it out, or correct it"
            )

    def _check_arguments(self) -> None:
        self._check_choices(crop=TRAINING_CROPS, protocol=PROTOCOLS, crops=tuple(EVALUATION_CROPS))
        self._check_choices(test_clips=tuple(sampling.TEST_CLIPS))
        self._check_ranges()
        if self.mode != "train":
            self._check_views()
        for name in ("crop_area", "crop_aspect"):
            values = vars(self)[name]
            if len(values) != 2 or values[0] > values[1]:
                self._refuse(name, "[least, greatest]")
        if self.crop_size > self.short_size:
            raise ValueError(
                f"reader clips: crop_size {self.crop_size} is larger than short_size {self.short_size}, from which it "
                "is cut; raise short_size or leave it out"
            )
        for name in ("mean", "std"):
            if len(vars(self)[name]) != 3:
                self._refuse(name, "three numbers (red, green, blue), 0 to 1")

    def _check_views(self) -> None:
        """Refuse arguments of evaluation that do not go together."""
        if self.protocol == "clips":
            sampling.check_test_clips(self.test_clips, self.num_clips, self.num_segments)
        if self.protocol == "windows" and (self.num_segments > 1 or self.num_clips > 1):
            raise ValueError(
                "reader clips: protocol windows scores the whole video; set num_segments and num_clips to 1"
            )
        if self.flip and self.crops == "ten":
            raise ValueError("reader clips: crops ten holds the mirrored views already; set flip to False")
        if self.flip_label_map and (self.flip or self.crops == "ten"):
            raise ValueError(
                "reader clips: a mirrored view of a class in flip_label_map shows another class; evaluate without flip "
                "and without crops ten"
            )
