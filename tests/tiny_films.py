"""Tiny video files in many codecs, made by PyAV: each frame bears its number in bits, above a moving picture."""

import struct
from fractions import Fraction

import av
import cv2
import numpy as np

NUM_FRAMES, HEIGHT, WIDTH = 48, 64, 96
OPEN_GROUPS = "keyint=12:min-keyint=12:open-gop=1:scenecut=0:bframes=3:b-adapt=0"
# name of the file: encoder, its options, frames in a group of pictures
FILMS = {
    "h264.mp4": ("libx264", {"bf": "3"}, 12),
    "h264_one_group.mov": ("libx264", {"bf": "3"}, 250),
    "h264_open_groups.mp4": ("libx264", {"x264-params": OPEN_GROUPS}, 12),
    "h264_no_b.mkv": ("libx264", {"bf": "0"}, 12),
    "h264.avi": ("libx264", {"bf": "3"}, 12),
    "h264_open_groups.avi": ("libx264", {"x264-params": OPEN_GROUPS}, 12),
    "h264.ts": ("libx264", {"bf": "3"}, 12),
    "hevc_open_groups.mp4": ("libx265", {"x265-params": "keyint=12:min-keyint=12:log-level=none"}, 12),
    "xvid.avi": ("mpeg4", {}, 12),
    "xvid_b.avi": ("mpeg4", {"bf": "2"}, 12),
    "mpeg4_b.mp4": ("mpeg4", {"bf": "2"}, 12),
    "mpeg2.mpg": ("mpeg2video", {"bf": "2"}, 12),
    "vp8.webm": ("libvpx", {"cpu-used": "8", "deadline": "realtime"}, 12),
    "vp9.webm": ("libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"}, 12),
    "av1.mp4": ("libsvtav1", {"preset": "8", "svtav1-params": "lp=1"}, 12),
    "mjpeg.avi": ("mjpeg", {}, 1),
    "wmv.wmv": ("wmv2", {}, 12),
}


def draw_frame(number):
    """The frame of a number, BGR: six boxes say the number in bits, above a picture that moves."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (9, 13, 3)).astype(np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
    frame = picture[number // 2 : number // 2 + HEIGHT, number : number + WIDTH].copy()
    for bit in range(6):
        frame[4:20, 16 * bit : 16 * bit + 16] = 235 if number >> bit & 1 else 20
    return frame


def read_number(frame):
    """Read the number of a decoded frame."""
    return sum(int(frame[8:16, 16 * bit + 4 : 16 * bit + 12].mean() > 128) << bit for bit in range(6))


def write_film(path, codec="libx264", options=None, group=12, num_frames=NUM_FRAMES, times_ms=None):
    """Write a film; `times_ms` are those at which its frames are shown, 40 apart if not given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.bit_rate = WIDTH, HEIGHT, 400_000
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.thread_count = group, 1
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if path.suffix == ".avi" and codec == "mpeg4":
            stream.codec_context.codec_tag = "XVID"
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(draw_frame(number), format="bgr24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode_in_order(path):
    """Decode a file as a player does, from its first frame to its last: BGR frames."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def copy_packets(source, target, change=lambda number, packet: packet):
    """Copy the packets of a film, each as `change` returns it; packets that it turns to None are left out."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            times = packet.pts, packet.dts, packet.time_base
            changed = change(number, packet)
            if changed is not None:
                changed.pts, changed.dts, changed.time_base = times
                changed.stream = stream
                new.mux(changed)
    return target


def set_display_matrix(path, matrix):
    """Write a display matrix (a, b, c, d), of whole numbers, into the header of an mp4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (65536 * number for number in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path
