"""The human figure of the sample data: a body of rigid limbs, its actions, and its joints over time.

Body axes: x to the person's left, y up, z forward, in metres; the floor is y = 0.
"""

from dataclasses import dataclass

import numpy as np

from layouts import LAYOUTS

# name: (parent, segment that rotates it, part that scales it, offset from the parent in a standing pose).
# A person of 1.78 m, middle and left side; the right side is the mirror image. Parents come before children.
BONES = {
    "spine_mid": ("spine_base", "spine", "trunk", (0, 0.22, 0)),
    "spine_shoulder": ("spine_mid", "chest", "trunk", (0, 0.26, 0)),
    "neck": ("spine_shoulder", "chest", "trunk", (0, 0.07, 0)),
    "head": ("neck", "head", "trunk", (0, 0.15, 0.02)),
    "nose": ("head", "head", "trunk", (0, 0, 0.10)),
    "face": ("head", "head", "trunk", (0, -0.01, 0.03)),
    "crown": ("head", "head", "trunk", (0, 0.035, -0.035)),
    "left_eye": ("head", "head", "trunk", (0.035, 0.035, 0.085)),
    "left_ear": ("head", "head", "trunk", (0.08, 0.01, 0)),
    "left_shoulder": ("spine_shoulder", "chest", "shoulders", (0.18, -0.03, 0)),
    "left_elbow": ("left_shoulder", "left_upper_arm", "arms", (0, -0.29, 0)),
    "left_wrist": ("left_elbow", "left_forearm", "arms", (0, -0.25, 0)),
    "left_hand": ("left_wrist", "left_forearm", "arms", (0, -0.08, 0)),
    "left_hand_tip": ("left_hand", "left_forearm", "arms", (0, -0.09, 0)),
    "left_thumb": ("left_hand", "left_forearm", "arms", (0, -0.03, 0.05)),
    "left_hip": ("spine_base", "pelvis", "hips", (0.09, -0.03, 0)),
    "left_knee": ("left_hip", "left_thigh", "legs", (0, -0.43, 0)),
    "left_ankle": ("left_knee", "left_shank", "legs", (0, -0.41, 0)),
    "left_foot": ("left_ankle", "left_foot", "legs", (0, -0.06, 0.16)),
}
PARTS = ("trunk", "shoulders", "arms", "hips", "legs")

# Points of a figure: the 25 joints in NTU order, the five COCO points of the head, two points for drawing.
NTU25, COCO17 = LAYOUTS["ntu25"], LAYOUTS["coco17"]
POINTS = (*NTU25.joints, *COCO17.joints[:5], "face", "crown")
COCO_POINTS = [POINTS.index(name) for name in COCO17.joints]
SOLE = 0.03  # metres of shoe below the foot joint
TRAVEL = 0.8  # metres walked in a clip, whatever its length, so that the walker stays in the picture


@dataclass(frozen=True)
class Body:
    """A person, the same for all clips of a group.

    Attributes:
        scales: for each of `PARTS`, its length in units of the 1.78 m person's.
        girth: thickness of trunk and limbs, 1 = average.
        pace: length of a movement, 1 = average; more is slower.
        vigour: size of a movement, 1 = average.
    """

    scales: dict[str, float]
    girth: float
    pace: float
    vigour: float

    @property
    def height(self) -> float:
        """Metres from sole to crown, standing."""
        return SOLE + 0.90 * self.scales["legs"] + 0.03 * self.scales["hips"] + 0.82 * self.scales["trunk"]

    @property
    def thigh(self) -> float:
        """Metres from hip to knee."""
        return 0.43 * self.scales["legs"]

    @property
    def seat_height(self) -> float:
        """Metres from the floor to a seat that takes the thighs level."""
        return SOLE + 0.47 * self.scales["legs"] - 0.09 * self.girth


@dataclass(frozen=True)
class Timing:
    """Timing of an action in a clip.

    Attributes:
        num_frames: frames in the clip.
        period: frames in one cycle of a repeated movement.
        phase: where in the cycle the clip begins, in radians.
        start, end: start and end of a movement that is not repeated, as fractions of the clip.
    """

    num_frames: int
    period: float
    phase: float
    start: float
    end: float

    def cycle(self) -> np.ndarray:
        """Return the angle of the cycle in each frame (num_frames,), in radians."""
        return self.phase + 2 * np.pi * np.arange(self.num_frames) / self.period

    def progress(self) -> np.ndarray:
        """Return the progress in each frame (num_frames,), from 0 to 1, smooth at both ends."""
        clock = np.linspace(0, 1, self.num_frames)
        done = np.clip((clock - self.start) / (self.end - self.start), 0, 1)
        return done * done * (3 - 2 * done)


def make_body(rng: np.random.Generator) -> Body:
    """Draw the proportions and the way of moving of a person."""
    height = rng.uniform(0.90, 1.08)
    scales = {part: height * rng.uniform(0.94, 1.06) for part in PARTS}
    return Body(scales, girth=rng.uniform(0.9, 1.2), pace=rng.uniform(0.94, 1.06), vigour=rng.uniform(0.92, 1.06))


