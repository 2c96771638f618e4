"""Check in about ten minutes that everything works on a GPU, and how fast.

    python tools/gpu_check.py --out gpu.md
    python tools/gpu_check.py --device cpu

Golden vectors: our networks against the results of the authors' networks, in float32. Training: every network makes 20
updates on a batch of noise in float32 and in mixed precision (O1, O2), by the training step of train.py, each in a
separate process. The result is printed as tables for a README; the exit status is 1 if anything fails. `--device cpu`
checks the tool itself with small networks, without mixed precision, which Paddle has on GPUs only.

Limits: logits within 1e-4 of the largest one, losses within 1e-4 and gradient norms within 1 % of the authors'. In
training, losses must be finite and the last three below half of the first one; with fewer --steps than 20 the last one
must be below the first one. In mixed precision the first loss must
be within 2 % of that in float32, and the mean loss may differ by 10 % of the first one at most.
"""

import argparse
import inspect
import json
import pathlib
import statistics
import sys

if not __package__:  # run as a script, from any folder: the project's modules are one folder up
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from common import command_line

if __name__ == "__main__":
    command_line.start_paddle()

import numpy as np
import paddle

import recipe
from common import files
from config import SECTIONS
from engine import memory
from models import MODELS
from tools.golden import vectors
from tools.measure.scripts import run_script
from tools.measure.tables import format_table
from tools.measure.timing import build_step, count_kernels, describe_machine, draw_batch, time_calls, to_tensors

