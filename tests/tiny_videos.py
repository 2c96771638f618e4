"""Tiny videos of known colours for the reader's tests: what a clip must hold is known without decoding anything."""

import zlib

import cv2
import numpy as np

from dataset.records import write_list, write_record


def ramp_frame(index, height=24, width=32):
    """A gray frame whose brightness tells its place in the video: 10, 20, 30 ..."""
    return np.full((height, width, 3), 10 * (index + 1), np.uint8)


def frame_numbers(clip):
    """Read the places back from the brightness of (T, H, W, 3) frames."""
    return np.round(clip.mean(axis=(1, 2, 3)) / 10).astype(int) - 1


def write_frames(folder, frames, pattern="{:05d}.jpg"):
    """Write RGB frames as pictures numbered from 1; return their names."""
    folder.mkdir(parents=True)
    names = [pattern.format(number) for number in range(1, len(frames) + 1)]
    for name, frame in zip(names, frames, strict=True):
        done, data = cv2.imencode(name[-4:], frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        assert done
        (folder / name).write_bytes(data.tobytes())
    return names


def write_video(root, video, label, frames, packed=False, pattern="{:05d}.jpg"):
    """Write frames to root/jpg/<class>/<video> and a record to root/train/<video>.pkl; return its list line."""
    class_name = video.split("_")[1] if video.startswith("v_") else "Other"
    folder = root / "jpg" / class_name / video
    names = write_frames(folder, frames, pattern)
    record = {"video": video, "label": label, "frames": [f"../jpg/{class_name}/{video}/{name}" for name in names]}
    if packed:
        record["frames"] = [(folder / name).read_bytes() for name in names]
        record["checksums"] = [zlib.crc32(frame) for frame in record["frames"]]
    write_record(record, root / "train" / f"{video}.pkl")
    return f"train/{video}.pkl"


def write_ramps(root, num_videos=6, num_frames=20, packed=False, class_names=("A", "B")):
    """Write a list of ramp videos, the classes in turn; return its path."""
    lines = []
    for number in range(num_videos):
        label = number % len(class_names)
        video = f"v_{class_names[label]}_g{number:02d}_c01"
        lines.append(write_video(root, video, label, [ramp_frame(t) for t in range(num_frames)], packed))
    write_list(lines, root / "train.list", list(class_names))
    return str(root / "train.list")
