"""Which of the bodies that Kinect saw are the persons: `BODIES` has the methods of the references by name.

Kinect takes furniture for people, loses a person and finds it again under another id, and lists the bodies of a frame
in any order. Each method turns a recording into key points (2, T, 25, 3) or (1, T, 25, 3), float32, neither moved nor
turned. A person is zero in a frame it is not in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataset.raw_skeletons.ntu_file import NUM_JOINTS, Recording

MAX_SLOTS = 4  # of a frame, that MS-G3D looks at
MIN_TRACK_FRAMES = 12  # of a track of ids, by CTR-GCN and PYSKL, where there are several
MAX_WIDTH_RATIO = 0.8  # width over height of a person that stands or sits
MAX_WIDE_RATIO = 0.69754  # share of frames in which a person may be wider


@dataclass
class Track:
    """The joints of one body id, without gaps from its first frame on, as in the references."""

    start: int
    joints: np.ndarray  # (L, 25, 3) float32
    motion: float = 0.0

    @property
    def last(self) -> int:
        """The last frame, included."""
        return self.start + len(self.joints) - 1


def select_first(recording: Recording) -> np.ndarray:
    """Select the first two bodies of each frame, whoever they are (ST-GCN, PB-GCN)."""
    return fill_slots(recording, 2).astype(np.float32)


def select_msg3d(recording: Recording) -> np.ndarray:
    """Select the two of the first four bodies of the frames whose joints spread most, most first (MS-G3D)."""
    persons = fill_slots(recording, MAX_SLOTS)
    energy = np.array([measure_spread(person) for person in persons])
    return persons[energy.argsort()[::-1][:2]].astype(np.float32)


def fill_slots(recording: Recording, num_slots: int) -> np.ndarray:
    """Put each body at its slot in its frame: (num_slots, T, 25, 3) float64."""
    persons = np.zeros((num_slots, recording.num_frames, NUM_JOINTS, 3))
    is_used = recording.slots < num_slots
    persons[recording.slots[is_used], recording.frames[is_used]] = recording.joints[is_used]
    return persons


def measure_spread(person: np.ndarray) -> float:
    """Sum the standard deviations of x, y and z over all joints and all frames that are not empty."""
    seen = person[person.sum(axis=-1).sum(axis=-1) != 0]
    return sum(seen[..., axis].std() for axis in range(3)) if len(seen) else 0.0


def select_ctrgcn(recording: Recording) -> np.ndarray:
    """Follow the body ids, drop short or wide tracks, assign the others to two actors (CTR-GCN, InfoGCN).

    Frames without a body are dropped. Of two tracks of one actor the last and the first frame may be the same.
    """
    tracks, num_frames = follow_ids(recording)
    if len(tracks) < 2:
        return assign_actors(tracks, num_frames, num_shared=1)
    actors = assign_actors(choose_tracks(tracks), num_frames, num_shared=1)
    return actors[:, actors.sum(axis=(0, 2, 3)) != 0]


def select_pyskl(recording: Recording) -> np.ndarray:
    """Like `select_ctrgcn`, but the tracks of one actor share no frame and only the ends are cut (PYSKL).

    A person who is present from the start comes first.
    """
    tracks, num_frames = follow_ids(recording)
    tracks = choose_tracks(tracks) if len(tracks) > 1 else tracks
    if len(tracks) == 1:
        return tracks[0].joints[None]
    actors = assign_actors(tracks, num_frames, num_shared=0)
    filled = np.flatnonzero(np.abs(actors).sum(axis=(0, 2, 3)) >= 1e-3)
    actors = actors[:, filled[0] : filled[-1] + 1] if len(filled) else actors
    spine = np.abs(actors[:, :1, 1]).sum(axis=(1, 2))
    return actors[::-1] if actors.shape[1] and spine[0] < 1e-3 < spine[1] else actors


BODIES: dict[str, Callable[[Recording], np.ndarray]] = {
    "pyskl": select_pyskl,
    "ctrgcn": select_ctrgcn,
    "msg3d": select_msg3d,
    "first": select_first,
}


def follow_ids(recording: Recording) -> tuple[list[Track], int]:
    """Gather the joints of each body id, in the order the ids come, and count the frames that have a body."""
    filled, positions = np.unique(recording.frames, return_inverse=True)
    rows = {}
    for row, body_id in enumerate(recording.ids):
        rows.setdefault(body_id, []).append(row)
    joints = recording.joints.astype(np.float32)
    return [Track(int(positions[found[0]]), joints[found]) for found in rows.values()], len(filled)


def choose_tracks(tracks: list[Track]) -> list[Track]:
    """Drop short tracks and bodies that are too wide, and sort the others by motion, most first.

    If all tracks are short, where the references stop with an error, all stay; the last one stays, however wide.
    """
    tracks = [track for track in tracks if len(track.joints) >= MIN_TRACK_FRAMES] or tracks
    if len(tracks) == 1:
        return tracks
    for track in tracks:
        track.motion = measure_motion(track.joints)
    chosen = list(tracks)
    for track in tracks:
        if len(chosen) == 1:
            break
        extent = np.ptp(track.joints[..., :2], axis=1)  # (L, 2): width and height
        good = extent[:, 0] <= MAX_WIDTH_RATIO * extent[:, 1]
        if 1 - good.mean() >= MAX_WIDE_RATIO:
            chosen = [other for other in chosen if other is not track]
        elif not good.all():
            track.motion = min(track.motion, measure_motion(track.joints[good]))
    return sorted(chosen, key=lambda track: -track.motion)


def measure_motion(joints: np.ndarray) -> float:
    """Sum the variances of x, y and z over all joints and frames."""
    return joints.reshape(-1, 3).var(axis=0).sum()


def assign_actors(tracks: list[Track], num_frames: int, num_shared: int) -> np.ndarray:
    """Assign tracks to two actors: each goes to the first one that is absent at that time, or to none.

    Args:
        tracks: most motion first; the first one is the first actor.
        num_shared: frames that a track may share with an actor and still belong to it.
    Returns:
        (2, num_frames, 25, 3) float32.
    """
    actors = np.zeros((2, num_frames, NUM_JOINTS, 3), np.float32)
    spans = [None, (0, num_shared - 1)]  # the second actor's, before it has a track, is the references' [0, 0]
    for track in tracks:
        for actor, span in enumerate(spans):
            if span is None or min(span[1], track.last) - max(span[0], track.start) + 1 <= num_shared:
                actors[actor, track.start : track.last + 1] = track.joints
                known = span or (track.start, track.last)
                spans[actor] = (min(known[0], track.start), max(known[1], track.last))
                break
    return actors
