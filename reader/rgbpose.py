"""RGB and pose of one video, for two-pathway networks (RGBPoseConv3D): clips of frames, and of heat maps.

Key points are carried from the size of their annotation to that of the decoded frames. One box around the bodies, one
crop and one mirroring then hold for both, so that a pixel and the map of a joint on it stay together; frames are taken
for each modality by itself, over the same time. The inputs of a sample are `rgb` uint8 (views, T, H, W, 3) and `pose`
float32 (views, M, T', V, 4) as `reader/heatmaps.py` describes it. Views stand as there.
"""

import os

import numpy as np
import paddle

from dataset.media import MediaIndex
from dataset.records import ListEntry
from reader import transforms
from reader.clips import normalize
from reader.frames import DamagedSampleError, Video, decode_frames, open_video
from reader.heatmaps import CROP_AREA, Framing, Heatmaps
from reader.pose_transforms import draw_erased_box, resize
from reader.skeleton_pkl import Recording

# Of ImageNet, RGB order, 0 to 1.
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
ERASED_AREA = [0.02, 0.2]
NTU_SUFFIX = "_rgb"  # of its videos' names
MOST_FRAMES_APART = 2  # tools that count frames differ by so many at the end of a video
ERASED_COLOR = 128


class RGBPose(Heatmaps):
    """Frames and heat maps of the recordings in a split, and of their videos.

    Args:
        filelist: the skeleton pkl, with two coordinates; None: no samples.
        videos: folder of the videos, or of folders of frames, however deep; their names are those of the recordings
            (`frame_dir`), with or without NTU RGB+D's ending "_rgb".
        rgb_clip_len: frames of an RGB clip, spread over the video.
        clip_len: frames of a pose clip, spread over the recording by itself.
        rgb_only: give RGB alone, to train its pathway by itself. (The pose pathway needs no videos: reader `heatmaps`.)
        color_jitter: greatest change of brightness, contrast, saturation (each a factor of 1 - x to 1 + x) and hue (as
            MMAction2 counts it: 0.7 is the whole circle) of RGB in training; None: none.
        erasing_ratio: share of training clips in whose RGB a box is blanked.
        erasing_area: least and greatest area of that box, as a share.
        mean: of the RGB data, 0 to 1.
        std: of the RGB data, 0 to 1.
        **others: as in `Heatmaps`; `crop_size` is that of RGB, `scaling` gives the size of the maps.

    Raises:
        ValueError: as `Heatmaps`; recordings without a video.
        FileNotFoundError: the pkl or the folder is missing.
    """

    NAME = "rgbpose"

    def __init__(
        self,
        filelist: str | None,
        videos: str | None = None,
        split: str | None = None,
        mode: str = "train",
        num_classes: int | None = None,
        seed: int = 0,
        augment: bool = True,
        layout: str = "coco17",
        kind: str = "joints",
        limbs: list | None = None,
        sigma: float = 0.7,
        scaling: float = 0.25,
        rgb_clip_len: int = 8,
        rgb_only: bool = False,
        clip_len: int = 32,
        num_clips: int = 1,
        flip: bool = False,
        num_persons: int = 2,
        short_size: int = 256,
        crop_size: int = 224,
        scales: list[int] | None = None,
        stretch: bool = True,
        hw_ratio: float | None = 1.0,
        crop: str = "resized",
        crop_area: list[float] = CROP_AREA,
        flip_ratio: float = 0.5,
        color_jitter: list[float] | None = None,
        erasing_ratio: float = 0.0,
        erasing_area: list[float] = ERASED_AREA,
        mean: list[float] = IMAGENET_MEAN,
        std: list[float] = IMAGENET_STD,
        repeat: int = 1,
        memory_limit_gib: float = 8.0,
    ):
        self.videos, self.rgb_clip_len, self.rgb_only = videos, rgb_clip_len, rgb_only
        self.color_jitter, self.erasing_ratio, self.erasing_area = color_jitter, erasing_ratio, erasing_area
        self.mean, self.std = mean, std
        drawing = (layout, kind, limbs, sigma, scaling, clip_len, num_clips, flip, num_persons)
        cutting = (short_size, crop_size, scales, stretch, hw_ratio, crop, crop_area, flip_ratio)
        super().__init__(
            filelist, split, mode, num_classes, seed, augment, *drawing, *cutting, repeat, memory_limit_gib
        )
        self.paths = self._find_videos()

    @property
    def input_shape(self) -> dict[str, list[int]]:
        """What the model sees of one view: `rgb` [3, T, H, W], `pose` [joints or limbs, T', H', W']."""
        rgb = {"rgb": [3, self.rgb_clip_len, self.crop_size, self.crop_size]}
        return rgb if self.rgb_only else {**rgb, **super().input_shape}

    def sample_bytes(self) -> int:
        """Return how much memory one sample takes, in bytes."""
        return super().sample_bytes() + self._num_views * self.rgb_clip_len * self.crop_size**2 * 3

    def draw_noise(self, num_views: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return views of noise in the form of a sample's `inputs`, to measure what comes after the reader."""
        shape = (num_views, self.rgb_clip_len, self.crop_size, self.crop_size, 3)
        rgb = {"rgb": rng.integers(0, 256, shape, np.uint8)}
        return rgb if self.rgb_only else {**rgb, **super().draw_noise(num_views, rng)}

    def prepare(self, inputs: dict) -> dict[str, paddle.Tensor]:
        """Make the model's inputs on the current device.

        Args:
            inputs: `rgb` uint8 (B, T, H, W, 3), `pose` float32 (B, M, T', V, 4).

        Returns:
            `rgb` float32 (B, 3, T, H, W), (pixel / 255 - mean) / std; `pose` float32 (B, K, T', H', W').
        """
        rgb = {"rgb": normalize(inputs["rgb"], self.mean, self.std)}
        return rgb if self.rgb_only else {**rgb, **super().prepare(inputs)}

    def _read(self, recording: Recording, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        keypoint, score = self._clean(recording)
        video, num_frames = self._open_video(recording, keypoint.shape[1])
        frames = self._choose_frames(num_frames, self.clip_len, rng)
        keypoint, score = keypoint[:, frames], score[:, frames]  # (M, clips, T', V, ...)
        rgb_frames = self._choose_frames(num_frames, self.rgb_clip_len, rng)
        views = []
        for size in self._sizes:
            rgb, points, framing = self._cut(video, rgb_frames, keypoint, recording.img_shape, size, rng)
            views.append({"rgb": rgb} if self.rgb_only else {"rgb": rgb, "pose": self._join(points, score, framing)})
        return {name: np.concatenate([view[name] for view in views]) for name in views[0]}

    def _cut(self, video: Video, frames: np.ndarray, keypoint: np.ndarray, img_shape: tuple, size: int, rng) -> tuple:
        """Cut the RGB views (views, T, H, W, 3) out of a video, at one scale.

        Returns:
            The views, the key points carried to the size of the video's frames, and how these are cut.
        """
        points, framing, place = None, None, None

        def plan(height: int, width: int) -> tuple:
            nonlocal points, framing, place
            points = resize(keypoint, img_shape, (height, width))
            framing = self._draw_framing(points, (height, width), size, rng)
            box, place = place_crop(framing, (height, width), self.crop_size)
            return box, place[2:]

        cut = decode_frames(video, frames.reshape(-1), plan)
        rgb = self._finish(cut, place, framing, rng)
        return self._add_mirrors(rgb.reshape(*frames.shape, *rgb.shape[1:])), points, framing

    def _finish(self, cut: np.ndarray, place: tuple, framing: Framing, rng: np.random.Generator | None) -> np.ndarray:
        """Put what was cut from frames (n, h, w, 3) in its place in the crop; mirror, colour and erase it."""
        rgb = cut
        if place[2:] != (self.crop_size, self.crop_size):  # the crop reaches beyond the picture
            rgb = np.zeros((len(cut), self.crop_size, self.crop_size, 3), np.uint8)
            transforms.cut(rgb, place)[:] = cut
        if framing.is_mirrored:
            rgb = transforms.mirror(rgb)
        if rng is None:
            return rgb
        if self.color_jitter is not None:
            rgb = transforms.jitter_color(rgb, self.color_jitter[:3], rng)
            rgb = transforms.jitter_hue(rgb, self.color_jitter[3], rng)
        if rng.random() < self.erasing_ratio:
            transforms.cut(rgb, draw_erased_box(self.crop_size, self.crop_size, self.erasing_area, rng))[:] = (
                ERASED_COLOR
            )
        return rgb

    def _add_mirrors(self, views: np.ndarray) -> np.ndarray:
        """Let each view (views, T, H, W, 3) be followed by itself mirrored, where `flip` asks for it."""
        if not self.flip or self.mode == "train":
            return views
        views = np.repeat(views, 2, axis=0)
        views[1::2] = views[1::2, :, :, ::-1]
        return views

    def _open_video(self, recording: Recording, num_frames: int) -> tuple[Video, int]:
        """Open the video of a recording of so many frames; return it, and how many frames both have."""
        video = open_video(ListEntry(self.paths[recording.name], recording.label, None, 0, recording.name))
        if abs(len(video.frames) - num_frames) > MOST_FRAMES_APART:
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
        media = MediaIndex(self.videos)
        names = [recording.name for recording in self.entries]
        paths = {name: media.find([name, name + NTU_SUFFIX]) for name in names}
        missing = [name for name in names if not os.path.exists(paths[name])]
        if missing:
            raise ValueError(
                f"{self.videos}: {len(missing)} of {len(names)} recordings of split '{self.split}' have no video, "
                f"first '{missing[0]}'; get them, or leave them out of the split"
            )
        return paths

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if self.rgb_clip_len < 1:
            self._refuse("rgb_clip_len", "1 or more")
        jitter = self.color_jitter
        if jitter is not None and (len(jitter) != 4 or min(jitter) < 0 or max(jitter) > 1):
            self._refuse("color_jitter", "brightness, contrast, saturation and hue, each 0 to 1")
        if not 0 <= self.erasing_ratio <= 1:
            self._refuse("erasing_ratio", "0 to 1")
        area = self.erasing_area
        if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
            self._refuse("erasing_area", "[least, greatest] share, above 0 and up to 1")


def place_crop(framing: Framing, frame_size: tuple, crop_size: int) -> tuple[tuple, tuple]:
    """Find what of a frame is seen in a crop, and where.

    Returns:
        The box (top, left, height, width) of the frame, to the nearest pixel, and its place in the crop resized to
        `crop_size`, in the same form; at least one pixel, though the crop may lie beyond the frame.
    """
    axes = [_place_axis(framing, axis, frame_size[axis], crop_size) for axis in (0, 1)]
    (top, bottom, upper, lower), (left, right, first, last) = axes
    return (top, left, bottom - top, right - left), (upper, first, lower - upper, last - first)


def _place_axis(framing: Framing, axis: int, frame_length: int, crop_size: int) -> tuple[int, int, int, int]:
    """Return from where to where a crop sees a frame along one axis, and from where to where that is in the crop."""
    scale = framing.body[2 + axis] / framing.scaled_size[axis]
    start = framing.body[axis] + framing.crop[axis] * scale
    step = framing.crop[2 + axis] * scale / crop_size  # pixels of the frame in one of the crop
    ends = np.clip([start, start + step * crop_size], 0, frame_length)
    seen, places = np.round(ends).astype(int), np.round((ends - start) / step).astype(int)
    first, place = min(seen[0], frame_length - 1), np.clip(places[0], 0, crop_size - 1)
    return int(first), int(max(seen[1], first + 1)), int(place), int(np.clip(places[1], place + 1, crop_size))
