"""The run card: a summary of a run on one screen, logged before the run starts."""

import logging
import math
import pathlib
import platform
import shutil

import cv2
import numpy as np
import paddle

from common.messages import wrap
from config import name_samples
from engine import distributed, memory, onednn, optimizer

UNBALANCED_RATIO = 3  # samples of the largest class for one of the smallest, from which the card proposes a remedy
MIN_SAMPLES = 1000  # below which the card proposes the text for small sets
SMALL_TEXTS = {  # key that only the readers of skeletons, or of videos, have: that text, and its network
    "stream": ("configs/small_skeletons.yaml", {"name": "ddnet"}),
    "modality": ("configs/small_videos.txt", {"name": "resnet", "depth": 10}),
}
AMP_KINDS = {"float16": "float16 with a loss scale", "bfloat16": "bfloat16"}


def describe_run(
    config: dict,
    model: paddle.nn.Layer,
    train_loader,
    valid_loader,
    schedule: optimizer.Schedule,
    num_classes: int,
    epochs_done: int = 0,
    steps_done: int = 0,
) -> str:
    """Return the run card: one row each for the network, the data, the schedule, the memory and so on.

    Args:
        config: resolved config.
        model: network, with the layers frozen that the config freezes.
        train_loader: loader of the training batches.
        valid_loader: loader of the validation samples; None if the run does not validate.
        schedule: learning rate schedule.
        num_classes: number of classes that the training list names.
        epochs_done, steps_done: of a run that goes on; its updates may have taken other numbers of samples.
    """
    run = config["RUN"]
    num_parameters, trained_bytes = count_parameters(model), count_trained_bytes(model)
    file_bytes = count_checkpoint_bytes(model, config["OPTIMIZER"]["name"], run["ema_decay"])
    cost = model.measure_cost(train_loader.input_shape)
    valid = "no validation"
    if valid_loader is not None:
        valid = f"{valid_loader.num_samples} to validate on ({name_samples(config, 'VALID')})"
    steps = len(train_loader)
    rows = {
        "model": f"{type(model).__name__}, {num_parameters / 1e6:.2f} M parameters, {cost.num_macs / 1e9:.2f} GMACs "
        + f"a clip of {format_shapes(train_loader.input_shape)}",
        "data": f"{train_loader.num_samples} samples to train on ({name_samples(config, 'TRAIN')}), {valid}",
        **_describe_skeletons(config),
        **propose_small_text(config, train_loader.num_samples),
        **_describe_heatmaps(config),
        "classes": f"{num_classes}, chance {100 / num_classes:.2f}%{describe_balance(config, train_loader)}",
        "batch": f"{schedule.batch_size} samples an update{_describe_parts(run)}, {steps} updates an epoch, "
        f"{steps_done + steps * max(run['epochs'] - epochs_done, 0)} in all",
        "learning rate": schedule.explain(),
        "loss": f"{_describe_loss(run)}, label smoothing {run['label_smoothing']:g}{_describe_weights(model)}",
        **_describe_switches(run, model),
        "memory": describe_memory(run, trained_bytes + file_bytes, cost, schedule.batch_size),
        "checkpoints": _describe_disk(run, file_bytes),
        "device": f"{paddle.device.get_device()}, {platform.machine()}{_describe_backend(config)}, seed {run['seed']}",
        "versions": describe_versions(),
    }
    width = max(len(name) for name in rows)
    return "\n".join(wrap(f"{name:>{width}}  {text}", width + 2) for name, text in rows.items())


def describe_balance(config: dict, train_loader) -> str:
    """Return how many samples the classes have and what is done about it; "" where records would have to be read."""
    counts = train_loader.count_classes(config["MODEL"]["num_classes"], read=False)
    present = [count for count in counts or [] if count]
    if not present:
        return ""
    ratio = max(present) / min(present)
    row = f", {min(present)} to {max(present)} samples each ({ratio:.3g} : 1)"
    balance = {**config["READER"], **config["TRAIN"]}.get("balance", "none")
    if balance != "none":
        return f"{row}, drawn by TRAIN.balance={balance}"
    if config["RUN"]["class_weights"] is None and ratio >= UNBALANCED_RATIO:
        row += "; try -o TRAIN.balance=sqrt or -o RUN.class_weights=auto"
    return row


def warn_of_data(class_names: list, train_loader, valid_loader) -> None:
    """Log what makes a figure worthless though everything runs.

    Args:
        valid_loader: None if the run does not validate, or on its training samples.
    """
    if len(class_names) == 1:
        logging.warning(f"there is one class only, '{class_names[0]}': nothing to tell apart")
    if valid_loader is None:
        return
    trained, validated = (set(loader.describe_samples()) for loader in (train_loader, valid_loader))
    if shared := len(trained & validated):
        logging.warning(
            f"{shared} of {valid_loader.num_samples} samples to validate on stand in the training list too: their "
            "accuracy says nothing of new ones"
        )


