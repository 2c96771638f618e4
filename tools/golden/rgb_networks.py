"""Read the arguments of RGB networks from golden files, which have them in the authors' terms."""

HARA_NAMES = {  # authors' name -> ours, where they differ
    "resnet2p1d": "r2plus1d",
    "n_classes": "num_classes",
    "n_input_channels": "in_channels",
    "shortcut_type": "shortcut",
}
MMACTION2_BACKBONES = {  # class of a backbone -> name in `MODELS`
    "ResNet3dSlowOnly": "slowonly",
    "ResNetTSM": "tsm",
    "ResNet3d": "i3d",
    "ResNet2Plus1d": "mmaction2_r2plus1d",
}
HARA_CONSTANTS = (
    "family",
    "block_config",
    "bn_size",
    "drop_rate",
)  # follow from the depth or never differ


def read_3d_resnets(golden: dict) -> tuple:
    """Read a file of Hara et al.'s repository."""
    config = golden["config"]
    arguments = {HARA_NAMES.get(key, key): value for key, value in config.items() if key not in HARA_CONSTANTS}
    return HARA_NAMES.get(config["family"], config["family"]), arguments


def read_mmaction2(golden: dict) -> tuple:
    """Read a file of MMAction2: a recognizer; a SlowOnly or TSM one may have the neck of TPN."""
    model = golden["config"]["model"]
    if model["backbone"]["type"] == "ResNet3dSlowFast":
        return _read_slowfast(model)
    backbone = MMACTION2_BACKBONES[model["backbone"]["type"]]
    name, arguments = _read_recognizer(model, backbone, shift="residual", has_neck="neck" in model)
    if name == "tpn":
        neck = model["neck"]
        arguments |= {
            "temporal_scales": neck["temporal_modulation_cfg"]["downsample_scales"],
            "upsample_scale": neck["upsample_cfg"]["scale_factor"],
            "downsample_scale": neck["downsample_cfg"]["downsample_scale"],
            "fusion_scales": neck["level_fusion_cfg"]["downsample_scales"],
            "flow": neck.get("flow_type", "cascade"),
            "aux_weight": neck["aux_head_cfg"]["loss_weight"],
        }
    return name, arguments


def _read_slowfast(model):
    backbone = model["backbone"]
    slow = backbone["slow_pathway"]
    arguments = {"depth": slow["depth"], "fusion_kernel": slow.get("fusion_kernel", 5)}
    ratios = {key: backbone[key] for key in ("speed_ratio", "channel_ratio")}
    return "slowfast", {"num_classes": model["cls_head"]["num_classes"], **arguments, **ratios}


def read_tpn(golden: dict) -> tuple:
    """Read a file of the TPN repository, whose TSM shifts in place."""
    model = golden["config"]["model"]
    backbone = "tsm" if model["backbone"].get("tsm") else "slowonly"
    name, arguments = _read_recognizer(model, backbone, shift="inplace", has_neck="necks" in model)
    if name == "tpn":
        neck = model["necks"]
        arguments |= {
            "temporal_scales": neck["temporal_modulation_config"]["scales"],
            "upsample_scale": neck["upsampling_config"]["scale"],
            "downsample_scale": neck["downsampling_config"]["scales"],
            "fusion_scales": neck["level_fusion_config"]["ds_scales"],
            "aux_weight": neck["aux_head_config"]["loss_weight"],
        }
    return name, arguments


def _read_recognizer(model, backbone, shift, has_neck):
    arguments = {"num_classes": model["cls_head"]["num_classes"], "depth": model["backbone"]["depth"]}
    if backbone == "tsm":
        arguments["shift"] = shift
    return ("tpn", {**arguments, "backbone": backbone}) if has_neck else (backbone, arguments)


READERS = {  # repository, as in a network's WEIGHT_SOURCES -> function from a file to (name in `MODELS`, arguments)
    "3d-resnets-pytorch": read_3d_resnets,
    "mmaction2": read_mmaction2,
    "tpn": read_tpn,
}