def make_timing(num_frames: int, body: Body, rng: np.random.Generator) -> Timing:
    """Draw the timing of a clip; a cycle takes at most 16 frames, so that a window of 16 shows a whole one."""
    period = min(16.0, body.pace * rng.uniform(12.5, 15.5))
    return Timing(
        num_frames, period, rng.uniform(0, 2 * np.pi), start=rng.uniform(0.05, 0.2), end=rng.uniform(0.8, 0.95)
    )


# The actions. Each takes a Timing and returns joint angles in degrees by name, a number or (num_frames,); 0 by default.
# flex: forward; abduct: sideways, away from the body; rotate: of the upper arm about its own axis, outward.


def _wave(timing: Timing) -> dict:
    swing = np.sin(timing.cycle())
    raised = {"right_arm_abduct": 80, "right_arm_rotate": 90, "right_elbow_flex": 85 + 48 * swing}
    return {**raised, "left_arm_abduct": 8, "left_elbow_flex": 10, "tilt": 4 * swing}


def _clap(timing: Timing) -> dict:
    apart = 0.5 - 0.5 * np.cos(timing.cycle())
    pose = {}
    for side in ("left", "right"):
        pose |= {f"{side}_arm_flex": 68, f"{side}_arm_abduct": -15 + 66 * apart, f"{side}_elbow_flex": 18}
    return pose


def _squat(timing: Timing) -> dict:
    down = 0.5 - 0.5 * np.cos(timing.cycle())
    pose = {"lean": 20 * down, "nod": -8 * down}
    for side in ("left", "right"):
        pose |= {f"{side}_leg_flex": 102 * down, f"{side}_knee_flex": 132 * down, f"{side}_leg_abduct": 10 * down}
        pose |= {f"{side}_arm_flex": 8 + 110 * down, f"{side}_arm_abduct": 8, f"{side}_elbow_flex": 10}
    return pose


def _jump(timing: Timing) -> dict:
    height = np.sin(timing.cycle())
    crouch, flight = np.clip(-height, 0, 1) ** 1.3, np.clip(height, 0, 1)
    pose = {"lean": 30 * crouch, "lift": 0.22 * flight}
    for side in ("left", "right"):
        pose |= {f"{side}_leg_flex": 45 * crouch, f"{side}_knee_flex": 80 * crouch, f"{side}_toe_down": 35 * flight}
        pose |= {f"{side}_arm_flex": 60 + 85 * height, f"{side}_arm_abduct": 12, f"{side}_elbow_flex": 12}
    return pose


def _kick(timing: Timing) -> dict:
    up = (0.5 - 0.5 * np.cos(timing.cycle())) ** 1.4
    leg = {"right_leg_flex": 95 * up, "right_knee_flex": 12 + 260 * up * (1 - up) ** 1.5, "right_toe_down": -50 * up}
    pose = {**leg, "lean": -14 * up, "left_knee_flex": 8, "left_leg_flex": 4}
    for side in ("left", "right"):
        pose |= {f"{side}_arm_abduct": 28, f"{side}_arm_flex": 12, f"{side}_elbow_flex": 60}
    return pose


def _punch(timing: Timing) -> dict:
    swing = np.sin(timing.cycle())
    pose = {"twist": -22 * swing, "lean": 6}
    for side, out in (("left", np.clip(swing, 0, 1) ** 0.8), ("right", np.clip(-swing, 0, 1) ** 0.8)):
        pose |= {f"{side}_arm_flex": 20 + 70 * out, f"{side}_elbow_flex": 130 - 125 * out, f"{side}_arm_abduct": 6}
        pose |= {f"{side}_leg_flex": 12 if side == "left" else -6, f"{side}_knee_flex": 14, f"{side}_leg_abduct": 6}
    return pose


def _bow(timing: Timing) -> dict:
    down = 0.5 - 0.5 * np.cos(timing.cycle())
    pose = {"lean": 82 * down, "nod": 18 * down}
    for side in ("left", "right"):
        pose |= {f"{side}_arm_flex": 50 * down, f"{side}_arm_abduct": 7, f"{side}_leg_flex": -8 * down}
    return pose


def _sit_down(timing: Timing) -> dict:
    down = timing.progress()
    pose = {"lean": 42 * np.sin(np.pi * down), "nod": -15 * np.sin(np.pi * down)}
    for side in ("left", "right"):
        pose |= {f"{side}_leg_flex": 90 * down, f"{side}_knee_flex": 90 * down, f"{side}_leg_abduct": 7 * down}
        pose |= {f"{side}_arm_flex": 32 * down, f"{side}_arm_abduct": 8, f"{side}_elbow_flex": 8 + 52 * down}
    return pose


