"""VisualDL's file of a run that goes on: each point once, and none of the updates that were lost."""

import os
import pathlib
import struct
from collections.abc import Iterator

from common import files

LENGTH = struct.Struct("<Q")  # before each record
OF_TESTS = "test/"  # tags of test.py, which writes into the same file


def keep_points(path: str, points: dict, num_epochs: int) -> dict:
    """Rewrite a file of VisualDL so that of a run's scalars it has `points` alone, each once.

    Of what stands nowhere else, such as pictures, the first of each tag and step stays, of histograms those of kept
    epochs; so does all that test.py wrote. Without points the file is removed.

    Args:
        path: the file; it may be missing.
        points: {(tag, step): number}.
        num_epochs: epochs that are kept.

    Returns:
        The points that the file lacks.
    """
    if not points:
        pathlib.Path(path).unlink(missing_ok=True)
    if not os.path.exists(path):
        return points
    seen = set()
    with files.write_atomically(path) as file:
        for record, kind, tag, step in _read_records(path):
            is_wanted = (tag, step) in points if kind == "value" else kind != "histogram" or step < num_epochs
            if tag.startswith(OF_TESTS) or (is_wanted and (kind, tag, step) not in seen):
                seen.add((kind, tag, step))
                file.write(LENGTH.pack(len(record)) + record)
    return {point: value for point, value in points.items() if ("value", *point) not in seen}


def _read_records(path: str) -> Iterator[tuple]:
    """Yield the bytes, the kind, the tag and the step of each whole record."""
    from visualdl.proto import record_pb2  # imported here, as in engine.logger

    with open(path, "rb") as file:
        while len(header := file.read(LENGTH.size)) == LENGTH.size:
            length = LENGTH.unpack(header)[0]
            record = file.read(length)
            if len(record) < length:  # the process was killed while writing it
                return
            for value in record_pb2.Record.FromString(record).values:
                yield record, value.WhichOneof("one_value"), value.tag, value.id
