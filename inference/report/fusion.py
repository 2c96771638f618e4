"""The report of ensemble.py, and so of train_streams.py."""

import os

import numpy as np

from engine import metrics
from inference.report import page, scores


def write_report(out: str, streams: list, weights: np.ndarray, fused: dict, note: str) -> None:
    """Write the report of a fusion beside its scores; one that cannot be written is one line on the screen.

    Args:
        out: file of the fused scores; that of the report is `name_report(out)`.
        streams: what was fused, `score_files.ScoreFile`.
        weights: one a stream.
        fused: {"names", "labels", "scores"}; `labels` is None where there are none.
        note: which samples those are.
    """
    path = name_report(out)
    try:
        page.write_page(path, describe_fusion(streams, weights, fused, note))
    except OSError as error:
        print(f"no report: {error}")
    else:
        print(f"written: {path} (opens in a browser, needs no network)")


def name_report(out: str) -> str:
    """Return `fused_report.html` for `fused_scores.pkl` or `fused.json`."""
    return f"{os.path.splitext(out)[0].removesuffix('_scores')}_report.html"


def describe_fusion(streams: list, weights: np.ndarray, fused: dict, note: str) -> dict:
    """Return the variables of the template, see `write_report`."""
    labels, average_clips, class_names = fused["labels"], streams[0].protocol["average_clips"], streams[0].class_names
    summary, rows = {"num_samples": len(fused["names"]), "chance": 1 / len(class_names)}, []
    if labels is not None:
        summary = {**metrics.summarize(fused["scores"], labels), **summary, "majority": metrics.majority_level(labels)}
        rows = [
            (_name_stream(stream), float(weight), metrics.summarize(stream.scores, labels))
            for stream, weight in zip(streams, weights, strict=True)
        ]
        rows.append(("fused", None, summary))
    return {
        "title": f"Fusion of {len(streams)} score files",
        "warning": None,
        "chosen": "Which epoch each file is of, and which list chose it, stands in the report beside that file.",
        "loss": None,
        "protocol": {"samples": note, "average_clips": average_clips},
        "streams": rows,
        "curves": [],
        "curves_note": "",
        "colors_note": "",
        "settings": [],
        "seed": None,
        "making": page.describe_making(),
        **scores.describe_result(summary, fused, class_names, average_clips),
    }


def _name_stream(stream) -> str:
    name = stream.protocol.get("stream")
    return stream.path if name is None else f"{name}: {stream.path}"
