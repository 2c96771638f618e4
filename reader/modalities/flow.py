"""Optical flow: read from the files of avi2jpg.py --flow or of a packed record, or computed from a video file.

A field is a picture (H, W, 3) whose channels are the displacement along x and y, as `dataset/optical_flow.py` encodes
them, and a constant. So it is cut and scaled like a frame; the displacements stay those of the frame that it was
computed of, as in the papers.
"""

import os
from collections.abc import Iterator

import cv2
import numpy as np
import paddle

from dataset import flow_files, packed_flow
from dataset.optical_flow import compute_fields, make_estimator
from reader import transforms
from reader.fault_tolerant import DamagedSampleError
from reader.frames import DecodedPicture, EncodedPicture, PackedPictures, PictureFiles, Video, VideoFrames
from reader.modalities.frames import RGB, stack_places

NO_MOTION = 128


def mirror(fields: np.ndarray) -> np.ndarray:
    """Mirror fields (T, H, W, 3) left to right, so that what moved to the left moves to the right."""
    mirrored = transforms.mirror(fields)
    np.subtract(255, mirrored[..., 0], out=mirrored[..., 0])
    return mirrored


class Flow(RGB):
    """Displacements from each frame to the next as shares of 20 pixels, -1 to 1.

    Args:
        num_stacked: fields that are the channels of one frame.
        mean: of RGB; flow has none.
        std: of RGB; flow has none.
        method: of flow that is computed while a video is read.
        short_size: of the frames that it is computed of; None: as they are.
    """

    has_color = False
    mirror = staticmethod(mirror)

    def __init__(self, num_stacked: int, mean: list, std: list, method: str, short_size: int | None):
        super().__init__(1, mean, std)
        self.method, self.short_size = method, short_size
        self.num_channels, self.num_pictures = 2 * num_stacked, num_stacked
        self.fill = np.full(3, NO_MOTION)

    def open(self, video: Video):
        """Return the fields of a video.

        Raises:
            ValueError: its frames have no flow.
        """
        if isinstance(video.frames, VideoFrames):
            return ComputedFlow(video.frames, self.method, self.short_size)
        if isinstance(video.frames, PictureFiles):
            return FlowPictures(*open_flow_files(video.frames, video.source))
        return FlowPictures(*open_packed_flow(video.frames, video.source))

    def count_places(self, num_frames: int) -> int:
        """Return how many frames have `num_stacked` fields after them; at least one, whose last field is repeated."""
        return max(1, num_frames - self.num_pictures)

    def list_pictures(self, places: np.ndarray, num_frames: int) -> np.ndarray:
        """Return the indices of the fields of a clip; see `RGB.list_pictures`."""
        return stack_places(places, self.num_pictures, flow_files.count_fields(num_frames))

    def has_files(self, folder: str) -> bool:
        """Return whether a frame folder has flow."""
        return flow_files.has_flow(folder)

    def limit_size(self, short_size: int) -> int | None:
        """Return the short side of the frames that flow is computed of."""
        return self.short_size

    def follow(self, frames: Iterator[np.ndarray], short_size: int) -> Iterator[np.ndarray]:
        """Yield the field from each frame, RGB, to the next one, and the last one again."""
        grays = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
        num_fields = 0
        for field in compute_fields(grays, make_estimator(self.method)):
            picture = cv2.cvtColor(make_picture(*cv2.split(field)), cv2.COLOR_BGR2RGB)
            picture = transforms.scale_short_side(picture[None], short_size)[0]
            yield picture
            num_fields += 1
        if num_fields > 1:
            yield picture

    def prepare(self, pictures: paddle.Tensor) -> paddle.Tensor:
        """Convert uint8 (B, T * n, H, W, 3) to float32 (B, 2n, T, H, W): x 1, y 1, x 2, ..."""
        _, num_pictures, *size, _ = pictures.shape
        axes = [paddle.scale(pictures[..., axis].astype("float32"), 1 / 127.5, -1.0) for axis in range(2)]
        shape = [-1, num_pictures // self.num_pictures, self.num_channels, *size]
        fields = paddle.stack(axes, axis=2).reshape(shape)  # (B, T * n, 2, H, W) -> (B, T, 2n, H, W)
        return fields.transpose([0, 2, 1, 3, 4])


def make_picture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the picture of a field, uint8 (H, W, 3); like a frame it is BGR, so that x is read first."""
    return cv2.merge([np.full_like(x, NO_MOTION), y, x])


class FlowPicture:
    """The two pictures of a field, encoded; see `reader/frames.py`.

    Raises:
        DamagedSampleError: they differ in size.
    """

    def __init__(self, x: EncodedPicture, y: EncodedPicture):
        self.x, self.y, self.size, self.name = x, y, x.size, x.name
        if y.size != x.size:
            raise DamagedSampleError(f"{x.name} and {y.name} differ in size; {flow_files.ADVICE} again")

    def decode(self, reduction: int) -> np.ndarray:
        """Decode to (H, W, 3) uint8, H and W divided by `reduction`.

        Raises:
            DamagedSampleError: one is cut short.
        """
        return make_picture(*(axis.decode(reduction)[..., 0] for axis in (self.x, self.y)))


class FlowPictures:
    """Fields that are pictures, one of x and one of y each."""

    def __init__(self, x: PictureFiles | PackedPictures, y: PictureFiles | PackedPictures):
        self.x, self.y, self.path = x, y, x.path

    def __len__(self) -> int:
        return len(self.x)

    def read(self, indices: list[int]) -> Iterator[FlowPicture]:
        """Yield the fields with these indices."""
        return map(FlowPicture, self.x.read(indices), self.y.read(indices))


def open_flow_files(frames: PictureFiles, source: str) -> tuple:
    """Return the x and y files beside the frames of a folder.

    Raises:
        ValueError: there are none.
    """
    if not flow_files.has_flow(frames.path):
        raise ValueError(
            f"{source}: no optical flow (flow_x_00001.jpg, flow_y_00001.jpg) in '{frames.path}'; {flow_files.ADVICE}"
        )
    return tuple(
        PictureFiles([os.path.join(frames.path, name) for name in flow_files.list_names(len(frames), axis)], "")
        for axis in flow_files.AXES
    )


def open_packed_flow(frames: PackedPictures, source: str) -> tuple:
    """Return the x and y pictures of a record.

    Raises:
        ValueError: it has none.
    """
    if not frames.flow:
        raise ValueError(f"{source}: the record holds no optical flow; {packed_flow.ADVICE}")
    files, checksums = frames.flow[packed_flow.KEY], frames.flow[packed_flow.CHECKSUMS]
    return tuple(PackedPictures(files[start::2], checksums[start::2], f"{source} flow") for start in range(2))


class ComputedFlow:
    """Fields that are computed from the frames of a video file when they are read.

    Args:
        frames: of the video.
        method: a key of `optical_flow.METHODS`.
        short_size: to which the frames are scaled first; None: as they are.
    """

    def __init__(self, frames: VideoFrames, method: str, short_size: int | None):
        self.frames, self.path, self.short_size = frames, frames.path, short_size
        self.estimate = make_estimator(method)

    def __len__(self) -> int:
        return flow_files.count_fields(len(self.frames))

    def read(self, indices: list[int]) -> Iterator[DecodedPicture]:
        """Yield the fields with these indices, which ascend."""
        last = len(self.frames) - 1
        needed = sorted({*indices, *(min(index + 1, last) for index in indices)})
        chosen, previous = set(indices), (None, None)
        for index, frame in zip(needed, self.frames.read(needed), strict=True):
            gray = self._make_gray(frame.decode(1))
            if previous[0] == index - 1 and index - 1 in chosen:
                yield self._make_field(previous[1], gray, index - 1)
            if last == 0:
                yield self._make_field(gray, gray, 0)
            previous = index, gray

    def _make_gray(self, frame: np.ndarray) -> np.ndarray:
        if self.short_size is not None:
            frame = transforms.scale_short_side(frame[None], self.short_size)[0]
        return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)

    def _make_field(self, first: np.ndarray, second: np.ndarray, index: int) -> DecodedPicture:
        return DecodedPicture(make_picture(*cv2.split(self.estimate(first, second))), f"{self.path} field {index}")
