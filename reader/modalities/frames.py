"""RGB frames, and differences of successive ones, which need nothing but the frames."""

from collections.abc import Iterator

import numpy as np
import paddle

from reader import transforms
from reader.preprocessor import normalize


class RGB:
    """The frames themselves; also the interface of a modality.

    A modality turns the frames of a video into uint8 pictures (H, W, 3), of which each of the T frames of a clip has
    `num_pictures`, and a batch of these, (B, T * num_pictures, H, W, 3), into what the network takes.

    Args:
        num_stacked: fields or differences that are the channels of one frame; 1.
        mean: of RGB, 0 to 1.
        std: of RGB, 0 to 1.

    Raises:
        ValueError: frames to be stacked.
    """

    num_channels, num_pictures = 3, 1
    has_color = True
    mirror = staticmethod(transforms.mirror)

    def __init__(self, num_stacked: int, mean: list, std: list):
        if num_stacked != 1:
            raise ValueError(f"reader clips: num_stacked is {num_stacked}, frames are not stacked; leave it out")
        self.mean, self.std = mean, std
        self.fill = 255 * np.array(mean)  # the colour of a blanked box

    def open(self, video):
        """Return the pictures of a video, see `reader/frames.py`."""
        return video.frames

    def count_places(self, num_frames: int) -> int:
        """Return how many frames of a video a clip can have; the pictures of each begin there."""
        return num_frames

    def list_pictures(self, places: np.ndarray, num_frames: int) -> np.ndarray:
        """Return the indices of the pictures of a clip or of several, (..., T) to (..., T * num_pictures)."""
        return places

    def has_files(self, folder: str) -> bool:
        """Return whether a frame folder has the pictures in files of their own."""
        return False

    def limit_size(self, short_size: int) -> int | None:
        """Return the short side to which a stream of frames may be scaled before `follow`; None: leave it."""
        return short_size

    def follow(self, frames: Iterator[np.ndarray], short_size: int) -> Iterator[np.ndarray]:
        """Yield a picture for each frame of a stream, of the short side that the reader scales to."""
        return frames

    def prepare(self, pictures: paddle.Tensor) -> paddle.Tensor:
        """Convert uint8 (B, T, H, W, 3) to float32 (B, 3, T, H, W)."""
        return normalize(pictures, self.mean, self.std)


class RGBDifferences(RGB):
    """Each frame taken from the next one, of frames that have a standard deviation of 1 (TSN, section 3.2)."""

    def __init__(self, num_stacked: int, mean: list, std: list):
        super().__init__(1, mean, std)
        self.num_stacked = num_stacked
        self.num_channels, self.num_pictures = 3 * num_stacked, num_stacked + 1

    def count_places(self, num_frames: int) -> int:
        """Return how many frames have `num_stacked` frames after them; at least one, whose last frame is repeated."""
        return max(1, num_frames - self.num_stacked)

    def list_pictures(self, places: np.ndarray, num_frames: int) -> np.ndarray:
        """Return the indices of the frames whose differences a clip has; see `RGB.list_pictures`."""
        return stack_places(places, self.num_pictures, num_frames)

    def prepare(self, pictures: paddle.Tensor) -> paddle.Tensor:
        """Convert uint8 (B, T * (n + 1), H, W, 3) to float32 (B, 3n, T, H, W): R, G, B 1, R, G, B 2, ..."""
        frames = normalize(pictures, self.mean, self.std)
        _, _, num_pictures, *size = frames.shape
        num_frames = num_pictures // self.num_pictures
        frames = frames.reshape([-1, 3, num_frames, self.num_pictures, *size])
        differences = frames[:, :, :, 1:] - frames[:, :, :, :-1]  # (B, 3, T, n, H, W)
        return differences.transpose([0, 3, 1, 2, 4, 5]).reshape([-1, self.num_channels, num_frames, *size])


def stack_places(places: np.ndarray, length: int, num_pictures: int) -> np.ndarray:
    """Put the places after each place behind it, (..., T) to (..., T * length); the last picture is repeated."""
    stacked = np.minimum(places[..., None] + np.arange(length), num_pictures - 1)
    return stacked.reshape(*places.shape[:-1], -1)
