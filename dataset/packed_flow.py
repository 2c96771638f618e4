"""Optical flow in packed records: the flow files of a frame folder as they are, each with a checksum.

A record that has it holds "flow", the JPEG bytes in the order x 1, y 1, x 2, y 2, ..., and "flow_checksums", the CRC-32
of each; see `dataset/flow_files.py`.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from dataset.flow_files import count_fields

KEY, CHECKSUMS = "flow", "flow_checksums"
ADVICE = "run avi2jpg.py --flow, then jpg2pkl.py --pack --flow"


def pack(files: list[bytes]) -> dict[str, list]:
    """Return the fields of a record for flow files in the order x 1, y 1, x 2, y 2, ..."""
    return {KEY: files, CHECKSUMS: [zlib.crc32(data) for data in files]}


def read_fields(record: dict[str, Any], num_frames: int, path: str) -> dict[str, list]:
    """Return the flow of a record, {} where it has none.

    Raises:
        ValueError: it is no list of bytes, two for each field, with as many checksums.
    """
    if record.get(KEY) is None:
        return {}
    files, checksums = record[KEY], record.get(CHECKSUMS)
    size = 2 * count_fields(num_frames)
    for key, values, kind in ((KEY, files, bytes), (CHECKSUMS, checksums, int)):
        is_list = isinstance(values, (list, tuple)) and all(isinstance(value, kind) for value in values)
        if not is_list or len(values) != size:
            raise ValueError(
                f"'{path}': field '{key}' is not {size} of {kind.__name__}, for the flow of {num_frames} frames; "
                "make the record again with jpg2pkl.py --pack --flow"
            )
    return {KEY: list(files), CHECKSUMS: list(checksums)}


def check(fields: dict[str, list], check_pictures: Callable) -> None:
    """Check that the flow of a record is undamaged.

    Args:
        fields: as `read_fields` returns them.
        check_pictures: refuses (name, data) pairs that are no whole pictures of one size.

    Raises:
        ValueError: naming the file that is not.
    """
    check_pictures(_checked_files(fields))


def _checked_files(fields: dict[str, list]) -> Iterator[tuple[str, bytes]]:
    pairs = zip(fields.get(KEY, []), fields.get(CHECKSUMS, []), strict=True)
    for index, (data, checksum) in enumerate(pairs):
        name = f"flow {'xy'[index % 2]} {index // 2 + 1}"
        if zlib.crc32(data) != checksum:
            raise ValueError(f"{name} is damaged (checksum); delete the record and run jpg2pkl.py --pack --flow again")
        yield name, data
