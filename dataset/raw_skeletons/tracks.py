"""Who is who in 2-D poses found frame by frame: persons are followed over the frames in which they are missed.

First the persons of neighbouring frames are joined where they clearly are one (or by the track ids of the file); then
the ends of these tracks are joined to the starts of later ones, over any number of frames, the best pairs first. How
well a pair fits is the distance between the joints of both, each moved on at its own speed, in sizes of a body.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

MAX_STEP = 0.25  # sizes of a body between what is expected and found in the next frame; more is left to the second step
MAX_JOIN, MAX_MISSED = 0.5, 10  # sizes of a body and frames between an end and a start that are likely one person
SIZE_WEIGHT = 0.5  # of the logarithm of the ratio of two sizes
GAP_WEIGHT = 0.02  # of the logarithm to base 2 of the number of frames from an end to a start
SPEED_FRAMES = 5  # that a speed is measured over
SPEED_DECAY = 0.9  # of a speed, for each frame that a person is missed


@dataclass
class Person:
    """A person in one frame: points (V, 3) of x, y and score, and the track id of the file, where it has one."""

    points: np.ndarray
    track: int | str | None = None


@dataclass
class Track:
    """The frames in which a person was found, in order, and the points (V, 3) in each."""

    frames: list[int] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)

    def add(self, frame: int, points: np.ndarray) -> None:
        """Append a later frame."""
        self.frames.append(frame)
        self.points.append(points)

    @property
    def score(self) -> float:
        """The scores of all joints in all frames together."""
        return sum(points[:, 2].sum() for points in self.points)


@dataclass
class Starts:
    """Where tracks start: frames (N,), points (N, V, 3), speeds (N, 2) in pixels per frame."""

    frames: np.ndarray
    points: np.ndarray
    speeds: np.ndarray


def track_persons(frames: list[list[Person]], max_persons: int) -> list[Track]:
    """Return a track for each person, most score first; two have no frame in common unless both are in it.

    There are as few tracks as persons exist at once, those included who are missed for a while. Where the file has
    track ids, two ids stay two persons as long as there are no more of them than `max_persons`.
    """
    frames = [[person for person in people if find_present(person.points).any()] for people in frames]
    use_ids = has_track_ids(frames)
    tracks = join_neighbours(frames, use_ids)
    num_wanted = max((len(people) for people in frames), default=0)
    tracks = join_ends(tracks, max(num_wanted, max_persons) if use_ids else num_wanted)
    return sorted(tracks, key=lambda track: -track.score)


def has_track_ids(frames: list[list[Person]]) -> bool:
    """Return whether the file has track ids; those that two persons of one frame share are none."""
    ids = [[person.track for person in people if person.track is not None] for people in frames]
    return any(ids) and all(len(set(found)) == len(found) for found in ids)


def join_neighbours(frames: list[list[Person]], use_ids: bool) -> list[Track]:
    """Join persons by their ids, and those without one to the fitting one of the next frame, the best pairs first."""
    tracks, by_id, latest = [], {}, []
    for frame, people in enumerate(frames):
        unnamed = [person for person in people if not use_ids or person.track is None]
        for person in people:
            if use_ids and person.track is not None:
                by_id.setdefault(person.track, Track()).add(frame, person.points)
        found = [Track([frame], [person.points]) for person in unnamed]
        following = {}
        if latest and found:
            starts = find_starts(found)
            costs = np.stack([measure_costs(track, starts) for track in latest])
            following = {after: before for before, after in choose_pairs(costs, MAX_STEP)}
        current = []
        for index, track in enumerate(found):
            if index in following:
                track = latest[following[index]]
                track.add(frame, unnamed[index].points)
            else:
                tracks.append(track)
            current.append(track)
        latest = current
    return [*tracks, *by_id.values()]


def join_ends(tracks: list[Track], num_wanted: int) -> list[Track]:
    """Join the ends of tracks to the starts of later ones, the best pairs first, until `num_wanted` are left.

    Where those pairs pass others over (a cut of the camera makes new tracks of everybody), only ends and starts that
    are likely one person are joined so, and what is left then is joined in the order of time.
    """
    if len(tracks) <= num_wanted:
        return tracks
    starts = find_starts(tracks)
    costs = np.stack([measure_costs(track, starts) for track in tracks])
    pairs = choose_pairs(costs, np.inf)[: len(tracks) - num_wanted]
    if len(tracks) - len(pairs) > num_wanted:
        gaps = starts.frames - np.array([[track.frames[-1]] for track in tracks])
        pairs = choose_pairs(np.where(gaps > MAX_MISSED + 1, np.inf, costs), MAX_JOIN)
        return join_in_order(join_pairs(tracks, pairs))
    return join_pairs(tracks, pairs)


def join_in_order(tracks: list[Track]) -> list[Track]:
    """Join each track, by its start, to the best fitting one that has ended: no more are left than exist at once."""
    joined, by_start = [], defaultdict(list)
    for track in tracks:
        by_start[track.frames[0]].append(track)
    for frame in sorted(by_start):
        ended, starting = [track for track in joined if track.frames[-1] < frame], by_start[frame]
        starts = find_starts(starting)
        costs = np.reshape([measure_costs(track, starts) for track in ended], (len(ended), len(starting)))
        following = {after: before for before, after in choose_pairs(costs, np.inf)}
        for index, track in enumerate(starting):
            if index in following:
                ended[following[index]].frames += track.frames
                ended[following[index]].points += track.points
            else:
                joined.append(track)
    return joined


def join_pairs(tracks: list[Track], pairs: list[tuple[int, int]]) -> list[Track]:
    """Join pairs (track, later track), given by their indices; return all tracks that are left."""
    following, later = dict(pairs), {after for _, after in pairs}
    joined = []
    for index in [index for index in range(len(tracks)) if index not in later]:
        track = Track()
        while index is not None:
            track.frames += tracks[index].frames
            track.points += tracks[index].points
            index = following.get(index)
        joined.append(track)
    return joined


def choose_pairs(costs: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Choose pairs (row, column), the least costs first and each row and column once; none at or above the limit."""
    pairs, rows, columns = [], set(), set()
    for place in np.argsort(costs, axis=None, kind="stable"):
        row, column = divmod(int(place), costs.shape[1])
        if not costs[row, column] < limit:
            break
        if row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
    return pairs


