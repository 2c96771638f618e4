"""Tiny raw skeletons for the tests: what they must become is known by hand."""

import numpy as np


def write_ntu(path, frames, joint_tail="250.1 180.2 960.3 540.4 0.1 0.2 0.3 0.4 2", line_end="\n"):
    """Write a `.skeleton` file; a frame is a list of (body id, (25, 3) metres), printed to four decimals."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body_id, joints in bodies:
            lines += [f"{body_id} 0 1 1 1 1 0 0.000000 -0.12 2", "25"]
            lines += [f"{x:.4f} {y:.4f} {z:.4f} {joint_tail}" for x, y, z in joints]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((line_end.join(lines) + line_end).encode())
    return path


def draw_person(num_frames, seed=0, num_axes=3, num_joints=25):
    """Draw a person that moves: (T, V, C), four decimals, never zero."""
    rng = np.random.default_rng(seed)
    steps = rng.uniform(-0.01, 0.01, (num_frames, 1, num_axes)).cumsum(axis=0)
    return np.round(rng.uniform(0.1, 0.9, (num_joints, num_axes)) + steps, 4)