def describe_versions() -> str:
    """Return the versions of Python and of the packages that affect results, in one line."""
    return (
        f"Paddle {paddle.__version__}, NumPy {np.__version__}, OpenCV {cv2.__version__}, "
        f"Python {platform.python_version()}"
    )


def count_parameters(model: paddle.nn.Layer) -> int:
    """Return the number of parameters, without the running statistics of batch norm."""
    statistics = ("_mean", "_variance")  # Paddle lists these as parameters
    return sum(math.prod(p.shape) for name, p in model.named_parameters() if not name.endswith(statistics))


def count_trained_bytes(model: paddle.nn.Layer) -> int:
    """Return the size in float32 of the parameters that are trained, which is that of their gradients too."""
    return 4 * sum(math.prod(p.shape) for p in model.parameters() if not p.stop_gradient)


def count_checkpoint_bytes(model: paddle.nn.Layer, optimizer_name: str, ema_decay: float) -> int:
    """Return the size in float32 of the arrays in a checkpoint: weights and buffers, moments, and moving average."""
    num_copies = optimizer.NUM_SLOTS[optimizer_name] + bool(ema_decay)
    weights_bytes = 4 * sum(math.prod(value.shape) for value in model.state_dict().values())
    return weights_bytes + num_copies * count_trained_bytes(model)


def format_shapes(input_shape: dict) -> str:
    """Write shapes as `3 x 16 x 112 x 112`, several as `rgb 3 x 8 x 224 x 224, pose 17 x 32 x 56 x 56`."""
    shapes = {name: " x ".join(str(size) for size in shape) for name, shape in input_shape.items()}
    if len(shapes) == 1:
        return "".join(shapes.values())
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _describe_skeletons(config: dict) -> dict:
    """Return the row of what a skeleton network reads; {} for other networks."""
    reader = config["READER"]
    if "stream" not in reader:
        return {}
    row = f"stream {reader['stream']}, layout {reader['layout']}, {reader['num_persons']} persons, "
    return {"skeletons": row + f"normalization {reader['normalization']}, sampling {reader['sampling']}"}


def propose_small_text(config: dict, num_samples: int) -> dict:
    """Return the row that proposes the text for small sets of skeletons or videos; {} for others.

    Nothing is proposed to the network of that text, nor to a run that starts from weights.

    Args:
        num_samples: that an epoch draws, each of them TRAIN.repeat times.
    """
    reader, run = {**config["READER"], **config["TRAIN"]}, config["RUN"]
    num_samples //= reader.get("repeat", 1)
    found = [SMALL_TEXTS[key] for key in SMALL_TEXTS if key in reader]
    if not found or num_samples >= MIN_SAMPLES or run["overfit"] or run["pretrain"]:
        return {}
    text, network = found[0]
    if network.items() <= config["MODEL"].items():
        return {}
    return {"small set": f"{num_samples} samples are few for this network; try {text}, see docs/small_sets.md"}


def _describe_heatmaps(config: dict) -> dict:
    """Return the rows of what a network for heat maps reads, of its augmentation, and of its views in a test."""
    reader, test = ({**config["READER"], **config[mode]} for mode in ("TRAIN", "TEST"))
    if "sigma" not in reader:
        return {}
    low, high = reader["crop_area"]
    augmentation = f"crop {reader['crop']}, area {low:g} to {high:g}, {100 * reader['flip_ratio']:g}% mirrored"
    if reader.get("color_jitter"):
        augmentation += f", colour jitter {_join(reader['color_jitter'])}"
    if reader.get("erasing_ratio"):
        low, high = reader["erasing_area"]
        augmentation += f", a box of area {low:g} to {high:g} erased in {100 * reader['erasing_ratio']:g}%"
    views = f"{test['num_clips']} clips" + (", mirrored too" if test["flip"] else "")
    if test["scales"]:
        views += f", at scales {', '.join(map(str, test['scales']))}"
    return {
        "heat maps": f"{reader['kind']}, sigma {reader['sigma']:g}, scaling {reader['scaling']:g}, "
        f"{reader['num_persons']} persons",
        "variation": augmentation,
        "test views": views,
    }


def _join(numbers: list) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _describe_loss(run: dict) -> str:
    name = f"focal loss, gamma {run['focal_gamma']:g}" if run["focal_gamma"] else "cross-entropy"
    if run["class_weights"] is None:
        return name
    return f"{name}, " + ("classes weighted alike" if run["class_weights"] == "auto" else "classes weighted")


def _describe_weights(model: paddle.nn.Layer) -> str:
    weights = model.loss_weights
    return f", weights {', '.join(f'{head} {weight:g}' for head, weight in weights.items())}" if weights else ""


