"""Logging of a run: lines on the screen and in `logger.log`, a jsonl file, and VisualDL."""

import contextlib
import io
import json
import logging
import os
import sys
import time

import numpy as np
import tqdm

from common import curves, files, screen
from common.messages import advise, explain_os_error
from common.text_files import decode_text

STEP_TAGS = "train/step_"  # of the numbers of an update; those of an epoch have other tags
VDL_FILE = "vdlrecords.run.log"  # the same after a resume: VisualDL shows only the newest file of a folder


class ScreenHandler(logging.Handler):
    """Print log lines without a prefix, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; log it once if the screen is gone."""
        tqdm.tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()
        if screen.failures:
            failures = "; ".join(screen.failures)
            screen.failures.clear()
            logging.getLogger().warning(f"{failures}; the run goes on")


class LogFileHandler(logging.StreamHandler):
    """Append log lines to a file, with level, source file and line number before them.

    Before the first line of a second stands a line with the time. A file that cannot be written any more ends no run.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, log_file: str):
        try:
            self.descriptor = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise explain_os_error(error, f"{log_file} (RUN.log_file)") from error
        file = io.BufferedWriter(screen.Screen(self.descriptor, f"'{log_file}' (RUN.log_file)"))
        super().__init__(io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace"))
        self.setFormatter(logging.Formatter("[%(levelname)s: %(filename)s: %(lineno)4d]: %(message)s"))
        self.last_time = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and the time before it."""
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        if now != self.last_time:
            self.last_time = now
            self.stream.write(f"[TIME: {now}]\n")
        super().emit(record)

    def close(self) -> None:
        """Close the file."""
        super().close()
        if self.descriptor is not None:
            self.stream.close()
            os.close(self.descriptor)
            self.descriptor = None


def setup_logging(log_file: str | None) -> None:
    """Send log lines to the screen and to `log_file`; replace the handlers of an earlier call.

    Args:
        log_file: file to append to; None for no file (all but the first process of a run on several GPUs). Of one that
            cannot be written a line says so.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, (ScreenHandler, LogFileHandler)) or _writes_to_stderr(handler):
            root.removeHandler(handler)
            handler.close()
    root.addHandler(ScreenHandler(logging.INFO))
    root.setLevel(logging.DEBUG)
    if log_file is not None:
        try:
            os.makedirs(os.path.dirname(log_file) or ".", exist_ok=True)
            root.addHandler(LogFileHandler(log_file))
        except OSError as error:
            why = error.strerror or error
            root.warning(f"RUN.log_file: '{log_file}' cannot be written ({why}); log lines stand on the screen alone")
    for noisy in ("matplotlib", "PIL", "visualdl", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _writes_to_stderr(handler: logging.Handler) -> bool:
    """Return whether a handler is such as importing Paddle adds."""
    return isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr


class RunLog:
    """Write the metrics of a run to a jsonl file and to VisualDL.

    An error of VisualDL, or of writing the jsonl file, is logged once; the run continues without it.

    Args:
        jsonl_file: file to append to, one JSON object a line, with `step` and `epoch`; None writes nothing at all.
        vdl_dir: folder for `visualdl --logdir`.
        first_step: update from which the run continues. 0 clears both logs; another number removes what an interrupted
            run has left after that update; None only appends.
        num_epochs: epochs whose means the logs keep; None: those up to `first_step`.
    """

    def __init__(self, jsonl_file: str | None, vdl_dir: str, first_step: int | None = 0, num_epochs: int | None = None):
        self.jsonl_file, self.vdl_dir, self.writer = jsonl_file, vdl_dir, None
        self.is_vdl_alive, self.num_vdl_bytes = jsonl_file is not None, 0
        if jsonl_file is None:
            return
        files.make_folder(os.path.dirname(jsonl_file) or ".")
        kept = None if first_step is None else _truncate_jsonl(jsonl_file, first_step, num_epochs)
        kept = None if first_step and not kept else kept  # without a record there is nothing to draw the curves anew by
        self._guard(lambda: self._open_writer(kept))

    def _open_writer(self, kept: list | None) -> None:
        """Open VisualDL's file.

        Args:
            kept: rows of the jsonl file, each of which is to stand once in the curves; None leaves them as they are.
        """
        from visualdl import LogWriter  # imported here, so that an error of it is caught by _guard

        path = os.path.join(self.vdl_dir, VDL_FILE)
        points = _list_points(kept or [])
        num_epochs = 1 + max((step for tag, step in points if not tag.startswith(STEP_TAGS)), default=-1)
        missing = {} if kept is None else curves.keep_points(path, points, num_epochs)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a note where the file exists
            self.writer = LogWriter(logdir=self.vdl_dir, file_name=VDL_FILE)
        for (tag, step), value in missing.items():
            self.scalars(step, {tag: value})

    def record(self, step: int, epoch: int, **values) -> None:
        """Append a line to the jsonl file."""
        if self.jsonl_file is None:
            return
        line = json.dumps({"step": step, "epoch": epoch, **values}, ensure_ascii=False)
        try:
            with open(self.jsonl_file, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:  # part of a line may be there; a resumed run removes it
            reason = f"cannot be written ({error.strerror}): {advise(error)}"
            logging.getLogger().warning(f"'{self.jsonl_file}' {reason}; the run goes on without it")
            self.jsonl_file = None

    def means(self, step: int, row: dict) -> None:
        """Add the numbers of an epoch, `epoch` among them, to the jsonl file and to VisualDL."""
        self.scalars(row["epoch"], {tag: value for tag, value in row.items() if tag != "epoch"})
        self._guard(self._check_growth)
        self.record(step, **row)

    def scalars(self, step: int, values: dict) -> None:
        """Add {tag: number} to VisualDL."""
        for tag, value in values.items():
            self._guard(lambda tag=tag, value=value: self.writer.add_scalar(tag=tag, value=float(value), step=step))

    def image(self, step: int, tag: str, image: np.ndarray) -> None:
        """Add a uint8 RGB picture (H, W, 3) to VisualDL."""
        self._guard(lambda: self.writer.add_image(tag=tag, img=image, step=step))

    def histograms(self, step: int, values: dict) -> None:
        """Add {tag: array} as histograms to VisualDL."""
        for tag, array in values.items():
            flat = np.asarray(array, dtype=np.float64).reshape(-1)
            self._guard(lambda tag=tag, flat=flat: self.writer.add_histogram(tag, flat, step, buckets=20))

    def hyper_parameters(self, values: dict, metrics: list) -> None:
        """Add the hyperparameters of a run to VisualDL, which compares runs by the scalar tags `metrics`."""
        plain = {key: value if type(value) in (int, float, str) else str(value) for key, value in values.items()}
        self._guard(lambda: self.writer.add_hparams(plain, metrics))

    def close(self) -> None:
        """Flush and close the VisualDL file."""
        self._guard(lambda: self.writer.close())
        self.writer = None

    def _check_growth(self) -> None:
        """Raise an OSError if nothing has come to VisualDL's file, whose own thread gets the errors of writing."""
        self.writer.flush()
        num_bytes, path = self.num_vdl_bytes, os.path.join(self.vdl_dir, VDL_FILE)
        self.num_vdl_bytes = os.path.getsize(path)
        if self.num_vdl_bytes <= num_bytes:
            raise OSError(f"{VDL_FILE} does not grow; is the disk full?")

    def _guard(self, action) -> None:
        """Call `action`, unless VisualDL has failed before; log an error and disable VisualDL."""
        if not self.is_vdl_alive:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  no error of a plotting tool may stop a training
            logging.getLogger().warning(f"VisualDL stopped logging to '{self.vdl_dir}': {error}; training goes on")
            self.is_vdl_alive = False


