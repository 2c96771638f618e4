"""The run card: what a run is about to do, on one screen, before it starts."""

import contextlib
import dataclasses
import platform
import shutil
from unittest import mock

import cv2
import numpy as np
import paddle

import config as texts
from engine import distributed, optimizer


def describe_run(
    config: dict, model: paddle.nn.Layer, train_loader, valid_loader, schedule: optimizer.Schedule, num_classes: int
) -> str:
    """Return the run card.

    Args:
        config: the resolved config.
        valid_loader: None when the run does not validate.
        num_classes: classes that the training list names.
    """
    run = config["RUN"]
    num_parameters = count_parameters(model)
    cost = measure_forward(model, train_loader.input_shape)
    valid = "no validation"
    if valid_loader is not None:
        valid = f"{valid_loader.num_samples} to validate on ({texts.name_samples(config, 'VALID')})"
    steps = len(train_loader)
    rows = {
        "model": f"{type(model).__name__}, {num_parameters / 1e6:.2f} M parameters, {cost.num_macs / 1e9:.2f} GMACs "
        + f"a clip of {format_shapes(train_loader.input_shape)}",
        "data": f"{train_loader.num_samples} samples to train on ({texts.name_samples(config, 'TRAIN')}), {valid}",
        **_describe_skeletons(config),
        **_describe_heatmaps(config),
        "classes": f"{num_classes}, chance {100 / num_classes:.2f}%",
        "batch": f"{schedule.batch_size} samples an update{_describe_parts(run)}, {steps} updates an epoch, "
        f"{steps * run['epochs']} in all",
        "learning rate": schedule.explain(),
        "loss": f"cross-entropy, label smoothing {run['label_smoothing']:g}{_describe_weights(model)}",
        **_describe_switches(run, model),
        "memory": _describe_memory(run, num_parameters, cost, schedule.batch_size),
        "checkpoints": _describe_disk(run, num_parameters),
        "device": f"{paddle.device.get_device()}, {platform.machine()}, seed {run['seed']}",
        "versions": describe_versions(),
    }
    width = max(len(name) for name in rows)
    return "\n".join(f"{name:>{width}}  {text}" for name, text in rows.items())


def describe_versions() -> str:
    """Return one line that fixes the environment of a run."""
    return (
        f"Paddle {paddle.__version__}, NumPy {np.__version__}, OpenCV {cv2.__version__}, "
        f"Python {platform.python_version()}"
    )


def count_parameters(model: paddle.nn.Layer) -> int:
    """Count the weights; batch norm's running statistics are not among them."""
    statistics = ("_mean", "_variance")  # Paddle lists them as parameters
    return sum(int(np.prod(p.shape)) for name, p in model.named_parameters() if not name.endswith(statistics))


@dataclasses.dataclass
class Cost:
    """What one input costs a network: multiply-adds of the way forth, and bytes kept for the way back."""

    num_macs: int = 0
    kept_bytes: int = 0


def format_shapes(input_shape: dict) -> str:
    """Write shapes as `3 x 16 x 112 x 112`, several as `rgb 3 x 8 x 224 x 224, pose 17 x 32 x 56 x 56`."""
    shapes = {name: " x ".join(str(size) for size in shape) for name, shape in input_shape.items()}
    if len(shapes) == 1:
        return "".join(shapes.values())
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def measure_forward(model: paddle.nn.Layer, input_shape: dict) -> Cost:
    """Count the multiply-adds of convolutions and matrix products, and what is kept for the gradients, of one input.

    The network runs once on zeros, as in evaluation, and is left as it was.

    Args:
        input_shape: name of an input -> its shape without the batch axis, such as {"rgb": [3, 16, 112, 112]}.
    """
    cost, kept, own = Cost(), {}, {parameter.data_ptr() for parameter in model.parameters()}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = int(np.prod(tensor.shape)) * tensor.element_size()
        return tensor

    was_training = model.training
    model.eval()
    with _count_products(cost), paddle.autograd.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(*(paddle.zeros([1, *shape]) for shape in input_shape.values()))
    del output  # held until here: a place in memory is used twice only after its tensor has gone
    if was_training:
        model.train()
    cost.kept_bytes = sum(kept.values())
    return cost


@contextlib.contextmanager
def _count_products(cost: Cost):
    """Count in `cost` what Paddle's convolutions, linear layers and matrix products multiply and add."""
    functional = paddle.nn.functional
    depth = [0]  # a layer may call a function that calls another one: the outermost counts

    def counted(function, count_terms):
        def call(*args, **kwargs):
            depth[0] += 1
            output = function(*args, **kwargs)
            depth[0] -= 1
            if not depth[0]:
                cost.num_macs += int(np.prod(output.shape)) * count_terms(*args, **kwargs)
            return output

        return call

    def of_convolution(layer, *_):
        return int(np.prod(layer.weight.shape[1:]))  # (out, in / groups, *kernel)

    def of_function(x, weight, *_, **__):
        return int(np.prod(weight.shape[1:]))

    def of_linear(x, weight, *_, **__):
        return weight.shape[0]

    def of_matmul(x, y, transpose_x=False, *_, **__):
        return x.shape[-2 if transpose_x else -1]

    places = {(paddle, "matmul"): of_matmul, (functional, "linear"): of_linear}
    for axes in "123":
        places[getattr(paddle.nn, f"Conv{axes}D"), "forward"] = of_convolution
        places[functional, f"conv{axes}d"] = of_function
    with contextlib.ExitStack() as stack:
        for (owner, name), count_terms in places.items():
            stack.enter_context(mock.patch.object(owner, name, counted(getattr(owner, name), count_terms)))
        yield


