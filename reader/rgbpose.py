"""RGB and pose of one video, for two-pathway networks (RGBPoseConv3D): clips of frames, and of heat maps.

Key points are converted from the picture size of their annotation to that of the decoded frames. Both modalities then
share the box around the bodies, the crop and the mirroring, so that a joint's map lies over its pixels; each modality
samples its own frames, over the same time. The inputs of a sample are `rgb` uint8 (views, T, H, W, 3) and `pose`
float32 (views, M, T', V, 4), in views as `reader/heatmaps.py` describes.
"""

import functools
import logging

import numpy as np

from common.ranges import Count, Positive, PositiveShare, Share
from dataset.names import MediaIndex
from dataset.records import ListEntry
from reader import transforms
from reader.boxes import ViewPlace, draw_erased_box
from reader.fault_tolerant import DamagedSampleError
from reader.frames import EncodedClip, Video, open_video
from reader.heatmaps import Framing, Heatmaps
from reader.pose_transforms import resize
from reader.preprocessor import Preprocessor, normalize
from reader.skeleton_pkl import Recording

# Of ImageNet, RGB order, 0 to 1.
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
ERASED_AREA = [0.02, 0.2]
NTU_SUFFIX = "_rgb"  # of its videos' names
MAX_FRAMES_APART = 2  # tools that count frames may differ by this much at the end of a video
ERASED_COLOR = 128
MAX_STRETCH = 1.05  # of the frames against the picture of the key points, for which a rounded size is no cause
MIN_LEAN = 0.05  # by which an exchanged picture must fit better: a nearly square one fits both ways


