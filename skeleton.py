"""The one home of joint names, bones and left-right pairs: `LAYOUTS` holds every joint layout by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """A set of joints and the tree that ties them together; indices are positions in `joints`, from 0.

    Attributes:
        joints: names in the order of the data arrays.
        parents: the parent of each joint on the way to the root; the root is its own parent.
        pairs: (left, right) joints that change places when a body is mirrored.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def num_joints(self) -> int:
        """The number of joints, V."""
        return len(self.joints)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The bones as (joint, parent), in joint order; the root has none."""
        return [(joint, parent) for joint, parent in enumerate(self.parents) if joint != parent]

    def mirror_indices(self) -> list[int]:
        """The joint order of the mirrored body: `keypoint[..., mirror_indices, :]` swaps left and right."""
        order = list(range(self.num_joints))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return order


# Kinect v2 joints as in NTU RGB+D (Shahroudy et al., CVPR 2016); the tree is the one of 2s-AGCN, MS-G3D and CTR-GCN:
# rooted between the shoulders, a hand tip hanging from the thumb.
NTU25 = Layout(
    joints=(
        "spine_base", "spine_mid", "neck", "head",
        "left_shoulder", "left_elbow", "left_wrist", "left_hand",
        "right_shoulder", "right_elbow", "right_wrist", "right_hand",
        "left_hip", "left_knee", "left_ankle", "left_foot",
        "right_hip", "right_knee", "right_ankle", "right_foot",
        "spine_shoulder", "left_hand_tip", "left_thumb", "right_hand_tip", "right_thumb",
    ),
    parents=(1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11),
    pairs=((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24)),
)  # fmt: skip

# COCO key points (Lin et al., ECCV 2014); the tree is PYSKL's graph: rooted at the nose, hips hanging from shoulders.
COCO17 = Layout(
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    parents=(0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
)  # fmt: skip

LAYOUTS = {"ntu25": NTU25, "coco17": COCO17}
