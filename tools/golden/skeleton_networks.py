"""Read the arguments of skeleton networks from golden files, which have them in the authors' terms."""

LAYOUTS = {"ntu-rgb+d": "ntu25", "nturgb+d": "ntu25_star", "openpose": "openpose18", "coco": "coco17"}
STRATEGIES = {"stgcn_spatial": "spatial", "spatial": "inward_outward"}  # PYSKL's names


def read_st_gcn(golden: dict) -> tuple:
    """Read a file of Yan et al.'s repository, in one stream or two."""
    entry = golden["reference"]["entry"]
    graph = entry["graph_args"]
    arguments = {
        "num_classes": entry["num_class"],
        "layout": LAYOUTS[graph["layout"]],
        "strategy": graph["strategy"],
        "max_hop": graph.get("max_hop", 1),
        "adaptive": "importance" if entry["edge_importance_weighting"] else "none",
        "two_stream": "twostream" in entry["class"],
    }
    return "stgcn", arguments


def read_ctr_gcn(golden: dict) -> tuple:
    """Read a file of Y. Chen et al.'s repository."""
    entry = golden["reference"]["entry"]
    arguments = _read_input(entry, {25: "ntu25", 20: "ucla20"})
    return "ctrgcn", {**arguments, "dropout": float(entry["drop_out"]), "learn_adjacency": entry["adaptive"]}


def read_ms_g3d(golden: dict) -> tuple:
    """Read a file of Z. Liu et al.'s repository."""
    entry = golden["reference"]["entry"]
    scales = {key: entry[key] for key in ("num_gcn_scales", "num_g3d_scales")}
    return "msg3d", {**_read_input(entry, {25: "ntu25", 18: "openpose18"}), **scales}


def _read_input(entry, layouts):
    """Read what a network takes and how many classes it has; `layouts` are those by the number of joints."""
    return {
        "num_classes": entry["num_class"],
        "layout": layouts[entry["num_point"]],
        "in_channels": entry["in_channels"],
        "num_persons": entry["num_person"],
    }


def read_pyskl(golden: dict) -> tuple:
    """Read a file of PYSKL: a backbone with a linear classifier."""
    config = golden["reference"]["entry"]["model_cfg"]
    backbone = config["backbone"]
    name, arguments = PYSKL_BACKBONES[backbone["type"]](backbone)
    layout = LAYOUTS[backbone["graph_cfg"]["layout"]]
    return name, {"num_classes": config["cls_head"]["num_classes"], "layout": layout, **arguments}


def _read_pyskl_stgcn(backbone):
    if backbone.get("tcn_type") == "mstcn":
        return "stgcnpp", {}
    return "stgcn", {
        "strategy": STRATEGIES[backbone["graph_cfg"]["mode"]],
        "adaptive": backbone.get("gcn_adaptive", "importance"),
        "conv_pos": backbone.get("gcn_conv_pos", "pre"),
        "gcn_residual": backbone.get("gcn_with_res", False),
        "per_person_norm": backbone.get("data_bn_type", "VC") == "MVC",
    }


def _read_pyskl_ctrgcn(_backbone):
    return "ctrgcn", {"aggregation": "columns", "temporal_relu": True}


def _read_pyskl_msg3d(_backbone):
    return "msg3d", {"normalization": "column"}


def _read_pyskl_dgstgcn(backbone):
    return "dgstgcn", {"num_graphs": backbone["graph_cfg"]["num_filter"]}


def _read_pyskl_aagcn(backbone):
    return "agcn", {"topology": "gated", "attention": backbone.get("gcn_attention", True)}


PYSKL_BACKBONES = {  # class of a backbone -> function from its config to (name in `MODELS`, arguments)
    "STGCN": _read_pyskl_stgcn,
    "DGSTGCN": _read_pyskl_dgstgcn,
    "AAGCN": _read_pyskl_aagcn,
    "CTRGCN": _read_pyskl_ctrgcn,
    "MSG3D": _read_pyskl_msg3d,
}


