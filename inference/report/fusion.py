"""The report of ensemble.py."""

from inference.report import page, scores

CHOSEN = "Each file has the scores of one network; which epoch each is of stands in its own report."


def write_report(path: str, rows: list, summary: dict, fused: dict, class_names: list, protocol: dict) -> None:
    """Write the report of a fusion.

    Args:
        rows: name, weight (None of the fusion), and figures of `metrics.summarize` for each file, the fusion last.
        summary: figures of the fusion.
        fused: {"names", "labels", "scores"}.
        class_names: names by label.
        protocol: of the fused score file.

    Raises:
        OSError: the file cannot be written.
    """
    content = {
        "title": f"{len(rows) - 1} score files, fused",
        "chosen": CHOSEN,
        "loss": None,
        "protocol": {"samples": protocol["samples"], "average_clips": protocol["average_clips"]},
        "streams": rows,
        "curves": [],
        "curves_note": "",
        "settings": [],
        "seed": None,
        "making": page.describe_making(),
        **scores.describe_result(summary, fused, class_names, protocol["average_clips"]),
    }
    page.write_page(path, content)
