"""Read the arguments of PaddleVideo's networks from golden files, which have them in its config's terms."""

LAYOUTS = {"fsd10": "openpose25", "ntu-rgb+d": "ntu25", "coco_keypoint": "coco17_paddlevideo", "ntu_rgb_d": "ntu25"}


def read_paddlevideo(golden: dict) -> tuple:
    """Return (name in `MODELS`, arguments) of a file."""
    entry, axes = golden["reference"]["entry"], golden["input"].get("shape")
    backbone, head = entry["backbone"], entry["head"]
    name, arguments = BACKBONES[backbone["name"]](backbone, head)
    if entry["framework"] == "RecognizerGCN":
        arguments |= {"in_channels": axes[1], "num_persons": axes[4]}
    return name, {"num_classes": head["num_classes"], **arguments}


def _read_stgcn(backbone, _head):
    return "stgcn", {"layout": LAYOUTS[backbone.get("layout", "fsd10")], "dropout": backbone.get("dropout", 0.0)}


def _read_agcn(_backbone, _head):
    return "paddlevideo_agcn", {}


def _read_agcn2s(backbone, _head):
    return "agcn", {"layout": LAYOUTS[backbone["graph"]]}


def _read_ctrgcn(backbone, head):
    return "ctrgcn", {"layout": LAYOUTS[backbone["graph"]], "dropout": float(head["drop_out"])}


def _read_posec3d(backbone, head):
    keys = ("in_channels", "base_channels", "stage_blocks", "inflate")
    return "posec3d", {**{key: backbone[key] for key in keys}, "dropout_ratio": head["drop_ratio"]}


def _read_tsm(backbone, head):
    return "tsm", {"depth": backbone["depth"], "shift": "paddlevideo", "dropout_ratio": head["drop_ratio"]}


def _read_pptsm(backbone, head):
    return "pptsm", {"depth": backbone["depth"], "dropout_ratio": head["drop_ratio"]}


def _read_slowfast(backbone, head):
    ratios = {"speed_ratio": backbone["alpha"], "channel_ratio": backbone["beta"]}
    arguments = {"depth": backbone["depth"], **ratios, "fusion_kernel": backbone["fusion_kernel_sz"]}
    return "slowfast", {**arguments, "variant": "paddlevideo", "dropout_ratio": head["dropout_rate"]}


BACKBONES = {  # class of a backbone -> function from its config and the head's to (name in `MODELS`, arguments)
    "STGCN": _read_stgcn,
    "AGCN": _read_agcn,
    "AGCN2s": _read_agcn2s,
    "CTRGCN": _read_ctrgcn,
    "ResNet3dSlowOnly": _read_posec3d,
    "ResNetTSM": _read_tsm,
    "ResNetTweaksTSM": _read_pptsm,
    "ResNetSlowFast": _read_slowfast,
}