def read_protogcn(golden: dict) -> tuple:
    """Read a file of H. Liu et al.'s repository; its graphs are learnt, so that only the number of joints matters."""
    config = golden["reference"]["entry"]["model_cfg"]
    backbone = config["backbone"]
    return "protogcn", {
        "num_classes": config["cls_head"]["num_classes"],
        "layout": {"nturgb+d": "ntu25", "coco_new": "ucla20"}[backbone["graph_cfg"]["layout"]],
        "num_graphs": backbone["graph_cfg"]["num_filter"],
        "num_prototypes": backbone["num_prototype"],
        "contrastive_weight": config["cls_head"]["weight"],
    }


def read_hd_gcn(golden: dict) -> tuple:
    """Read a file of J. Lee et al.'s repository."""
    entry = golden["reference"]["entry"]
    return "hdgcn", {**_read_input(entry, {25: "ntu25", 20: "ucla20"}), "com": entry["graph_args"]["CoM"]}


def read_degcn(golden: dict) -> tuple:
    """Read a file of Myung et al.'s repository."""
    entry = golden["reference"]["entry"]
    arguments = {**_read_input(entry, {25: "ntu25", 20: "ucla20"}), "num_streams": entry["num_stream"]}
    return "degcn", {**arguments, "num_samples": entry["eta"]}


def read_skateformer(golden: dict) -> tuple:
    """Read a file of Do and Kim's repository."""
    entry = golden["reference"]["entry"]
    fixed = entry["fixed_in_code"]
    return "skateformer", {
        "num_classes": entry["num_classes"],
        "layout": {24: "ntu25_skateformer", 20: "ucla20"}[entry["num_points"]],
        "in_channels": fixed["in_channels"],
        "num_persons": entry["num_people"],
        "num_frames": fixed["num_frames"],
        "channels": fixed["channels"],
        "num_blocks": fixed["depths"],
        "num_heads": entry["num_heads"],
        "kernel_size": entry["kernel_size"],
        "partition_sizes": [entry[f"type_{kind}_size"] for kind in range(1, 5)],
        "mlp_ratio": entry["mlp_ratio"],
        "time_index": entry["index_t"],
        "relative_bias": entry["rel"],
        "attention_dropout": entry["attn_drop"],
        "drop_path": entry["drop_path"],
    }


def read_pb_gcn(golden: dict) -> tuple:
    """Read a file of Thakkar's repository."""
    entry = golden["reference"]["entry"]
    arguments = {
        "num_classes": entry["num_class"],
        "layout": {25: "ntu25", 31: "hdm05"}[entry["num_joints"]],
        "in_channels": entry["channel"],
        "num_persons": entry["num_actors"],
        "labeling_mode": entry["graph_args"]["labeling_mode"],
        **{key: entry[key] for key in ("layers_config", "mask_learning", "use_data_bn")},
        **entry["fixed_defaults"],
    }
    if "parts" in entry:
        arguments["num_parts"] = len(entry["parts"])
    return "pbgcn", arguments


def read_infogcn(golden: dict) -> tuple:
    """Read a file of Chi et al.'s repository."""
    entry = golden["reference"]["entry"]
    arguments = {
        "dropout": float(entry["drop_out"]),
        "num_heads": entry["num_head"],
        "noise_ratio": entry["noise_ratio"],
        "k": entry["k"],
        "prior_gain": float(entry["gain"]),
    }
    return "infogcn", {**_read_input(entry, {25: "ntu25", 20: "ucla20"}), **arguments}


READERS = {  # repository, as in a network's WEIGHT_SOURCES -> function from a file to (name in `MODELS`, arguments)
    "st-gcn": read_st_gcn,
    "ctr-gcn": read_ctr_gcn,
    "ms-g3d": read_ms_g3d,
    "pyskl": read_pyskl,
    "protogcn": read_protogcn,
    "hd-gcn": read_hd_gcn,
    "degcn_pytorch": read_degcn,
    "skateformer": read_skateformer,
    "pb-gcn": read_pb_gcn,
    "infogcn": read_infogcn,
}
