"""The answers for samples without labels, in the form in which they are handed in: `submission.csv`.

Rows of an array, which have no name but their number (`skeleton2pkl.py npy` calls row 12 of `test_A_data.npy`
test_A_000012), become `sample_index,predict_category`, as the figure skating competition (FSD) and PaddleVideo have it;
all other samples become `name,class` and the score of each class.
"""

import csv
import io
import logging
import os
import re

from common import files

NAME = "submission.csv"


def find_array_rows(names: list, split: str | None) -> list[int] | None:
    """Return the row that each sample of a split has in its array, or None where they have names of their own."""
    matches = [re.fullmatch(r"(.+)_(\d{6,})", name) for name in names]
    are_rows = all(match is not None and match[1] == split for match in matches)
    return [int(match[2]) for match in matches] if are_rows else None


def find_split(protocol: dict) -> str | None:
    """Return the split of the skeleton pkl that scores are of, also where several files were fused, or None."""
    while protocol.get("fused"):
        protocol = protocol["fused"][0]["protocol"]
    return protocol.get("split")


def write_submission(path: str, result: dict, class_names: list, protocol: dict) -> None:
    """Write the answer for each sample, text in UTF-8 with lines that end in CR LF.

    Args:
        path: file to write.
        result: "names" of the samples, "scores" (N, num_classes).
        class_names: names by label.
        protocol: of the score file.
    """
    names, scores = result["names"], result["scores"]
    rows, answers = find_array_rows(names, find_split(protocol)), scores.argmax(axis=1)
    if rows is not None:
        lines = [["sample_index", "predict_category"], *sorted(zip(rows, answers.tolist(), strict=True))]
        missing = sorted(set(range(max(rows))) - set(rows))
        if missing:
            logging.warning(
                f"{path}: {len(missing)} rows of the array have no answer, first {missing[0]}: skeleton2pkl.py could "
                "not read them; add a line for each before it is handed in"
            )
    else:
        lines = [["name", "class", *class_names]]
        lines += [
            [name, class_names[answer], *(f"{score:.6f}" for score in row)]
            for name, answer, row in zip(names, answers, scores, strict=True)
        ]
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    with files.write_atomically(path) as file:
        file.write(text.getvalue().encode())
    logging.info(f"written: {path}, columns {', '.join(lines[0][:3])}{' ...' if len(lines[0]) > 3 else ''}")


def remove_figures(base: str) -> None:
    """Remove what an earlier test of labelled samples left at `base`, which would seem to be of these samples."""
    for ending in ("_classes.csv", "_wrong.csv", "_confusion.png", "_report.html"):
        if os.path.exists(base + ending):
            os.remove(base + ending)
