"""Fuse the scores of several networks or streams, sample by sample, from the score files that test.py writes.

python ensemble.py output/joint/ctrgcn_model_test_scores.pkl output/bone/ctrgcn_model_test_scores.pkl --weights 1 1
python ensemble.py a_scores.pkl b_scores.pkl c_scores.pkl d_scores.pkl --weights four_stream --out output/fused.pkl
python ensemble.py a_scores.pkl b_scores.pkl --search

The fused score is the weighted mean of the scores as they are: its ranking is that of the weighted sum that papers
report, and a mean of probabilities is a probability, so that what `--out` writes can be fused again.
"""

import argparse
import dataclasses
import os

import numpy as np

from common import command_line
from common.messages import wrap
from common.suggestions import suggest
from engine import metrics, report
from inference import submission
from inference.report import fusion
from inference.score_files import SCORE_TYPES, order_like, read_scores, unify_score_type

WEIGHT_SETS = {
    "equal": None,  # for any number of files
    "two_stream": (1, 1),  # joint, bone: 2s-AGCN, MS-G3D
    "three_stream": (0.4, 0.3, 0.3),
    "four_stream": (2, 2, 1, 1),  # joint, bone, joint motion, bone motion: PYSKL
    "ctrgcn": (0.6, 0.6, 0.4, 0.4),  # the same four in the code of CTR-GCN
}
SEARCHED_WEIGHTS = sorted((step / 10 for step in range(21)), key=lambda weight: abs(weight - 1))


