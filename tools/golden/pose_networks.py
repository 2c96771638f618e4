"""Read the arguments of heat map networks from golden files, which have them in the authors' terms."""

FORKS = {"pcanetwork": "pcan"}  # repository -> the one in WEIGHT_SOURCES whose layers it has
PYSKL_KEYS = {  # of its small networks: what ours take too
    "C3D": ("in_channels", "base_channels"),
    "X3D": ("in_channels", "base_channels", "stage_blocks", "spatial_strides"),
}
SHARED_KEYS = ("in_channels", "base_channels", "stage_blocks", "inflate", "spatial_strides", "temporal_strides")
HEAD_KEYS = ("num_classes", "num_coarse_classes", "loss_components", "loss_weights")


def read_arguments(golden: dict) -> tuple:
    """Read a file that has `backbone_args`, whatever its repository: (name in `MODELS`, arguments)."""
    backbone, head = golden["reference"]["backbone_args"], golden["reference"]["head_args"]
    network = golden["reference"]["entry"].split()[0].removeprefix("pyskl.models.cnns.")
    if network in PYSKL_KEYS:
        arguments = {key: backbone[key] for key in PYSKL_KEYS[network]}
        return network.lower(), {"num_classes": head["num_classes"], "dropout_ratio": head["dropout"], **arguments}
    if "rgb_pathway" not in backbone:
        return "posec3d", {"num_classes": head["num_classes"], **{key: backbone[key] for key in SHARED_KEYS}}
    arguments = {key: value for key, value in backbone.items() if not key.endswith("_pathway")}
    for modality in ("rgb", "pose"):
        arguments.update({f"{modality}_{key}": value for key, value in backbone[f"{modality}_pathway"].items()})
    arguments.update({key: head[key] for key in HEAD_KEYS if key in head}, head_in_channels=head["in_channels"])
    groups = golden["constants"].get("coarse_of_fine")
    if groups is None:
        return "rgbposeconv3d", arguments
    return "pcan", {**arguments, "coarse_groups": groups, "as_published": True}