def _describe_parts(run: dict) -> str:
    ranks, parts = distributed.num_ranks(), run["accumulate"]
    notes = [f"{ranks} processes"] if ranks > 1 else []
    notes += [f"in {parts} parts, batch norm over each of them"] if parts > 1 else []
    notes += ["batch norm over all processes"] if run["sync_bn"] else []
    return f" ({', '.join(notes)})" if notes else ""


def _describe_switches(run: dict, model: paddle.nn.Layer) -> dict:
    """Return a row for each option of the training that is on."""
    rows = {}
    frozen = run["freeze_until"] or run["train_from"]
    if frozen:
        border = f"until {run['freeze_until']}" if run["freeze_until"] else f"before {run['train_from']}"
        statistics = "kept" if run["freeze_statistics"] else "not kept"
        count = sum(math.prod(p.shape) for p in model.parameters() if not p.stop_gradient)
        trained = f"{count / 1e6:.2f} M parameters are trained"
        rows["frozen"] = f"{border}; {trained}; the frozen part's batch-norm statistics are {statistics}"
    if run["amp_level"] != "O0":
        is_gpu = paddle.device.get_device().startswith("gpu")
        rows["precision"] = f"{run['amp_level']}, " + (AMP_KINDS[run["amp_dtype"]] if is_gpu else "float32 on a CPU")
    kinds = [f"{kind} alpha {run[f'{kind}_alpha']:g}" for kind in ("mixup", "cutmix") if run[f"{kind}_alpha"]]
    if kinds:
        rows["mixing"] = (
            f"{' or '.join(kinds)}, {100 * run['mix_ratio']:g}% of the batches; training accuracy is of those"
        )
    if run["ema_decay"]:
        rows["average"] = f"of the weights, decay {run['ema_decay']:g}; it is what is scored"
    if run["early_stop_patience"]:
        rows["early stop"] = (
            f"after {run['early_stop_patience']} validations without a {run['metric']} better by more than "
            f"{run['early_stop_min_delta']:g}"
        )
    return rows


def describe_memory(run: dict, weights_bytes: int, cost, batch_size: int) -> str:
    """Return the row of the memory of an update; where the device has less, with what would take less.

    Args:
        weights_bytes: of weights, gradients, moments and moving average.
        cost: of the network, a `models.parts.cost.Cost`.
        batch_size: samples of an update, in all processes.
    """
    num_samples = -(-batch_size // (run["accumulate"] * distributed.num_ranks()))
    sample_bytes = cost.recomputed_bytes if run["recompute"] else cost.activation_bytes
    total_gib, least_gib = (
        (weights_bytes + num_samples * size) / 2**30 for size in (sample_bytes, cost.recomputed_bytes)
    )
    row = (
        f"about {total_gib:.1f} GiB in float32 for {num_samples} samples at a time, {sample_bytes / 2**20:.0f} MiB each"
    )
    if run["recompute"]:
        row += f", {cost.activation_bytes / 2**20:.0f} without RUN.recompute"
    device_gib = memory.device_memory_gib()
    if not total_gib > device_gib:
        return f"{row}; a larger RUN.accumulate takes fewer at a time"
    row += f"; {paddle.device.get_device()} has {device_gib:.1f} GiB: "
    if least_gib < total_gib:
        row += f"with -o RUN.recompute=true it is about {least_gib:.1f} GiB, or "
    return row + memory.advise_batch(num_samples, run["accumulate"])


def _describe_backend(config: dict) -> str:
    """Return what computes the updates on a CPU, and why it is not the faster of the two; of a GPU nothing."""
    if paddle.device.get_device() != "cpu":
        return ""
    run = config["RUN"]
    obstacle = "RUN.recompute asks for it" if run["recompute"] else onednn.find_obstacle(config["MODEL"]["name"])
    if run["cpu_backend"] != "dynamic" and not obstacle:
        return f", updates by oneDNN (RUN.cpu_backend={run['cpu_backend']})"
    why = obstacle or "-o RUN.cpu_backend=auto takes oneDNN, which is several times as fast"
    return f", updates by the dynamic graph ({why})"


def _describe_disk(run: dict, file_bytes: int) -> str:
    # Files: the last, the best, and RUN.max_keep epochs.
    num_files = 1 + run["validate"] + (run["max_keep"] if run["save_interval"] else 0)
    folder = pathlib.Path(run["save_dir"]).resolve()
    existing = next(path for path in (folder, *folder.parents) if path.exists())  # it is made with the first file
    free_gib = shutil.disk_usage(existing).free / 2**30
    needed_gib = num_files * file_bytes / 2**30
    return f"{num_files} in {run['save_dir']}, about {needed_gib:.2f} GiB; {free_gib:.0f} GiB are free there"