def parse_arguments(argv: list | None = None) -> argparse.Namespace:
    """Parse the command line; see `python ensemble.py --help`."""
    parser = command_line.CommandLine("Fuse score files of test.py, joined by sample name.")
    parser.add_argument("scores", nargs="+", help="score files, such as resnet_model_test_scores.pkl")
    chosen = parser.add_mutually_exclusive_group()
    sets = ", ".join(name if ratio is None else f"{name} {ratio}" for name, ratio in WEIGHT_SETS.items())
    chosen.add_argument(
        "--weights", nargs="+", default=["equal"], help=f"one a file (1 1 or 2:2:1:1), or one of {sets}"
    )
    chosen.add_argument(
        "--search", action="store_true", help="search the weights on half of the samples, score the other half"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the halves of --search")
    parser.add_argument("--softmax", action="store_true", help="turn logits into probabilities before they are fused")
    parser.add_argument(
        "--l2_norm", action="store_true", help="divide each sample's logits by their L2 norm first, as HD-GCN's authors"
    )
    parser.add_argument("--out", help="fused score file (.pkl), or result file (.json or .csv)")
    return parser.parse_args(argv)


def main(argv: list | None = None) -> None:
    """Fuse the score files that the command line names."""
    args = parse_arguments(argv)
    if args.out and not args.out.endswith((".json", ".csv", ".pkl")):
        raise ValueError(f"--out {args.out}: expected a name that ends in .json, .pkl or .csv")
    if args.out and os.path.realpath(args.out) in map(os.path.realpath, args.scores):
        raise ValueError(f"--out {args.out} is one of the files that are fused, and would be lost; choose another name")
    weights = None if args.search else read_weights(args.weights, len(args.scores))
    streams = [read_scores(path) for path in args.scores]
    streams = [order_like(streams[0], stream) for stream in streams]
    warn_of_repeats(streams)
    warn_of_other_training(streams)
    streams = unify_score_type(streams, args.softmax)
    streams = divide_by_norms(streams) if args.l2_norm else streams
    note = "all samples of the files"
    if args.search:
        weights, streams, note = search_on_half(streams, args.seed)
    report_fused(streams, weights, note, args.out, is_searched=args.search)


def divide_by_norms(streams: list) -> list:
    """Return the files with the logits of each sample divided by their L2 norm.

    Raises:
        ValueError: a file holds probabilities.
    """
    for stream in streams:
        if stream.protocol["average_clips"] != "score":
            raise ValueError(
                f"--l2_norm: '{stream.path}' is fused as probabilities, expected logits; score each network with "
                "-o RUN.average_clips=score, and leave --softmax out"
            )
    norms = [np.linalg.norm(stream.scores, axis=1, keepdims=True).clip(min=1e-12) for stream in streams]
    return [
        dataclasses.replace(stream, scores=stream.scores / norm) for stream, norm in zip(streams, norms, strict=True)
    ]


def report_fused(streams: list, weights: np.ndarray, note: str, out: str | None, is_searched: bool = False) -> None:
    """Fuse scores, print the figures, and write `out` if it is named.

    Args:
        streams: the files, with the same samples in one order.
        weights: one a file.
        note: which samples of the files those are.
        out: file to write, as --out.
        is_searched: the weights were searched.
    """
    fused = {"names": streams[0].names, "labels": streams[0].labels, "scores": fuse(streams, weights)}
    if fused["labels"] is None:
        print_weights(streams, weights)
    else:
        print_table(streams, weights, fused)
    if is_searched:
        equal = metrics.top_k_accuracy(fuse(streams, np.ones(len(streams))), fused["labels"], 1)
        print(f"with equal weights the same samples have top-1 {100 * equal:.2f}%")
    if out:
        write_fused(out, streams, weights, fused, note)
        fusion.write_report(out, streams, weights, fused, note)


def read_weights(values: list, num_files: int) -> np.ndarray:
    """Return the weights that `--weights` asks for.

    Args:
        values: numbers, one text such as `2:2:1:1`, or a name of `WEIGHT_SETS`.

    Returns:
        (num_files,) float64.

    Raises:
        ValueError: no such set, another number of weights than of files, a negative one, or all of them 0.
    """
    flag = f"--weights {' '.join(values)}"
    name = values[0].replace("-", "_")
    if name in WEIGHT_SETS and len(values) == 1:
        weights = WEIGHT_SETS[name] or [1] * num_files
    else:
        parts = [part for value in values for part in value.split(":")]
        try:
            weights = [float(part) for part in parts]
        except ValueError:
            known = f"{suggest(name, WEIGHT_SETS)} (known: {', '.join(WEIGHT_SETS)})"
            raise ValueError(f"{flag}: expected numbers or a name{known}") from None
    if len(weights) != num_files:
        raise ValueError(f"{flag}: these are {len(weights)} weights, for {num_files} score files; give one a file")
    weights = np.asarray(weights, np.float64)
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
        raise ValueError(f"{flag}: expected numbers from 0, at least one of them above 0")
    return weights


def warn_of_repeats(streams: list) -> None:
    """Warn of files that hold the same scores as an earlier one: a copy adds weight and nothing else."""
    for index, stream in enumerate(streams):
        for earlier in streams[:index]:
            if np.array_equal(stream.scores, earlier.scores):
                print(f"ensemble: WARNING: '{stream.path}' holds the same scores as '{earlier.path}'")
                break


def warn_of_other_training(streams: list) -> None:
    """Warn of networks that were trained on other samples than the first one: theirs may be among the scored ones."""
    known = {stream.path: data for stream in streams if (data := list_training(stream.protocol))}
    if len({frozenset(each.get("digest") for each in data) for data in known.values()}) > 1:
        shown = {
            path: dict.fromkeys(f"{each.get('samples')} ({each.get('digest')})" for each in data)
            for path, data in known.items()
        }
        listed = ", ".join(f"'{path}' on {' and '.join(data)}" for path, data in shown.items())
        print(f"ensemble: WARNING: trained on other samples, which may be among the scored ones: {listed}")


def list_training(protocol: dict) -> list[dict]:
    """Return what the networks behind a score file were trained on, also those of a file that was fused."""
    members = [each["protocol"] for each in protocol.get("fused", [])]
    own = protocol.get("trained_on")
    return [*([own] if isinstance(own, dict) else []), *(data for each in members for data in list_training(each))]


def fuse(streams: list, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of the streams' scores: (N, num_classes)."""
    shares = np.asarray(weights) / np.sum(weights)
    return sum(share * stream.scores for share, stream in zip(shares, streams, strict=True))


def search_on_half(streams: list, seed: int) -> tuple:
    """Search the weights on half of the samples, and print the accuracy that they reach there.

    Returns:
        weights, the streams with the other half of the samples, and a note on which samples those are.

    Raises:
        ValueError: one file, or one sample.
    """
    num_samples = len(streams[0].names)
    if streams[0].labels is None:
        raise ValueError("--search: the samples have no labels, by which weights are searched; give --weights")
    if len(streams) < 2 or num_samples < 2:
        raise ValueError(f"--search: {len(streams)} file of {num_samples} samples, expected at least two of both")
    searched, held_out = split_in_halves(streams[0].labels, seed)
    weights, accuracy = search_weights([stream.subset(searched) for stream in streams])
    shown = " ".join(f"{weight:g}" for weight in weights)
    print(
        f"searched on {len(searched)} samples, half of each class by seed {seed}: --weights {shown}\n"
        f"top-1 on those samples {100 * accuracy:.2f}%, OPTIMISTIC: they chose the weights\n"
        f"all that follows is of the other {len(held_out)} samples, which the search has not seen: the honest figure"
    )
    note = f"{len(held_out)} of {num_samples} samples, those that the weight search (seed {seed}) has not seen"
    return weights, [stream.subset(held_out) for stream in streams], note


def split_in_halves(labels: np.ndarray, seed: int) -> tuple:
    """Divide samples at random into two halves with, but for one sample, equally many of each class.

    Returns:
        Two sorted arrays of indices.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(np.asarray(labels)[shuffled], kind="stable")]
    return np.sort(by_class[::2]), np.sort(by_class[1::2])


def search_weights(streams: list) -> tuple:
    """Search the weights of the best top-1: one file's after the other's, from equal ones, until none gets better.

    Of equally good weights the one nearest to 1 is taken.

    Returns:
        weights (num_files,) from 0 to 2, and the top-1 they reach.
    """
    labels, weights, previous = streams[0].labels, np.ones(len(streams)), None
    while not np.array_equal(weights, previous):
        previous = weights.copy()
        for index in range(len(streams)):
            candidates = [np.where(np.arange(len(streams)) == index, weight, weights) for weight in SEARCHED_WEIGHTS]
            candidates = [candidate for candidate in candidates if candidate.sum() > 0]
            num_correct = [int((fuse(streams, each).argmax(axis=1) == labels).sum()) for each in candidates]
            weights = candidates[int(np.argmax(num_correct))]
    return weights, max(num_correct) / len(labels)


def print_table(streams: list, weights: np.ndarray, fused: dict) -> None:
    """Print a line a file, the fused line, the gain over the best file, and chance."""
    num_classes, labels = fused["scores"].shape[1], fused["labels"]
    score_type = SCORE_TYPES[streams[0].protocol["average_clips"]]
    rows = [(stream.path, f"{weight:g}", stream.scores) for stream, weight in zip(streams, weights, strict=True)]
    rows.append((f"fused, weighted mean of {score_type}", "", fused["scores"]))
    width = max(len(name) for name, _, _ in rows)
    print(f"{'':{width}}  weight    top-1  {f'top-{min(5, num_classes)}':>7}  mean class")
    top1s = []
    for name, weight, scores in rows:
        figures = metrics.summarize(scores, labels)
        top1s.append(figures["top1"])
        cells = [f"{100 * figures[key]:.2f}%" for key in ("top1", "top5", "mean_class_accuracy")]
        print(f"{name:{width}}  {weight:>6}  {cells[0]:>7}  {cells[1]:>7}  {cells[2]:>10}")
    best = int(np.argmax(top1s[:-1]))
    gain = 100 * (top1s[-1] - top1s[best])
    print(wrap(f"fused against the best single file, {rows[best][0]}: {gain:+.2f} points of top-1"))
    print(
        f"{len(labels)} samples; chance {100 / num_classes:.2f}%, always the largest class "
        f"{100 * metrics.majority_level(labels):.2f}%"
    )


def print_weights(streams: list, weights: np.ndarray) -> None:
    """Print the weight of each file of samples without labels, for which there is no accuracy."""
    width = max(len(stream.path) for stream in streams)
    for stream, weight in zip(streams, weights, strict=True):
        print(f"{stream.path:{width}}  weight {weight:g}")
    print(f"fused, weighted mean of {SCORE_TYPES[streams[0].protocol['average_clips']]}")
    print(f"{len(streams[0].names)} samples, which have no labels: no accuracy")


def write_fused(path: str, streams: list, weights: np.ndarray, fused: dict, note: str) -> None:
    """Write the fused scores as a score file (`.pkl`), or the figures and predictions (`.json`, `.csv`)."""
    members = [
        {"file": stream.path, "weight": float(weight), "protocol": stream.protocol}
        for stream, weight in zip(streams, weights, strict=True)
    ]
    protocol = {"average_clips": streams[0].protocol["average_clips"], "samples": note, "fused": members}
    class_names, labels = streams[0].class_names, fused["labels"]
    if labels is None:
        answers = os.path.join(os.path.dirname(path), submission.NAME)
        submission.write_submission(answers, fused, class_names, protocol)
        print(f"written: {answers}")
        if os.path.basename(path) == submission.NAME:
            return
    if path.endswith(".pkl"):
        report.write_scores(path, fused, class_names, protocol)
    else:
        report.write_result(path, fused, class_names, summarize(streams, fused, protocol), top_k=5)
    print(f"written: {path}")


def summarize(streams: list, fused: dict, protocol: dict) -> dict:
    """Return the figures of the fused scores and of each file; without labels there are none."""
    labels, num_classes = fused["labels"], len(streams[0].class_names)
    counts = {"num_samples": len(fused["names"]), "chance": 1 / num_classes}
    if labels is None:
        return {**counts, "protocol": protocol}
    return {
        **metrics.summarize(fused["scores"], labels),
        **counts,
        "majority": metrics.majority_level(labels),
        "files": {stream.path: metrics.summarize(stream.scores, labels) for stream in streams},
        "protocol": protocol,
    }


if __name__ == "__main__":
    command_line.run_main(main)
