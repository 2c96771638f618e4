"""The time stamps of a video's packets: where they start anew, whether they can be right, what rate they say."""

from fractions import Fraction

import numpy as np

MAX_DEVIATION = 0.2  # of the rate of a header from that of the time stamps, which are rounded
MAX_DELAY = 32  # frames: a decoder keeps 16 at most


def number_parts(packets: list) -> list[int]:
    """Return for each packet how often the time stamps have started anew before it, as where files were joined."""
    parts, part, latest = [], 0, None
    for packet in packets:
        if packet.pts is not None:
            if packet.is_keyframe and latest is not None and packet.pts <= latest:
                part, latest = part + 1, None
            latest = packet.pts if latest is None else max(latest, packet.pts)
        parts.append(part)
    return parts


def has_corrupt_packet(packets: list) -> bool:
    """Whether FFmpeg found a packet damaged; not so where one file ends and the next begins, which it finds strange."""
    parts = number_parts(packets)
    after = parts[2:] + parts[-1:] * 2  # it marks one of the last two packets
    return any(packet.is_corrupt and parts[index] == after[index] for index, packet in enumerate(packets))


def find_times(stamps: list | None, time_base: Fraction | None, stated: float) -> tuple[float, list | None]:
    """Return `VideoFile.fps` and `VideoFile.times_s`.

    Args:
        stamps: (part, time stamp) of each frame, in the order shown; None where they are not known.
        time_base: seconds of a time stamp.
        stated: frames a second by the header, 0 where it does not say.
    """
    if stamps is None or len(stamps) < 2 or time_base is None:
        return stated, None
    parts, times = np.array(stamps, np.int64).T
    steps, is_inside = np.diff(times), np.diff(parts) == 0
    if not is_inside.any() or steps[is_inside].min() < 1:
        return stated, None
    typical = np.median(steps[is_inside])
    steps = np.where(is_inside, steps, typical)
    if steps.max() < 1.5 * steps.min():  # nothing varies but by rounding
        measured = 1 / float(steps.mean() * time_base)
        return (stated if abs(stated - measured) < MAX_DEVIATION * measured else measured), None
    times = np.cumsum([0, *steps, typical]) * float(time_base)
    return float((len(times) - 2) / times[-2]), times.tolist()


def are_even(packets: list) -> bool:
    """Whether frames that are decoded at a constant rate are shown at it too, a few frames later; also if it varies."""
    shown, decoded = [packet.pts for packet in packets], [packet.dts for packet in packets]
    if len(packets) < 2 or None in shown or None in decoded or len(set(np.diff(decoded))) != 1:
        return True
    step, delays = decoded[1] - decoded[0], np.subtract(shown, decoded)
    return step > 0 and len(set(delays % step)) == 1 and int(delays.max() - delays.min()) <= MAX_DELAY * step