def find_starts(tracks: list[Track]) -> Starts:
    """Gather the starts of tracks."""
    speeds = [measure_speed(track, 0) for track in tracks]
    points = [track.points[0] for track in tracks]
    return Starts(np.array([track.frames[0] for track in tracks]), np.stack(points), np.stack(speeds))


def measure_costs(track: Track, starts: Starts) -> np.ndarray:
    """Measure how badly each start (N,) goes on from the end of a track; infinite where it is not later."""
    later = starts.frames > track.frames[-1]
    costs = np.full(len(later), np.inf)
    if not later.any():
        return costs
    points, gaps = starts.points[later], starts.frames[later] - track.frames[-1]  # (N, V, 3), (N,)
    times = (1 - SPEED_DECAY**gaps) / (1 - SPEED_DECAY)  # frames for which a speed is believed
    end, speed = track.points[-1], measure_speed(track, -1)
    common = find_present(points) & find_present(end)  # (N, V)
    steps = points[..., :2] - end[:, :2]
    ahead = np.linalg.norm(steps - (speed * times[:, None])[:, None], axis=2)
    back = np.linalg.norm(steps - (starts.speeds[later] * times[:, None])[:, None], axis=2)
    sizes, size = measure_size(points), measure_size(end)
    distances = np.mean([median_where(ahead, common), median_where(back, common)], axis=0) / np.sqrt(sizes * size)
    costs[later] = distances + SIZE_WEIGHT * np.abs(np.log(sizes / size)) + GAP_WEIGHT * np.log2(gaps)
    return costs


def measure_speed(track: Track, end: int) -> np.ndarray:
    """Measure the speed (x, y) at an end of a track, 0 or -1, in pixels per frame; zero where it has one frame."""
    count = min(len(track.frames), SPEED_FRAMES)
    first, last = (0, count - 1) if end == 0 else (-count, -1)
    common = find_present(track.points[first]) & find_present(track.points[last])
    if count < 2 or not common.any():
        return np.zeros(2)
    step = np.median((track.points[last] - track.points[first])[common, :2], axis=0)
    return step / (track.frames[last] - track.frames[first])


def find_present(points: np.ndarray) -> np.ndarray:
    """Return which points (..., 3) were found: not at (0, 0), and of a score above 0 where any has one."""
    placed = points[..., :2].any(axis=-1)
    scored = points[..., 2] > 0
    return placed & (scored | ~scored.any(axis=-1, keepdims=True))


def measure_size(points: np.ndarray) -> np.ndarray:
    """Measure the diagonal of the box around the present points of bodies (..., V, 3), in pixels, at least 1."""
    hidden = ~find_present(points)[..., None]
    low = np.where(hidden, np.inf, points[..., :2]).min(axis=-2)
    high = np.where(hidden, -np.inf, points[..., :2]).max(axis=-2)
    return np.maximum(np.linalg.norm(high - low, axis=-1), 1.0)


def median_where(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the lower median of the chosen values (N, V) of each row, of all where none is chosen."""
    chosen = np.where(chosen.any(axis=1, keepdims=True), chosen, True)
    middle = (chosen.sum(axis=1, keepdims=True) - 1) // 2
    return np.take_along_axis(np.sort(np.where(chosen, values, np.inf), axis=1), middle, axis=1)[:, 0]
