"""Drawing of the sample data's figure: camera, clothes, a plain room, and frames."""

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from tools.samples.figure import POINTS, Body

# part: (material, nearer, discs). A part is the convex hull of discs (point, radius in metres); parts farther from the
# camera are drawn first; `nearer` moves a part towards it by metres, so that parts at one depth have a fixed order.
PARTS = {
    "hips": ("trousers", 0.00, (("left_hip", 0.10), ("right_hip", 0.10), ("spine_base", 0.10))),
    "torso": (
        "shirt",
        0.05,
        (("left_shoulder", 0.07), ("right_shoulder", 0.07), ("left_hip", 0.09), ("right_hip", 0.09)),
    ),
    "neck": ("skin", 0.06, (("spine_shoulder", 0.05), ("head", 0.05))),
    "crown": ("hair", 0.07, (("crown", 0.115),)),
    "face": ("skin", 0.07, (("face", 0.105),)),
    "left_upper_arm": ("shirt", 0.08, (("left_shoulder", 0.065), ("left_elbow", 0.052))),
    "left_forearm": ("skin", 0.09, (("left_elbow", 0.048), ("left_wrist", 0.038))),
    "left_hand": ("skin", 0.10, (("left_wrist", 0.042), ("left_hand", 0.05), ("left_hand_tip", 0.035))),
    "left_thigh": ("trousers", 0.03, (("left_hip", 0.095), ("left_knee", 0.068))),
    "left_shank": ("trousers", 0.02, (("left_knee", 0.066), ("left_ankle", 0.048))),
    "left_foot": ("shoes", 0.03, (("left_ankle", 0.05), ("left_foot", 0.045))),
}
PARTS |= {
    name.replace("left", "right"): (
        material,
        nearer,
        tuple((point.replace("left", "right"), size) for point, size in discs),
    )
    for name, (material, nearer, discs) in PARTS.items()
    if name.startswith("left_")
}
SHIFT = 4  # drawing coordinates have this many binary places
DISC = np.stack([np.cos(np.linspace(0, 2 * np.pi, 20)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 20)[:-1])], axis=1)
WALL_Z = -1.3  # metres behind the performer


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the performer from `yaw` degrees to the side and `pitch` degrees above.

    Attributes:
        distance: metres to `target`.
        target: point in the center of the view, in body axes.
        focal: focal length in pixels.
        centre: (x, y) pixel where the target appears.
    """

    yaw: float
    pitch: float
    distance: float
    target: tuple[float, float, float]
    focal: float
    centre: tuple[float, float]

    def view(self, points: np.ndarray) -> np.ndarray:
        """Map body axes (..., 3) to camera axes of NTU RGB+D (..., 3): x right, y up, z forward; metres."""
        yaw, pitch = np.radians(self.yaw), np.radians(self.pitch)
        x, y, z = np.moveaxis(points - np.array(self.target), -1, 0)
        x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        y, z = y * np.cos(pitch) - z * np.sin(pitch), z * np.cos(pitch) + y * np.sin(pitch)
        return np.stack([x, y, self.distance - z], axis=-1)

    def project(self, seen: np.ndarray) -> np.ndarray:
        """Map camera axes (..., 3) to pixels (..., 2): x right, y down, (0, 0) in the middle of the first pixel."""
        scale = self.focal / seen[..., 2]
        return np.stack([self.centre[0] + scale * seen[..., 0], self.centre[1] - scale * seen[..., 1]], axis=-1)


@dataclass(frozen=True)
class Scene:
    """Look of a clip without the figure; `noise` is 16 pixels larger than a frame in both directions."""

    camera: Camera
    background: np.ndarray
    shadow: tuple[float, float, float]
    noise: np.ndarray


def make_clothes(rng: np.random.Generator) -> dict:
    """Draw the colors of a person, BGR from 0 to 255, by material; clothes are never pale or of the color of skin."""
    tone = rng.uniform(0, 1)
    return {
        "skin": _bgr(rng.uniform(0.05, 0.08), 0.35 + 0.25 * tone, 0.92 - 0.40 * tone),
        "hair": _bgr(rng.uniform(0.03, 0.1), rng.uniform(0.2, 0.6), rng.uniform(0.1, 0.35)),
        "shirt": _bgr(rng.uniform(0.25, 0.97), rng.uniform(0.6, 0.9), rng.uniform(0.45, 0.75)),
        "trousers": _bgr(rng.uniform(0.25, 0.97), rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.42)),
        "shoes": _bgr(rng.uniform(0, 1), rng.uniform(0.1, 0.5), rng.uniform(0.12, 0.3)),
    }


def make_scene(width: int, height: int, body: Body, rng: np.random.Generator) -> Scene:
    """Draw a camera and a room for a clip; a standing performer fills two thirds of the picture's height."""
    size = min(width, height)
    camera = Camera(
        yaw=rng.choice([-1, 1]) * rng.uniform(10, 30),
        pitch=rng.uniform(4, 14),
        distance=body.height * rng.uniform(1.95, 2.2),
        target=(rng.uniform(-0.08, 0.08), 0.61 * body.height + rng.uniform(-0.04, 0.04), 0.15),
        focal=0.68 * 2.05 * size,
        centre=((width - 1) / 2, (height - 1) / 2),
    )
    wall = _bgr(rng.uniform(0, 1), rng.uniform(0.02, 0.08), rng.uniform(0.78, 0.92))
    floor = _bgr(rng.uniform(0.04, 0.14), rng.uniform(0.06, 0.18), rng.uniform(0.58, 0.70))
    seat = _bgr(rng.uniform(0.04, 0.12), rng.uniform(0.15, 0.35), rng.uniform(0.45, 0.58))
    background = _draw_room(camera, width, height, wall, floor)
    _draw_stool(background, camera, body, seat)
    noise = rng.normal(0, 1.5, (height + 16, width + 16, 3)).round().astype(np.int16)
    return Scene(camera, background, tuple(0.75 * value for value in floor), noise)