LEVELS = {"O0": "float32", "O1": "AMP O1", "O2": "AMP O2"}
FULL_SIZE = {
    "num_classes": 101,
    "clip_len": 16,
    "crop_size": 112,
    "batch_size": 8,
}  # of networks with their default arguments
SMALL_SIZE = {"num_classes": 4, "clip_len": 16, "crop_size": 32, "batch_size": 4}
SMALL_PATHWAYS = {
    "rgb_base_channels": 16, "rgb_stage_blocks": [1, 1, 1, 1], "pose_base_channels": 16, "pose_stage_blocks": [1, 1, 1],
}  # fmt: skip
SMALL = {  # arguments of each network for a CPU
    "resnet": {"depth": 10, "widen_factor": 0.25},
    "r2plus1d": {"depth": 10, "widen_factor": 0.25},
    "preresnet": {"depth": 10, "widen_factor": 0.25},
    "wideresnet": {"depth": 50, "widen_factor": 0.0625},
    "resnext": {"depth": 50, "cardinality": 4, "widen_factor": 0.25},
    "densenet": {"growth_rate": 8, "num_init_features": 16},
    "slowonly": {"depth": 14, "widen_factor": 0.25},
    "slowfast": {"depth": 14, "widen_factor": 0.25},
    "i3d": {"depth": 26, "widen_factor": 0.25},
    "mmaction2_r2plus1d": {"depth": 10, "widen_factor": 0.25},
    "tsm": {"depth": 14, "widen_factor": 0.25},
    "pptsm": {"depth": 14, "widen_factor": 0.25},
    "tpn": {"depth": 14, "widen_factor": 0.25, "temporal_scales": [16, 16]},
    "stgcn": {"base_channels": 16, "num_blocks": [1, 1, 1]},
    "stgcnpp": {"base_channels": 16, "num_blocks": [1, 1, 1]},
    "dgstgcn": {"base_channels": 16, "num_blocks": [1, 1, 1]},
    "protogcn": {"base_channels": 16, "num_blocks": [1, 1, 1], "num_prototypes": 20},
    "hdgcn": {"base_channels": 16, "num_blocks": [1, 1, 1]},
    "skateformer": {
        "channels": [16, 32],
        "num_blocks": [1, 1],
        "num_frames": 16,
        "num_heads": 16,
        "partition_sizes": [[8, 8], [8, 12]] * 2,
    },
    "ddnet": {"base_channels": 16},
    "degcn": {"base_channels": 32, "num_blocks": [1, 1]},
    "agcn": {"base_channels": 16, "num_blocks": [1, 1, 1]},
    "paddlevideo_agcn": {
        "base_channels": 16,
        "num_blocks": [1, 1, 1],
        "layout": "ntu25",
        "in_channels": 3,
        "num_persons": 2,
    },
    "ctrgcn": {"base_channels": 16, "num_blocks": [1, 1, 1]},
    "msg3d": {"base_channels": 24, "num_blocks": 2, "num_gcn_scales": 4, "num_g3d_scales": 2},
    "pbgcn": {"layers_config": [[16, 16, 1], [16, 32, 2]], "labeling_mode": "parts", "dropout": 0.0},
    "infogcn": {"base_channels": 16, "num_blocks": [1, 1, 1]},
    "posec3d": {"base_channels": 8, "stage_blocks": [1, 1, 1]},
    "c3d": {"base_channels": 8},
    "x3d": {"base_channels": 8, "stage_blocks": [1, 1, 1]},
    "rgbposeconv3d": SMALL_PATHWAYS,
    "pcan": {**SMALL_PATHWAYS, "coarse_groups": [0, 0, 1, 1]},
}
POSE_READERS = {
    **dict.fromkeys(("posec3d", "c3d", "x3d"), "heatmaps"),
    **dict.fromkeys(("rgbposeconv3d", "pcan"), "rgbpose"),
}
MAX_ERRORS = {"logits": 1e-4, "loss": 1e-4, "gradient norms": 1e-2}  # relative errors of golden vectors
MIN_NORM = 1e-3  # of the largest gradient; a smaller one may be nothing but rounding
LEARNING_RATE = 0.003
LEARNING_RATES = {  # of networks that learn slowly from noise
    "stgcn": 0.01, "stgcnpp": 0.03, "dgstgcn": 0.03, "protogcn": 0.03, "paddlevideo_agcn": 0.1, "posec3d": 0.03,
    "c3d": 0.03, "x3d": 0.03, "skateformer": 0.1,
}  # fmt: skip
STEPS = 20  # after which a network has learned its batch
MAX_LOSS_RATIO = 0.5  # of the last three losses to the first one
MAX_AMP_ERRORS = {"first loss": 0.02, "mean loss": 0.1}  # difference from float32, in units of its first loss
NO_AMP = "not run: AMP needs a GPU"
GOLDEN_TITLES = ["golden file, float32 without TF32", *(f"{figure} off by" for figure in MAX_ERRORS), "result"]
TRAINING_TITLES = [
    "network", "precision", "first loss", "last loss", "clips/s", "peak memory, GiB", "MB to the device a step",
    "kernels a step", "result",
]  # fmt: skip


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python tools/gpu_check.py --help`."""
    parser = command_line.CommandLine("Check golden vectors and training on a GPU.")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="where to compute")
    parser.add_argument("--small", action="store_true", help="small networks and clips; with --device cpu always")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="networks to train")
    parser.add_argument("--golden", default="*", help="name pattern of the golden files")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of each network")
    parser.add_argument("--batch_size", type=int, help="clips a batch; default: 8, or 4 of small ones")
    parser.add_argument("--out", help="Markdown file for the tables")
    parser.add_argument("--measure", help="run one check in this process and print json: golden/NAME or MODEL/LEVEL")
    args = parser.parse_args(argv)
    args.small = args.small or args.device == "cpu"
    if args.steps < 4:
        parser.error(f"--steps is {args.steps}, expected at least 4")
    if not list_golden(args.golden):
        parser.error(f"--golden {args.golden}: no file of tests/golden that can be checked here has such a name")
    return args


def main(argv: list | None = None) -> int:
    """Run the checks that the command line names; return the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_arguments(argv)
    if args.device == "gpu" and not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count()):
        raise ValueError(
            f"--device gpu: Paddle {paddle.__version__} has no GPU here; install paddlepaddle-gpu where there is one; "
            "--device cpu checks the tool itself"
        )
    recipe.choose_device(args.device == "gpu")
    if args.measure:
        print(json.dumps(measure(args)))
        return 0
    golden_rows = compare_golden(args, argv)
    training_rows = [row for name in args.models for row in compare_levels(name, args, argv)]
    verdicts = [row[-1].partition(":")[0] for row in golden_rows + training_rows]
    counts = ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in ("PASS", "FAIL", "not run"))
    size = "small networks" if args.small else "networks of full size"
    tables = [format_table([GOLDEN_TITLES, *golden_rows]), format_table([TRAINING_TITLES, *training_rows])]
    text = "\n\n".join([f"{describe_machine()}; {size}", *tables, counts])
    print(text)
    if args.out:
        with files.write_atomically(args.out, "w") as file:
            file.write(text + "\n")
    return int("FAIL" in verdicts)


def measure(args: argparse.Namespace) -> dict:
    """Run the check that `--measure` names in this process."""
    kind, _, name = args.measure.partition("/")
    return measure_golden(name) if kind == "golden" else measure_training(kind, name, args)


def measure_in_process(check: str, argv: list, **options) -> dict:
    """Run one check in a separate process; see `measure`.

    Raises:
        OSError: the process failed.
    """
    print(f"gpu_check: {check}", file=sys.stderr, flush=True)
    return json.loads(run_script("tools/gpu_check.py", *argv, "--measure", check, **options).splitlines()[-1])


def list_golden(pattern: str) -> list:
    """List the golden files of whole networks with one input and one output; tests compare the others."""
    return [name for name in vectors.list_names(pattern) if "weights_rule" in vectors.load(name)]


def compare_golden(args: argparse.Namespace, argv: list) -> list:
    """Return a table row for each golden file."""
    rows = []
    for name in list_golden(args.golden):
        try:
            # Paddle computes float32 in TF32 where the GPU has it, which is precise to three digits only.
            errors = measure_in_process(f"golden/{name}", argv, environment={"NVIDIA_TF32_OVERRIDE": "0"})
            faults = [figure for figure, error in errors.items() if not error <= MAX_ERRORS[figure]]
            verdict = f"FAIL: {', '.join(faults)}" if faults else "PASS"
            cells = [f"{errors[figure]:.1e}" if figure in errors else "not in the file" for figure in MAX_ERRORS]
            rows.append([name, *cells, verdict])
        except OSError as error:
            rows.append([name, *[""] * len(MAX_ERRORS), f"FAIL: {error}"])
    return rows


def measure_golden(name: str) -> dict:
    """Return the relative errors of our network against the authors', by the keys of `MAX_ERRORS` that the file has."""
    reference = vectors.load(name)
    rule = reference["weights_rule"]
    model = vectors.build(reference, rule["gain"] if isinstance(rule, dict) else vectors.GAIN)  # of skeletons: a text
    inputs = [paddle.to_tensor(values, stop_gradient=False) for values in vectors.draw_inputs(reference)]
    logits, labels = model(*inputs), paddle.to_tensor(reference["labels"]).unsqueeze(1)
    # Paddle's cross-entropy clips log-probabilities at -64 on a CPU, and some are lower here.
    loss = (paddle.logsumexp(logits, axis=1) - paddle.take_along_axis(logits, labels, 1).squeeze(1)).mean()
    expected = np.asarray(reference["logits"])
    errors = {
        "logits": float(np.abs(logits.numpy() - expected).max() / np.abs(expected).max()),
        "loss": abs(float(loss) / reference["loss"] - 1),
    }
    if reference["grad_norms"] is None:
        return errors
    loss.backward()
    return {**errors, "gradient norms": compare_norms(name, reference, model)}


def compare_norms(name: str, reference: dict, model: paddle.nn.Layer) -> float:
    """Return the largest relative error of the norms of our network's gradients.

    Raises:
        ValueError: our network has other weights than the golden file.
    """
    ours = vectors.collect_gradient_norms(reference, model)
    # Some authors detach a kind of shortcut from the gradient; such a file has the norms without that too.
    theirs = reference.get("grad_norms_shortcut_not_detached", reference["grad_norms"])
    known = [key for key, norm in theirs.items() if norm is not None]  # the others have no part in this loss
    if set(known) != {key for key, norm in ours.items() if norm is not None}:
        raise ValueError(f"'{name}': our network has other weights than the file; see tests of that network")
    smallest = MIN_NORM * max(theirs[key] for key in known)
    return max(abs(ours[key] - theirs[key]) / max(theirs[key], smallest) for key in known)


def compare_levels(name: str, args: argparse.Namespace, argv: list) -> list:
    """Return a table row for each precision of a network; float32 comes first, and the others are compared with it."""
    rows, float32 = [], None
    for level, precision in LEVELS.items():
        if level != "O0" and args.device == "cpu":
            rows.append([name, precision, *[""] * 6, NO_AMP])
            continue
        try:
            result = measure_in_process(f"{name}/{level}", argv)
            faults = judge_training(result["losses"], float32, is_short=args.steps < STEPS)
            if level != "O0" and float32 is None:
                faults.append("no float32 training to compare it with")
            float32 = result["losses"] if level == "O0" else float32
            rows.append([name, precision, *format_figures(result), f"FAIL: {'; '.join(faults)}" if faults else "PASS"])
        except OSError as error:
            rows.append([name, precision, *[""] * 6, f"FAIL: {error}"])
    return rows


def judge_training(losses: list, float32: list | None, is_short: bool = False) -> list:
    """List the faults of the losses of a training.

    Args:
        losses: loss of each update.
        float32: losses of the same training in float32, to compare mixed precision with; None: no comparison.
        is_short: too few updates for the loss to halve: it need only fall.
    """
    if not np.isfinite(losses).all():
        return [f"loss {losses[int(np.isfinite(losses).argmin())]} in update {int(np.isfinite(losses).argmin())}"]
    ratio, limit = (losses[-1] / losses[0], 1.0) if is_short else (max(losses[-3:]) / losses[0], MAX_LOSS_RATIO)
    faults = []
    if ratio >= limit:
        faults.append(f"{100 * ratio:.0f} % of the first loss left, expected less than {100 * limit:.0f} %")
    if float32 is not None:
        pairs = {"first loss": (losses[0], float32[0]), "mean loss": (np.mean(losses), np.mean(float32))}
        for figure, (mixed, single) in pairs.items():
            if not abs(mixed - single) <= MAX_AMP_ERRORS[figure] * float32[0]:
                faults.append(f"{figure} {mixed:.3f}, in float32 {single:.3f}")
    return faults


def format_figures(result: dict) -> list:
    """Return the cells of a training from the first loss to the kernels."""
    speed = result["batch_size"] / statistics.median(result["seconds"])
    losses = [f"{result['losses'][0]:.3f}", f"{result['losses'][-1]:.3f}"]
    return [
        *losses,
        f"{speed:.1f}",
        f"{result['memory_gib']:.2f}",
        f"{result['num_bytes'] / 1e6:.2f}",
        result["kernels"] or "not available",
    ]


def measure_training(name: str, level: str, args: argparse.Namespace) -> dict:
    """Train a network on one batch; return losses, seconds of an update, peak memory, bytes of a batch, and kernels."""
    config, learning_rate = make_config(name, level, args), LEARNING_RATES.get(name, LEARNING_RATE)
    with memory.explain_out_of_memory("lower --batch_size"):
        step, reader = build_step(config)
        inputs, labels = draw_batch(config, reader)
        step.begin_epoch()

        def update(index: int = args.steps) -> paddle.Tensor:
            return step(to_tensors(inputs), paddle.to_tensor(labels), learning_rate, index)["loss"]

        losses = [float(update(index)) for index in range(args.steps)]
        return {
            "losses": losses,
            "seconds": time_calls(update, num_calls=5, repeats=3),
            "memory_gib": memory.peak_memory_gib(),
            "batch_size": len(labels),
            "num_bytes": sum(array.nbytes for array in (*inputs.values(), labels)),
            "kernels": name_kernels(count_kernels(update)),
        }


def name_kernels(count: int) -> str | None:
    """Format a number of kernels, or of operators on a CPU; None if the profiler saw none."""
    if paddle.device.get_device().startswith("gpu"):
        return str(count) if count else None
    return f"{count} operators" if count else None


def make_config(name: str, level: str, args: argparse.Namespace) -> dict:
    """Return the resolved config of a network in the size that the command line asks for."""
    size = {**(SMALL_SIZE if args.small else FULL_SIZE), **({"batch_size": args.batch_size} if args.batch_size else {})}
    config = {section: {} for section in SECTIONS}
    config["MODEL"] = {"name": name, "num_classes": size["num_classes"], **(SMALL[name] if args.small else {})}
    if "layout" in inspect.signature(MODELS[name]).parameters:
        config["READER"] = {"name": "skeletons", "clip_len": size["clip_len"], "num_persons": 2}
        if name == "skateformer":  # its clips have one length
            config["READER"] = {"name": "timed_skeletons", "clip_len": config["MODEL"].get("num_frames", 64)}
    elif name in POSE_READERS:
        reader = {"name": POSE_READERS[name], "clip_len": size["clip_len"]}
        config["READER"] = {**reader, "crop_size": size["crop_size"], "short_size": size["crop_size"]}
        if config["READER"]["name"] == "rgbpose":
            config["READER"]["rgb_clip_len"] = size["clip_len"] // 4
    else:
        config["READER"] = {"clip_len": size["clip_len"], "crop_size": size["crop_size"]}
    config["READER"]["batch_size"] = size["batch_size"]
    config["RUN"] = {"amp_level": level, "cpu_backend": "dynamic"}  # a CPU computes what a GPU does
    return recipe.resolve(config, "gpu_check")


if __name__ == "__main__":
    command_line.run_main(main)
