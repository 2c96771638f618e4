"""Fuse the scores of several networks or streams, sample by sample, from the score files that test.py writes.

python ensemble.py output/joint/ctrgcn_model_test_scores.pkl output/bone/ctrgcn_model_test_scores.pkl --weights 1 1
python ensemble.py a_scores.pkl b_scores.pkl c_scores.pkl d_scores.pkl --weights four_stream --out output/fused.pkl
python ensemble.py a_scores.pkl b_scores.pkl --search

The fused score is the weighted mean of the scores as they are: its ranking is that of the weighted sum that papers
report, and a mean of probabilities is a probability, so that what `--out` writes can be fused again.
"""

import argparse
import dataclasses

import numpy as np

from common import command_line, files
from common.suggestions import suggest
from engine import metrics, report

WEIGHT_SETS = {
    "equal": None,  # for any number of files
    "two_stream": (1, 1),  # joint, bone: 2s-AGCN, MS-G3D
    "three_stream": (0.4, 0.3, 0.3),
    "four_stream": (2, 2, 1, 1),  # joint, bone, joint motion, bone motion: PYSKL
    "ctrgcn": (0.6, 0.6, 0.4, 0.4),  # the same four in the code of CTR-GCN
}
KINDS = {"prob": "probabilities", "score": "logits"}  # by the average_clips of test.py
SEARCHED_WEIGHTS = sorted((step / 10 for step in range(21)), key=lambda weight: abs(weight - 1))


@dataclasses.dataclass
class ScoreFile:
    """What a score file holds.

    Attributes:
        names: of the samples.
        labels: (N,) class ids.
        scores: (N, num_classes) float64.
        protocol: how the samples were scored; `average_clips` tells probabilities (`prob`) from logits (`score`).
    """

    path: str
    names: list
    labels: np.ndarray
    scores: np.ndarray
    class_names: list
    protocol: dict

    def take(self, indices: np.ndarray) -> "ScoreFile":
        """Return the samples at `indices`, in that order."""
        names = [self.names[index] for index in indices]
        return dataclasses.replace(self, names=names, labels=self.labels[indices], scores=self.scores[indices])


def parse_arguments(words: list | None = None) -> argparse.Namespace:
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
    parser.add_argument("--out", help="fused score file (.pkl), or result file (.json or .csv)")
    return parser.parse_args(words)


def main(words: list | None = None) -> None:
    """Fuse the score files that the command line names."""
    args = parse_arguments(words)
    if args.out and not args.out.endswith((".json", ".csv", ".pkl")):
        raise ValueError(f"--out {args.out}: expected a name that ends in .json, .pkl or .csv")
    weights = None if args.search else read_weights(args.weights, len(args.scores))
    streams = [read_scores(path) for path in args.scores]
    streams = [order_like(streams[0], stream) for stream in streams]
    warn_of_repeats(streams)
    streams = settle_kind(streams, args.softmax)
    note = "all samples of the files"
    if args.search:
        weights, streams, note = search_on_half(streams, args.seed)
    fused = {"names": streams[0].names, "labels": streams[0].labels, "scores": fuse(streams, weights)}
    tell(streams, weights, fused)
    if args.search:
        equal = metrics.top_k_accuracy(fuse(streams, np.ones(len(streams))), fused["labels"], 1)
        print(f"with equal weights the same samples have top-1 {100 * equal:.2f}%")
    if args.out:
        write(args.out, streams, weights, fused, note)


def read_weights(words: list, num_files: int) -> np.ndarray:
    """Return the weights that `--weights` asks for.

    Args:
        words: numbers, one text such as `2:2:1:1`, or a name of `WEIGHT_SETS`.

    Returns:
        (num_files,) float64.

    Raises:
        ValueError: no such set, another number of weights than of files, a negative one, or all of them 0.
    """
    told = f"--weights {' '.join(words)}"
    name = words[0].replace("-", "_")
    if name in WEIGHT_SETS and len(words) == 1:
        weights = WEIGHT_SETS[name] or [1] * num_files
    else:
        parts = [part for word in words for part in word.split(":")]
        try:
            weights = [float(part) for part in parts]
        except ValueError:
            known = f"{suggest(name, WEIGHT_SETS)} (known: {', '.join(WEIGHT_SETS)})"
            raise ValueError(f"{told}: expected numbers or a name{known}") from None
    if len(weights) != num_files:
        raise ValueError(f"{told}: these are {len(weights)} weights, for {num_files} score files; give one a file")
    weights = np.asarray(weights, np.float64)
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
        raise ValueError(f"{told}: expected numbers from 0, at least one of them above 0")
    return weights