def draw_frames(
    points: np.ndarray, body: Body, clothes: dict, scene: Scene, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the frames of a clip.

    Args:
        points: (T, len(POINTS), 3) in body axes.

    Yields:
        (height, width, 3) uint8 BGR.
    """
    seen = scene.camera.view(points)
    outlines = _outline_parts(seen, body, scene.camera)
    depths = np.stack([_depth_of(seen, discs) - nearer for _, nearer, discs in PARTS.values()], axis=1)
    colours = _shade_parts(depths - seen[:, :1, 2], clothes)
    shadows = _outline_shadow(points, scene.camera)
    height, width = scene.background.shape[:2]
    for frame, order in enumerate(np.argsort(-depths, axis=1, kind="stable")):
        image = scene.background.copy()
        cv2.fillConvexPoly(image, shadows[frame], scene.shadow, cv2.LINE_AA, SHIFT)
        for part in order:
            hull, colour = cv2.convexHull(outlines[part][frame]), colours[frame, part]
            cv2.fillConvexPoly(image, hull, colour.tolist(), cv2.LINE_AA, SHIFT)
            cv2.polylines(image, [hull], True, (0.6 * colour).tolist(), 1, cv2.LINE_AA, SHIFT)
        top, left = rng.integers(0, 17, 2)
        yield cv2.add(image, scene.noise[top : top + height, left : left + width], dtype=cv2.CV_8U)


def _bgr(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return 255 * blue, 255 * green, 255 * red


def _fixed_point(pixels: np.ndarray) -> np.ndarray:
    return np.round(pixels * (1 << SHIFT)).astype(np.int32)


def _depth_of(seen: np.ndarray, discs: tuple) -> np.ndarray:
    return seen[:, [POINTS.index(point) for point, _ in discs], 2].mean(axis=1)


def _outline_parts(seen: np.ndarray, body: Body, camera: Camera) -> list[np.ndarray]:
    """Return fixed-point pixels (T, points, 2) on the rims of the discs of each part."""
    pixels, scale = camera.project(seen), camera.focal / seen[..., 2]
    outlines = []
    for name, (_, _, discs) in PARTS.items():
        girth = 1 if name in ("crown", "face") else body.girth
        rims = []
        for point, size in discs:
            index = POINTS.index(point)
            rims.append(pixels[:, None, index] + girth * size * scale[:, None, index, None] * DISC)
        outlines.append(_fixed_point(np.concatenate(rims, axis=1)))
    return outlines


def _outline_shadow(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Return fixed-point pixels (T, points, 2) of a disc on the floor under the hips."""
    on_floor = points[:, :1] * [1, 0, 1] + 0.3 * np.insert(DISC, 1, 0, axis=1)
    return _fixed_point(camera.project(camera.view(on_floor)))


def _shade_parts(behind: np.ndarray, clothes: dict) -> np.ndarray:
    """Return the colors (T, parts, 3) of parts by their metres behind the hips (T, parts); nearer ones are brighter."""
    brightness = np.clip(1 - 0.5 * behind, 0.7, 1.3)
    base = np.array([clothes[material] for material, _, _ in PARTS.values()])
    return np.clip(brightness[..., None] * base, 0, 255)


def _draw_room(camera: Camera, width: int, height: int, wall: tuple, floor: tuple) -> np.ndarray:
    """Draw a wall, darker towards the floor, and the floor."""
    fall = np.linspace(1.05, 0.92, height)[:, None, None]
    image = np.clip(np.tile(fall * np.array(wall), (1, width, 1)), 0, 255).astype(np.uint8)
    left, right = camera.project(camera.view(np.array([(-0.5, 0, WALL_Z), (0.5, 0, WALL_Z)])))
    edge = np.stack([left - 6 * (right - left), right + 6 * (right - left)])  # a straight line stays straight
    corners = np.concatenate([edge, [(4 * width, 4 * height), (-3 * width, 4 * height)]])
    cv2.fillConvexPoly(image, _fixed_point(corners), floor, cv2.LINE_AA, SHIFT)
    return image


def _draw_stool(image: np.ndarray, camera: Camera, body: Body, colour: tuple) -> None:
    """Draw the stool of SitDown and StandUp behind the performer; all clips have it."""
    back, front = -body.thigh - 0.22, -body.thigh + 0.12
    plan = [(-0.23, back), (0.23, back), (0.23, front), (-0.23, front)]
    top = np.array([(x, body.seat_height, z) for x, z in plan])
    bottom = top * [1, 0, 1]
    for corners, brightness in ((np.concatenate([top, bottom]), 0.8), (top, 1.1)):
        hull = cv2.convexHull(_fixed_point(camera.project(camera.view(corners))))
        cv2.fillConvexPoly(image, hull, [brightness * value for value in colour], cv2.LINE_AA, SHIFT)