def _truncate_jsonl(jsonl_file: str, last_step: int, num_epochs: int | None) -> list:
    """Remove what stands after update `last_step`, epochs from `num_epochs` on, and an incomplete last line.

    Returns:
        The rows that are left.
    """
    if not os.path.exists(jsonl_file):
        return []
    with open(jsonl_file, "rb") as file:
        data = file.read()
    lines = list(io.StringIO(decode_text(data[: data.rfind(b"\n") + 1], jsonl_file)))
    rows = [_parse_row(line, f"'{jsonl_file}' line {number}") for number, line in enumerate(lines, 1)]
    kept = [index for index, row in enumerate(rows) if _is_kept(row, last_step, num_epochs)]
    with files.write_atomically(jsonl_file, "w") as file:
        file.writelines(lines[index] for index in kept)
    return [rows[index] for index in kept]


def _parse_row(line: str, where: str) -> dict:
    try:
        row = json.loads(line)
    except (RecursionError, ValueError):
        row = None
    if not isinstance(row, dict) or not all(isinstance(row.get(key), int) for key in ("step", "epoch")):
        raise ValueError(f"{where}: damaged; remove the line, or the file, and start again")
    return row


def _is_kept(row: dict, last_step: int, num_epochs: int | None) -> bool:
    is_mean = not any(tag.startswith(STEP_TAGS) for tag in row)
    is_later = is_mean and num_epochs is not None and row["epoch"] >= num_epochs
    return 0 < row["step"] <= last_step and not is_later


def _list_points(rows: list) -> dict:
    """Return {(tag, step or epoch): number} of the curves of jsonl rows: on an axis of epochs, or of updates."""
    return {
        (tag, row["step"] if tag.startswith(STEP_TAGS) else row["epoch"]): value
        for row in rows
        for tag, value in row.items()
        if tag not in ("step", "epoch")
    }


def progress_bar(batches, title: str) -> tqdm.tqdm:
    """Return `batches` under a progress bar on a terminal, above which log lines are written; elsewhere no bar."""
    return tqdm.tqdm(batches, title, leave=False, unit="batch", disable=not sys.stdout.isatty())


def format_duration(seconds: float) -> str:
    """Format seconds as `h:mm:ss`."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def clip_rows(clips: np.ndarray, max_clips: int = 4, max_frames: int = 8) -> np.ndarray:
    """Tile the first clips into one picture: a row for each clip, frames from left to right.

    Args:
        clips: uint8 (B, T, H, W, 3).
        max_clips: rows at most.
        max_frames: columns at most, evenly spaced over the clip.

    Returns:
        uint8 (rows * H, columns * W, 3).
    """
    indices = np.linspace(0, clips.shape[1] - 1, min(max_frames, clips.shape[1])).round().astype(int)
    return np.concatenate([np.concatenate(list(clip[indices]), axis=1) for clip in clips[:max_clips]], axis=0)