def read_scores(path: str) -> ScoreFile:
    """Read a score file (see `report.write_scores`).

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, scores that do not fit its class names, or that are not finite.
    """
    content = files.load_pickle(path)
    expected = {"scores", "labels", "class_names", "protocol"}
    if not isinstance(content, dict) or not expected <= set(content):
        held = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ValueError(
            f"'{path}' is no score file: it holds {held}, expected {', '.join(sorted(expected))}; give the "
            "*_test_scores.pkl of test.py"
        )
    kind, class_names = content["protocol"].get("average_clips"), content["class_names"]
    if kind not in KINDS:
        raise ValueError(f"'{path}': its protocol has average_clips {kind!r}, expected 'prob' or 'score'; run test.py")
    if set(content["labels"]) != set(content["scores"]) or not content["scores"]:
        raise ValueError(
            f"'{path}': {len(content['scores'])} samples have scores, {len(content['labels'])} have labels"
        )
    shapes = {np.shape(row) for row in content["scores"].values()}
    if shapes != {(len(class_names),)}:
        raise ValueError(f"'{path}': scores of shape {sorted(shapes)}, expected {len(class_names)}, one a class")
    names = list(content["scores"])
    scores = np.stack([content["scores"][name] for name in names]).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        raise ValueError(
            f"'{path}': {len(bad)} of {len(names)} samples have scores that are nan or infinite, such as "
            f"'{names[bad[0]]}'; the network or its weights are broken, score again"
        )
    labels = np.array([content["labels"][name] for name in names])
    return ScoreFile(path, names, labels, scores, list(class_names), content["protocol"])


def order_like(first: ScoreFile, other: ScoreFile) -> ScoreFile:
    """Return `other` with its samples in the order of `first`.

    Raises:
        ValueError: the two differ in their classes, samples or labels; shows how.
    """
    pair = f"'{first.path}' and '{other.path}'"
    sizes = len(first.class_names), len(other.class_names)
    if sizes[0] != sizes[1]:
        raise ValueError(f"{pair} have scores for {sizes[0]} and {sizes[1]} classes; fuse files of one data set")
    for label, (own, theirs) in enumerate(zip(first.class_names, other.class_names, strict=True)):
        if own != theirs:
            raise ValueError(
                f"{pair}: class {label} is {own!r} in the one and {theirs!r} in the other; score both with lists of "
                "one class file"
            )
    _compare_names(first, other, pair)
    place = {name: index for index, name in enumerate(other.names)}
    other = other.take(np.array([place[name] for name in first.names]))
    differ = np.flatnonzero(other.labels != first.labels)
    if len(differ):
        at = differ[0]
        raise ValueError(
            f"{pair}: '{first.names[at]}' has label {first.labels[at]} in the one and {other.labels[at]} in the other "
            f"({len(differ)} samples differ); score both with lists of one run of the data scripts"
        )
    return other


def _compare_names(first: ScoreFile, other: ScoreFile, pair: str) -> None:
    alone = [sorted(set(one.names) - set(two.names)) for one, two in ((first, other), (other, first))]
    if any(alone):
        told = [f"{len(names)} only in the {which}" for names, which in zip(alone, ("first", "second"), strict=True)]
        told = [f"{text} ({', '.join(names[:3])})" if names else text for text, names in zip(told, alone, strict=True)]
        shared = len(first.names) - len(alone[0])
        raise ValueError(
            f"{pair} hold different samples: {' and '.join(told)}, {shared} in both; score the same list with each"
        )


def warn_of_repeats(streams: list) -> None:
    """Say which files hold the same scores as an earlier one: a copy adds weight, and nothing else."""
    for index, stream in enumerate(streams):
        for earlier in streams[:index]:
            if np.array_equal(stream.scores, earlier.scores):
                print(f"ensemble: WARNING: '{stream.path}' holds the same scores as '{earlier.path}'")
                break


def settle_kind(streams: list, softmax: bool) -> list:
    """Return the streams with scores of one kind; with `softmax`, logits become probabilities.

    Raises:
        ValueError: probabilities and logits are mixed; a sum of the two would mean nothing.
    """
    if softmax:
        streams = [_to_probabilities(stream) for stream in streams]
    kinds = [KINDS[stream.protocol["average_clips"]] for stream in streams]
    if len(set(kinds)) > 1:
        other = next(index for index, kind in enumerate(kinds) if kind != kinds[0])
        raise ValueError(
            f"'{streams[0].path}' holds {kinds[0]} and '{streams[other].path}' holds {kinds[other]}; add --softmax to "
            "turn logits into probabilities, or score both with the same --average_clips"
        )
    return streams


def _to_probabilities(stream: ScoreFile) -> ScoreFile:
    if stream.protocol["average_clips"] == "prob":
        return stream
    protocol = {**stream.protocol, "average_clips": "prob", "softmax_by": "ensemble.py"}
    return dataclasses.replace(stream, scores=metrics.softmax(stream.scores), protocol=protocol)


