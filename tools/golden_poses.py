"""What the golden files of networks for heat maps say in their authors' words, in ours."""

FORKS = {"pcannetwork": "pcan"}  # repository: the one whose layers it has
STRIDES = ("conv1_stride", "pool1_stride")  # pairs (in space, in time) in PYSKL, two keys in MMAction2
OURS = ("in_channels", "base_channels", "stage_blocks", "inflate", "spatial_strides", "temporal_strides")


def read(golden: dict) -> tuple:
    """Describe a file that has `backbone_args`, whatever the repository: (name in `MODELS`, arguments)."""
    backbone, head = golden["reference"]["backbone_args"], golden["reference"]["head_args"]
    if "rgb_pathway" not in backbone:
        return "posec3d", {"num_classes": head["num_classes"], **{key: backbone[key] for key in OURS}}
    raise NotImplementedError
