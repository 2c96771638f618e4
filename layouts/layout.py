"""What a layout of joints is."""

from dataclasses import dataclass

BODY_PARTS = {  # number of parts: what each of them is made of, as in PB-GCN
    2: (("head", "torso"), ("left_arm", "right_arm", "left_leg", "right_leg")),
    4: (("head",), ("left_arm", "right_arm"), ("torso",), ("left_leg", "right_leg")),
    6: (("head",), ("left_arm",), ("right_arm",), ("torso",), ("left_leg",), ("right_leg",)),
}


@dataclass(frozen=True)
class Layout:
    """A set of joints and how they are connected; indices are positions in `joints`, from 0.

    Attributes:
        name: name of its file.
        joints: names in the order of the data arrays.
        parents: the parent of each joint on the way to the root, where its bone starts; that of the root is the root.
        pairs: (left, right) joints that are swapped when a body is mirrored.
        edges: the graph that networks see, as (joint, next joint inward); the bones unless the file says otherwise.
        centre: the joint from which ST-GCN's spatial strategy counts.
        parts: the edges of each body part, by its name.
        reference_joints: the joints that PB-GCN takes coordinates relative to.
        vector_edges: (joint, joint that InfoGCN subtracts from it); the bones unless the file says otherwise.
        hierarchies: HD-GCN's groups of joints, outward from a single one, by the name of that joint.
        partition: groups of joints of one size, in the order in which SkateFormer takes them; or empty. A joint may be
            in none.
        positions: (x, y) of each joint in a drawing from the front, in percent, y downwards; or empty.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    edges: tuple[tuple[int, int], ...]
    centre: int
    parts: dict[str, tuple[tuple[int, int], ...]]
    reference_joints: tuple[int, ...]
    vector_edges: tuple[tuple[int, int], ...]
    hierarchies: dict[str, tuple[tuple[int, ...], ...]]
    partition: tuple[tuple[int, ...], ...]
    positions: tuple[tuple[float, float], ...]

    @property
    def num_joints(self) -> int:
        """The number of joints, V."""
        return len(self.joints)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """The bones as (joint, parent), in joint order; the root has none."""
        return tuple((joint, parent) for joint, parent in enumerate(self.parents) if joint != parent)

    def sort_outward(self) -> list[int]:
        """All joints, each after its parent, the root first."""
        order = [joint for joint, parent in enumerate(self.parents) if joint == parent]
        while len(order) < self.num_joints:
            order += [joint for joint, parent in self.bones if parent in order and joint not in order]
        return order

    def mirror_indices(self) -> list[int]:
        """The joint order of the mirrored body: `keypoint[..., mirror_indices, :]` swaps left and right."""
        order = list(range(self.num_joints))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return order

    def group_parts(self, num_parts: int) -> list[tuple[tuple[int, int], ...]]:
        """The edges of each of 2, 4 or 6 body parts, or of as many as the layout names.

        Two parts are the axis (head, torso) and the limbs, four are head, arms, torso, legs.

        Raises:
            ValueError: the layout has no such division.
        """
        if num_parts == len(self.parts):
            return list(self.parts.values())
        groups = BODY_PARTS.get(num_parts, ())
        if not groups or any(part not in self.parts for group in groups for part in group):
            raise ValueError(
                f"layout '{self.name}': no division into {num_parts} parts, it names "
                f"{', '.join(self.parts) or 'none'}; give its file the parts {', '.join(sum(BODY_PARTS[6], ()))}"
            )
        return [sum((self.parts[part] for part in group), ()) for group in groups]

    def find_hierarchy(self, number: int) -> tuple[tuple[int, ...], ...]:
        """The hierarchy around a joint, which is counted from 1 as by the authors of HD-GCN.

        Raises:
            ValueError: the layout has none around that joint.
        """
        numbers = {self.joints.index(name) + 1: name for name in self.hierarchies}
        if number not in numbers:
            known = ", ".join(f"{joint} ({name})" for joint, name in sorted(numbers.items()))
            raise ValueError(
                f"layout '{self.name}': no hierarchy around joint {number}, counted from 1 (it has those around: "
                f"{known or 'none'}); choose one of them, or give its file `hierarchies`"
            )
        return self.hierarchies[numbers[number]]