def _describe_skeletons(config: dict) -> dict:
    """Return what a network for skeletons is really fed; nothing for others."""
    reader = config["READER"]
    if "stream" not in reader:
        return {}
    told = f"stream {reader['stream']}, layout {reader['layout']}, {reader['num_persons']} persons, "
    return {"skeletons": told + f"normalization {reader['normalization']}, sampling {reader['sampling']}"}


def _describe_heatmaps(config: dict) -> dict:
    """Return what a network for heat maps is fed, how that is varied, and which views are scored in a test."""
    reader, test = ({**config["READER"], **config[mode]} for mode in ("TRAIN", "TEST"))
    if "sigma" not in reader:
        return {}
    low, high = reader["crop_area"]
    varied = f"crop {reader['crop']}, area {low:g} to {high:g}, {100 * reader['flip_ratio']:g}% mirrored"
    if reader.get("color_jitter"):
        varied += f", colour jitter {', '.join(f'{one:g}' for one in reader['color_jitter'])}"
    if reader.get("erasing_ratio"):
        low, high = reader["erasing_area"]
        varied += f", a box of area {low:g} to {high:g} erased in {100 * reader['erasing_ratio']:g}%"
    views = f"{test['num_clips']} clips" + (", mirrored too" if test["flip"] else "")
    if test["scales"]:
        views += f", at scales {', '.join(map(str, test['scales']))}"
    return {
        "heat maps": f"{reader['kind']}, sigma {reader['sigma']:g}, scaling {reader['scaling']:g}, "
        f"{reader['num_persons']} persons",
        "variation": varied,
        "test views": views,
    }


def _describe_weights(model: paddle.nn.Layer) -> str:
    weights = model.loss_weights
    return f", weights {', '.join(f'{head} {weight:g}' for head, weight in weights.items())}" if weights else ""


def _describe_parts(run: dict) -> str:
    ranks, parts = distributed.num_ranks(), run["accumulate"]
    told = [f"{ranks} processes"] if ranks > 1 else []
    told += [f"in {parts} parts, batch norm over each of them"] if parts > 1 else []
    told += ["batch norm over all processes"] if run["sync_bn"] else []
    return f" ({', '.join(told)})" if told else ""


def _describe_switches(run: dict, model: paddle.nn.Layer) -> dict:
    """Return the rows of what a plain run does not do."""
    rows = {}
    frozen = run["freeze_until"] or run["train_from"]
    if frozen:
        border = f"until {run['freeze_until']}" if run["freeze_until"] else f"before {run['train_from']}"
        statistics = "kept" if run["freeze_statistics"] else "not kept"
        count = sum(int(np.prod(p.shape)) for p in model.parameters() if not p.stop_gradient)
        trained = f"{count / 1e6:.2f} M parameters are trained"
        rows["frozen"] = f"{border}; {trained}; the frozen part's batch-norm statistics are {statistics}"
    if run["amp_level"] != "O0":
        is_gpu = paddle.device.get_device().startswith("gpu")
        rows["precision"] = f"{run['amp_level']}, " + ("float16 with a loss scale" if is_gpu else "float32 on a CPU")
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


def _describe_memory(run: dict, num_parameters: int, cost: Cost, batch_size: int) -> str:
    # A weight has its gradient and one momentum beside it, and perhaps its average.
    num_samples = -(-batch_size // (run["accumulate"] * distributed.num_ranks()))
    weights_gib = num_parameters * 4 * (3 + bool(run["ema_decay"])) / 2**30
    total_gib = weights_gib + num_samples * cost.kept_bytes / 2**30
    return (
        f"about {total_gib:.1f} GiB in float32 for {num_samples} samples at a time, {cost.kept_bytes / 2**20:.0f} MiB "
        f"each; a larger RUN.accumulate takes fewer at a time"
    )


def _describe_disk(run: dict, num_parameters: int) -> str:
    # Weights, one momentum and the average in float32 for each file: the last, the best, and the epochs kept.
    num_files = 1 + run["validate"] + (run["max_keep"] if run["save_interval"] else 0)
    needed_gib = num_files * num_parameters * (8 + 4 * bool(run["ema_decay"])) / 2**30
    free_gib = shutil.disk_usage(".").free / 2**30
    return f"{num_files} in {run['save_dir']}, about {needed_gib:.2f} GiB; {free_gib:.0f} GiB are free here"