def _walk_forward(timing: Timing) -> dict:
    cycle = timing.cycle()
    pose = {"travel": np.linspace(-0.2, TRAVEL - 0.2, timing.num_frames), "lean": 4, "twist": 7 * np.sin(cycle)}
    for side, step in (("left", cycle), ("right", cycle + np.pi)):
        pose |= {f"{side}_leg_flex": 6 + 28 * np.sin(step), f"{side}_knee_flex": 8 + 50 * np.clip(np.cos(step), 0, 1)}
        pose |= {f"{side}_arm_flex": -30 * np.sin(step), f"{side}_arm_abduct": 8, f"{side}_elbow_flex": 25}
    return pose


ACTIONS = {
    "Wave": _wave,
    "Clap": _clap,
    "SitDown": _sit_down,
    "StandUp": _sit_down,
    "WalkForward": _walk_forward,
    "WalkBackward": _walk_forward,
    "Squat": _squat,
    "Kick": _kick,
    "Punch": _punch,
    "Bow": _bow,
    "Jump": _jump,
}
# The action before it in ACTIONS, played backwards: the two differ only in the order of the frames.
REVERSED = {"StandUp", "WalkBackward"}


def animate(action: str, body: Body, timing: Timing, is_left_handed: bool = False) -> np.ndarray:
    """Animate an action.

    Returns:
        (num_frames, len(POINTS), 3) metres in body axes; all bones keep their lengths.
    """
    pose = ACTIONS[action](timing)
    points = _pose_points(body, {name: np.broadcast_to(angle, timing.num_frames) for name, angle in pose.items()})
    if is_left_handed:
        points = points[:, _mirror_indices()] * [-1, 1, 1]
    return points[::-1] if action in REVERSED else points


def _pose_points(body: Body, pose: dict) -> np.ndarray:
    """Compute the points (num_frames, len(POINTS), 3) of joint angles by forward kinematics, standing on the floor."""
    turns = _segment_turns(pose, body.vigour)
    positions = {"spine_base": np.zeros((len(turns["pelvis"]), 3))}
    for name, (parent, segment, part, offset) in _all_bones().items():
        positions[name] = positions[parent] + turns[segment] @ (body.scales[part] * np.array(offset))
    points = np.stack([positions[name] for name in POINTS], axis=1)
    feet = [POINTS.index(name) for name in ("left_foot", "right_foot", "left_ankle", "right_ankle")]
    points[..., 1] += (SOLE + pose.get("lift", 0) - points[:, feet, 1].min(axis=1))[:, None]
    # The left foot stays in place in every action but walking, where the trunk moves evenly.
    forward = pose.get("travel", -points[:, POINTS.index("left_ankle"), 2])
    points[..., 2] += forward[:, None]
    return points


def _all_bones() -> dict:
    """Return `BONES` with the right side."""
    mirror = {
        name.replace("left", "right"): (
            parent.replace("left", "right"),
            segment.replace("left", "right"),
            part,
            (-x, y, z),
        )
        for name, (parent, segment, part, (x, y, z)) in BONES.items()
        if name.startswith("left_")
    }
    return {**BONES, **mirror}


def _segment_turns(pose: dict, vigour: float) -> dict:
    """Return the rotation matrices (num_frames, 3, 3) of each segment from its rest position."""
    num_frames = len(next(iter(pose.values())))

    def turn(axis: str, name: str, sign: int = 1) -> np.ndarray:
        return _rotation(axis, sign * vigour * pose.get(name, np.zeros(num_frames)))

    turns = {"pelvis": turn("x", "none")}
    turns["spine"] = turn("x", "lean") @ turn("z", "tilt")
    turns["chest"] = turns["spine"] @ turn("y", "twist")
    turns["head"] = turns["chest"] @ turn("x", "nod")
    for side, sign in (("left", 1), ("right", -1)):
        arm = turns["chest"] @ turn("x", f"{side}_arm_flex", -1) @ turn("z", f"{side}_arm_abduct", sign)
        turns[f"{side}_upper_arm"] = arm @ turn("y", f"{side}_arm_rotate", sign)
        turns[f"{side}_forearm"] = turns[f"{side}_upper_arm"] @ turn("x", f"{side}_elbow_flex", -1)
        turns[f"{side}_thigh"] = turn("x", f"{side}_leg_flex", -1) @ turn("z", f"{side}_leg_abduct", sign)
        turns[f"{side}_shank"] = turns[f"{side}_thigh"] @ turn("x", f"{side}_knee_flex")
        turns[f"{side}_foot"] = turn("x", f"{side}_toe_down")
    return turns


def _rotation(axis: str, degrees: np.ndarray) -> np.ndarray:
    """Return right-handed rotations (T, 3, 3) about an axis by degrees (T,)."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrices = np.tile(np.eye(3), (len(degrees), 1, 1))
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrices[:, first, first], matrices[:, second, second] = cos, cos
    matrices[:, first, second], matrices[:, second, first] = -sin, sin
    return matrices


def _mirror_indices() -> list[int]:
    swap = {"left": "right", "right": "left"}
    sides = [name.partition("_") for name in POINTS]
    return [POINTS.index(swap.get(side, side) + line + rest) for side, line, rest in sides]
