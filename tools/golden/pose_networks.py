"""What the golden files of networks for heat maps say in their authors' words, in ours."""

FORKS = {"pcanetwork": "pcan"}  # repository: the one whose layers it has
OURS = ("in_channels", "base_channels", "stage_blocks", "inflate", "spatial_strides", "temporal_strides")
HEAD = ("num_classes", "num_coarse_classes", "loss_components", "loss_weights")


def read(golden: dict) -> tuple:
    """Describe a file that has `backbone_args`, whatever the repository: (name in `MODELS`, arguments)."""
    backbone, head = golden["reference"]["backbone_args"], golden["reference"]["head_args"]
    if "rgb_pathway" not in backbone:
        return "posec3d", {"num_classes": head["num_classes"], **{key: backbone[key] for key in OURS}}
    arguments = {key: value for key, value in backbone.items() if not key.endswith("_pathway")}
    for modality in ("rgb", "pose"):
        arguments.update({f"{modality}_{key}": value for key, value in backbone[f"{modality}_pathway"].items()})
    arguments.update({key: head[key] for key in HEAD if key in head}, head_in_channels=head["in_channels"])
    groups = golden["constants"].get("coarse_of_fine")
    if groups is None:
        return "rgbposeconv3d", arguments
    return "pcan", {**arguments, "coarse_groups": groups, "as_published": True}