def fuse(streams: list, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of the streams' scores: (N, num_classes)."""
    shares = np.asarray(weights) / np.sum(weights)
    return sum(share * stream.scores for share, stream in zip(shares, streams, strict=True))


def search_on_half(streams: list, seed: int) -> tuple:
    """Search the weights on half of the samples, and say what they reach there.

    Returns:
        weights, the streams cut down to the other half, and a note on which samples those are.

    Raises:
        ValueError: one file, or one sample.
    """
    num_samples = len(streams[0].names)
    if len(streams) < 2 or num_samples < 2:
        raise ValueError(f"--search: {len(streams)} file of {num_samples} samples, expected at least two of both")
    seen, unseen = split_in_halves(streams[0].labels, seed)
    weights, accuracy = search_weights([stream.take(seen) for stream in streams])
    words = " ".join(f"{weight:g}" for weight in weights)
    print(
        f"searched on {len(seen)} samples, half of each class by seed {seed}: --weights {words}\n"
        f"top-1 on those samples {100 * accuracy:.2f}%, OPTIMISTIC: they chose the weights\n"
        f"all that follows is of the other {len(unseen)} samples, which the search has not seen: the honest figure"
    )
    note = f"{len(unseen)} of {num_samples} samples, those that the weight search (seed {seed}) has not seen"
    return weights, [stream.take(unseen) for stream in streams], note


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

    Of equally good weights the one nearest to 1 is taken, so a file is only favoured for a reason.

    Returns:
        weights (num_files,) from 0 to 2, and the top-1 they reach.
    """
    labels, weights, before = streams[0].labels, np.ones(len(streams)), None
    while not np.array_equal(weights, before):
        before = weights.copy()
        for index in range(len(streams)):
            tried = [np.where(np.arange(len(streams)) == index, weight, weights) for weight in SEARCHED_WEIGHTS]
            tried = [one for one in tried if one.sum() > 0]
            hits = [int((fuse(streams, one).argmax(axis=1) == labels).sum()) for one in tried]
            weights = tried[int(np.argmax(hits))]
    return weights, max(hits) / len(labels)


def tell(streams: list, weights: np.ndarray, fused: dict) -> None:
    """Print a line a file, the fused line, the gain over the best file, and chance."""
    num_classes, labels = fused["scores"].shape[1], fused["labels"]
    kind = KINDS[streams[0].protocol["average_clips"]]
    rows = [(stream.path, f"{weight:g}", stream.scores) for stream, weight in zip(streams, weights, strict=True)]
    rows.append((f"fused, weighted mean of {kind}", "", fused["scores"]))
    width = max(len(name) for name, _, _ in rows)
    print(f"{'':{width}}  weight    top-1  {f'top-{min(5, num_classes)}':>7}  mean class accuracy")
    top1s = []
    for name, weight, scores in rows:
        figures = metrics.summarize(scores, labels)
        top1s.append(figures["top1"])
        told = [f"{100 * figures[key]:.2f}%" for key in ("top1", "top5", "mean_class_accuracy")]
        print(f"{name:{width}}  {weight:>6}  {told[0]:>7}  {told[1]:>7}  {told[2]:>19}")
    best = int(np.argmax(top1s[:-1]))
    gain = 100 * (top1s[-1] - top1s[best])
    print(f"fused against the best single file, {rows[best][0]}: {gain:+.2f} points of top-1")
    print(
        f"{len(labels)} samples; chance {100 / num_classes:.2f}%, always the largest class "
        f"{100 * metrics.majority_level(labels):.2f}%"
    )


def write(path: str, streams: list, weights: np.ndarray, fused: dict, note: str) -> None:
    """Write the fused scores as a score file (`.pkl`), or the figures and predictions (`.json`, `.csv`)."""
    members = [
        {"file": stream.path, "weight": float(weight), "protocol": stream.protocol}
        for stream, weight in zip(streams, weights, strict=True)
    ]
    protocol = {"average_clips": streams[0].protocol["average_clips"], "samples": note, "fused": members}
    class_names = streams[0].class_names
    if path.endswith(".pkl"):
        report.write_scores(path, fused, class_names, protocol)
    else:
        summary = {
            **metrics.summarize(fused["scores"], fused["labels"]),
            "num_samples": len(fused["names"]),
            "chance": 1 / len(class_names),
            "majority": metrics.majority_level(fused["labels"]),
            "files": {stream.path: metrics.summarize(stream.scores, stream.labels) for stream in streams},
            "protocol": protocol,
        }
        report.write_result(path, fused, class_names, summary, top_k=5)
    print(f"written: {path}")


if __name__ == "__main__":
    command_line.run_main(main)