class RGBPose(Heatmaps):
    """Frames and heat maps of the recordings in a split, and of their videos.

    Args:
        filelist: the skeleton pkl, with two coordinates; None: no samples.
        videos: folder of the videos, or of folders of frames, however deep; their names are those of the recordings
            (`frame_dir`), with or without NTU RGB+D's ending "_rgb", by the rule of `dataset/names.py`.
        rgb_clip_len: frames of an RGB clip, spread over the video.
        rgb_only: give RGB alone, to train its pathway by itself. (The pose pathway needs no videos: reader `heatmaps`.)
        clip_len: frames of a pose clip, spread over the recording independently.
        color_jitter: greatest change of brightness, contrast, saturation (each a factor of 1 - x to 1 + x) and hue (as
            MMAction2 counts it: 0.7 is the whole circle) of RGB in training; None: none.
        erasing_ratio: share of training clips in whose RGB a box is blanked.
        erasing_area: least and greatest area of that box, as a share.
        mean: of the RGB data, 0 to 1.
        std: of the RGB data, 0 to 1.
        **others: as in `Heatmaps`; `crop_size` is that of RGB, `scaling` gives the size of the maps.

    Attributes:
        prepare: converts a batch's inputs to the model's on the current device: `rgb` uint8 (B, T, H, W, 3) to float32
            (B, 3, T, H, W), (pixel / 255 - mean) / std; `pose` (B, M, T', V, 4) to (B, K, T', H', W').

    Raises:
        ValueError: as `Heatmaps`; recordings without a video.
        FileNotFoundError: the pkl or the folder is missing.
    """

    NAME = "rgbpose"

    def __init__(
        self,
        filelist: str | None,
        videos: str | None = None,
        rgb_clip_len: Count = 8,
        rgb_only: bool = False,
        clip_len: Count = 32,
        sigma: Positive = 0.7,
        scaling: PositiveShare = 0.25,
        short_size: Count = 256,
        crop_size: Count = 224,
        stretch: bool = True,
        color_jitter: list[Share] | None = None,
        erasing_ratio: Share = 0.0,
        erasing_area: list[PositiveShare] = ERASED_AREA,
        mean: list[Share] = IMAGENET_MEAN,
        std: list[PositiveShare] = IMAGENET_STD,
        **others,
    ):
        self.videos, self.rgb_clip_len, self.rgb_only = videos, rgb_clip_len, rgb_only
        self.color_jitter, self.erasing_ratio, self.erasing_area = color_jitter, erasing_ratio, erasing_area
        sizes = {"scaling": scaling, "short_size": short_size, "crop_size": crop_size, "stretch": stretch}
        super().__init__(filelist, clip_len=clip_len, sigma=sigma, **sizes, **others)
        self.paths = self._find_videos()
        self._compare_first_sizes()
        pose = {} if rgb_only else self.prepare.changes
        self.prepare = Preprocessor(rgb=functools.partial(normalize, mean=mean, std=std), **pose)

    @property
    def input_shape(self) -> dict[str, list[int]]:
        """Shape of one view for the model: `rgb` [3, T, H, W], `pose` [joints or limbs, T', H', W']."""
        rgb = {"rgb": [3, self.rgb_clip_len, self.crop_size, self.crop_size]}
        return rgb if self.rgb_only else {**rgb, **super().input_shape}

    def find_file(self, index: int) -> str:
        """Return the path of a sample's video or folder of frames."""
        return self.paths[self.entries[index].name]

    def sample_bytes(self) -> int:
        """Return how much memory one sample takes, in bytes."""
        return super().sample_bytes() + self.num_views * self.rgb_clip_len * self.crop_size**2 * 3

    def draw_noise(self, num_views: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return views of noise in the form of a sample's `inputs`, to measure what comes after the reader."""
        shape = (num_views, self.rgb_clip_len, self.crop_size, self.crop_size, 3)
        rgb = {"rgb": rng.integers(0, 256, shape, np.uint8)}
        return rgb if self.rgb_only else {**rgb, **super().draw_noise(num_views, rng)}

    def _read_inputs(self, recording: Recording, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        keypoint, score = self._clean(recording)
        video, num_frames = self._open_video(recording, keypoint.shape[1])
        frames = self._choose_frames(num_frames, self.clip_len, rng)
        keypoint = np.concatenate([keypoint, score[..., None]], axis=-1)[:, frames]  # (M, clips, T', V, 3)
        rgb_frames = self._choose_frames(num_frames, self.rgb_clip_len, rng)
        scales = [self._cut_views(video, rgb_frames, keypoint, recording.img_shape, size, rng) for size in self._sizes]
        return {name: np.concatenate([views[name] for views in scales]) for name in scales[0]}

    def locate_views(self, index: int) -> dict[str, list[ViewPlace]]:
        """Return where the evaluation views of a recording stand in its video, in their order."""
        recording = self.entries[index]
        keypoint, _ = self._clean(recording)
        video, num_frames = self._open_video(recording, keypoint.shape[1])
        frames = self._choose_frames(num_frames, self.clip_len, None)
        frame_size = EncodedClip(video.frames, np.zeros(1, int)).frame_size
        points = resize(keypoint[:, frames], recording.img_shape, frame_size)
        framings = self._list_framings(points, frame_size)
        rgb_frames = self._choose_frames(num_frames, self.rgb_clip_len, None)
        views = {"rgb": self._locate_clips(rgb_frames, framings), "pose": self._locate_clips(frames, framings)}
        return {name: views[name] for name in self.input_shape}

    def _cut_views(
        self,
        video: Video,
        indices: np.ndarray,
        keypoint: np.ndarray,
        img_shape: tuple,
        short_size: int,
        rng: np.random.Generator | None,
    ) -> dict[str, np.ndarray]:
        """Make the inputs of a sample at one scale.

        Args:
            indices: (clips, T) of the RGB frames.
            keypoint: (M, clips, T', V, 3), x, y in pixels of the annotated picture, and score.
            img_shape: (height, width) of that picture.
        """
        clip = EncodedClip(video.frames, indices.reshape(-1))
        if fault := find_turned_size(img_shape, clip.frame_size):
            raise DamagedSampleError(f"{video.source}: {fault}")
        points = resize(keypoint[..., :2], img_shape, clip.frame_size)
        framing = self._draw_framing(points, clip.frame_size, short_size, rng)
        box, target = place_crop(framing, clip.frame_size, self.crop_size)
        rgb = self._finish(clip.decode(box, target[2:]), target, framing, rng)
        inputs = {"rgb": self._add_mirrored(rgb.reshape(*indices.shape, *rgb.shape[1:]))}
        return inputs if self.rgb_only else {**inputs, "pose": self._make_views(points, keypoint[..., 2], framing)}

    def _finish(self, rgb: np.ndarray, target: tuple, framing: Framing, rng: np.random.Generator | None) -> np.ndarray:
        """Pad frames (n, h, w, 3) that were cut out to the whole crop; mirror, colour and erase it."""
        if target[2:] != (self.crop_size, self.crop_size):  # the crop reaches beyond the picture
            padded = np.zeros((len(rgb), self.crop_size, self.crop_size, 3), np.uint8)
            transforms.cut(padded, target)[:] = rgb
            rgb = padded
        if framing.is_mirrored:
            rgb = transforms.mirror(rgb)
        if rng is None:
            return rgb
        if self.color_jitter is not None:
            rgb = transforms.jitter_color(rgb, self.color_jitter[:3], rng)
            rgb = transforms.jitter_hue(rgb, self.color_jitter[3], rng)
        if rng.random() < self.erasing_ratio:
            box = draw_erased_box(self.crop_size, self.crop_size, self.erasing_area, rng)
            transforms.cut(rgb, box)[:] = ERASED_COLOR
        return rgb

    def _add_mirrored(self, views: np.ndarray) -> np.ndarray:
        """Insert after each view (views, T, H, W, 3) the same mirrored, with `flip`."""
        if not self.flip:
            return views
        views = np.repeat(views, 2, axis=0)
        views[1::2] = views[1::2, :, :, ::-1]
        return views

    def _open_video(self, recording: Recording, num_frames: int) -> tuple[Video, int]:
        """Open the video of a recording of `num_frames` frames; return it, and how many frames both have."""
        video = open_video(ListEntry(self.paths[recording.name], recording.label, None, 0, recording.name))
        if abs(len(video.frames) - num_frames) > MAX_FRAMES_APART:
            raise DamagedSampleError(
                f"{video.source}: {len(video.frames)} frames, {self.filelist} has key points of {num_frames}: they "
                "are not of one video; make the key points again or get the video again"
            )
        return video, min(len(video.frames), num_frames)

    def _find_videos(self) -> dict:
        """Return the path of each recording's video by its name."""
        if not self.entries:
            return {}
        if self.videos is None:
            raise ValueError("reader rgbpose: videos is not set; set READER.videos to the folder of the videos")
        media, paths = MediaIndex(self.videos), {}
        names = list(dict.fromkeys(recording.name for recording in self.entries))  # without repeats
        for name in names:
            try:
                paths[name] = media.find([name, name + NTU_SUFFIX])
            except ValueError as error:
                raise ValueError(f"{self.filelist}: recording '{name}': {error}") from error
        missing = [name for name in names if paths[name] is None]
        if missing:
            reason = media.explain_missing([missing[0], missing[0] + NTU_SUFFIX])
            raise ValueError(
                f"{self.videos}: {len(missing)} of {len(names)} recordings of split '{self.split}' have no video, "
                f"first '{missing[0]}' of {self.filelist}: {reason}; get them, or leave them out of the split"
            )
        self._refuse_shared_videos(paths)
        return paths

    def _refuse_shared_videos(self, paths: dict[str, str]) -> None:
        owners = {}
        for name, path in paths.items():
            if owners.setdefault(path, name) != name:
                raise ValueError(
                    f"{self.filelist}: recordings '{owners[path]}' and '{name}' would both be of the video '{path}'; "
                    "put the videos into folders of these names"
                )

    def _compare_first_sizes(self) -> None:
        """Compare the picture of the first recording's key points with its video: what is wrong there, is so in all.

        Raises:
            ValueError: one stands upright and the other one lies.
        """
        if not self.entries:
            return
        first = self.entries[0]
        try:
            video, _ = self._open_video(first, first.keypoint.shape[1])
            frame_size = EncodedClip(video.frames, np.zeros(1, int)).frame_size
        except DamagedSampleError:  # it is said, or another one takes its place, when it is read
            return
        if fault := find_turned_size(first.img_shape, frame_size):
            raise ValueError(f"{self.filelist}: '{first.name}' and {video.source}: {fault}")
        stretch = find_stretch(first.img_shape, frame_size)
        if max(stretch, 1 / stretch) > MAX_STRETCH:
            logging.warning(
                f"{self.filelist}: '{first.name}' has key points of {_format_size(first.img_shape)}, {video.source} is "
                f"{_format_size(frame_size)} (height x width): the video is stretched by {stretch:.2f}, or its key "
                "points were found in another video or picture size; look at predict.py's picture of it"
            )

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if self.color_jitter is not None and len(self.color_jitter) != 4:
            self._refuse("color_jitter", "brightness, contrast, saturation and hue, each 0 to 1")
        area = self.erasing_area
        if len(area) != 2 or area[0] > area[1]:
            self._refuse("erasing_area", "[least, greatest] share, above 0 and up to 1")


def find_stretch(img_shape: tuple, frame_size: tuple) -> float:
    """Return how much wider, for their height, frames are than the picture in which key points were found."""
    return (frame_size[1] / frame_size[0]) / (img_shape[1] / img_shape[0])


def find_turned_size(img_shape: tuple, frame_size: tuple) -> str | None:
    """Return a sentence if the key points' (height, width) fits the frames better when exchanged, else None."""
    as_given, exchanged = (abs(np.log(find_stretch(size, frame_size))) for size in (img_shape, img_shape[::-1]))
    if as_given <= exchanged + MIN_LEAN:
        return None
    return (
        f"the key points are of pictures of {_format_size(img_shape)} and the frames have {_format_size(frame_size)} "
        "(height x width): img_shape is (width, height) there, or the video is rotated; write img_shape as (height, "
        "width), or find the key points again in the video as it is decoded (tools/find_poses.py)"
    )


def _format_size(size: tuple) -> str:
    return f"{size[0]:g} x {size[1]:g}"


def place_crop(framing: Framing, frame_size: tuple, crop_size: int) -> tuple[tuple, tuple]:
    """Find the part of a frame that a crop shows, and where the crop shows it.

    Returns:
        The box (top, left, height, width) of the frame, to the nearest pixel, and the box that it fills of the crop
        resized to `crop_size`; both have at least one pixel, even where the crop lies beyond the frame.
    """
    axes = [_place_axis(framing, axis, frame_size[axis], crop_size) for axis in (0, 1)]
    (top, bottom, upper, lower), (left, right, first, last) = axes
    return (top, left, bottom - top, right - left), (upper, first, lower - upper, last - first)


def _place_axis(framing: Framing, axis: int, frame_length: int, crop_size: int) -> tuple[int, int, int, int]:
    """Return, along one axis, start and end of the part of the frame that is in the crop, and of that part there."""
    scale = framing.body[2 + axis] / framing.scaled_size[axis]
    start = framing.body[axis] + framing.crop[axis] * scale
    step = framing.crop[2 + axis] * scale / crop_size  # pixels of the frame in one of the crop
    ends = np.clip([start, start + step * crop_size], 0, frame_length)
    source, target = np.round(ends).astype(int), np.round((ends - start) / step).astype(int)
    first, target_first = min(source[0], frame_length - 1), np.clip(target[0], 0, crop_size - 1)
    target_end = np.clip(target[1], target_first + 1, crop_size)
    return int(first), int(max(source[1], first + 1)), int(target_first), int(target_end)
