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
from engine.charts.tags import RUN_DIR, STEP_TAGS, TRAIN_DIR, find_chart

VDL_FILE = "vdlrecords.run.log"  # the same after a resume: VisualDL shows only the newest file of a folder
MAX_PROJECTED = 5000  # vectors, more than which a browser does not show fluently


def log_to_screen(message: str) -> None:
    """Log a line for the screen alone: the short form of what `log_to_file` logs."""
    logging.getLogger().info(message, stacklevel=2, extra={"target": "screen"})


def log_to_file(message: str) -> None:
    """Log a line for the log file alone, which has the whole of what the screen shows a part of."""
    logging.getLogger().info(message, stacklevel=2, extra={"target": "file"})


class ScreenHandler(logging.Handler):
    """Print log lines without a prefix, above a progress bar if there is one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is for the screen."""
        return vars(record).get("target") != "file"

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

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is for the file."""
        return vars(record).get("target") != "screen"

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
        self.jsonl_file, self.vdl_dir, self.writers = jsonl_file, vdl_dir, {}
        self.is_vdl_alive, self.num_vdl_bytes = jsonl_file is not None, {}
        if jsonl_file is None:
            return
        files.make_folder(os.path.dirname(jsonl_file) or ".")
        kept = None if first_step is None else _truncate_jsonl(jsonl_file, first_step, num_epochs)
        kept = None if first_step and not kept else kept  # without a record there is nothing to draw the curves anew by
        self._guard(lambda: self._restore_curves(kept))

    def _restore_curves(self, kept: list | None) -> None:
        """Open VisualDL's files.

        Args:
            kept: rows of the jsonl file, each of which is to stand once in the curves; None leaves them as they are.
        """
        points = _list_points(kept or [])
        num_epochs = 1 + max((step for tag, step in points if not tag.startswith(STEP_TAGS)), default=-1)
        for folder in (RUN_DIR, TRAIN_DIR) if kept is not None else ():
            charts = _place_points(points, folder)
            missing = curves.keep_points(os.path.join(self.vdl_dir, folder, VDL_FILE), charts, num_epochs)
            for (chart, step), value in missing.items():
                self._writer(folder).add_scalar(tag=chart, value=float(value), step=step)
        self._writer(RUN_DIR)

    def _writer(self, folder: str):
        """Return the `LogWriter` of a folder in `vdl_dir`, which is opened when it is first asked for."""
        from visualdl import LogWriter  # imported here, so that an error of it is caught by _guard

        if folder not in self.writers:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints a note where the file exists
                self.writers[folder] = LogWriter(
                    logdir=os.path.join(self.vdl_dir, folder).rstrip(os.sep), file_name=VDL_FILE
                )
        return self.writers[folder]

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
        """Add {tag: number} to VisualDL, each to its chart, see `engine.charts.tags`."""
        for tag, value in values.items():
            if chart := find_chart(tag):
                self._guard(lambda chart=chart, value=value: self._add_scalar(*chart, value, step))

    def _add_scalar(self, folder: str, chart: str, value: float, step: int) -> None:
        self._writer(folder).add_scalar(tag=chart, value=float(value), step=step)

    def image(self, step: int, tag: str, image: np.ndarray | None) -> None:
        """Add a uint8 RGB picture (H, W, 3) to VisualDL; None adds nothing."""
        if image is not None:
            self._guard(lambda: self._writer(RUN_DIR).add_image(tag=tag, img=image, step=step))

    def embeddings(self, tag: str, vectors: np.ndarray, columns: dict) -> None:
        """Add vectors (N, C) to VisualDL's projector; of many, every second, third, ..., so that they are few enough.

        Args:
            columns: {header: text of each vector}, by which the projector colours and finds them.
        """
        chosen = slice(None, None, -(-len(vectors) // MAX_PROJECTED))
        shown, texts = vectors[chosen].tolist(), [values[chosen] for values in columns.values()]
        self._guard(
            lambda: self._writer(RUN_DIR).add_embeddings(
                tag=tag, mat=shown, metadata=texts, metadata_header=list(columns)
            )
        )

    def text(self, step: int, tag: str, text: str) -> None:
        """Add a text to VisualDL."""
        self._guard(lambda: self._writer(RUN_DIR).add_text(tag, text, step))

    def histograms(self, step: int, values: dict) -> None:
        """Add {tag: array} as histograms to VisualDL."""
        for tag, array in values.items():
            flat = np.asarray(array, dtype=np.float64).reshape(-1)
            self._guard(lambda tag=tag, flat=flat: self._writer(RUN_DIR).add_histogram(tag, flat, step, buckets=20))

    def hyper_parameters(self, values: dict, metrics: list) -> None:
        """Add the hyperparameters of a run to VisualDL, which compares runs by the scalar tags `metrics`."""
        plain = {key: value if type(value) in (int, float, str) else str(value) for key, value in values.items()}
        self._guard(lambda: self._writer(RUN_DIR).add_hparams(plain, metrics))

    def close(self) -> None:
        """Flush and close VisualDL's files."""
        for writer in self.writers.values():
            self._guard(writer.close)
        self.writers = {}

    def _check_growth(self) -> None:
        """Raise an OSError if nothing has come to VisualDL's files, whose own threads get the errors of writing."""
        for folder, writer in self.writers.items():
            writer.flush()
            num_bytes = os.path.getsize(os.path.join(self.vdl_dir, folder, VDL_FILE))
            if num_bytes <= self.num_vdl_bytes.get(folder, 0):
                raise OSError(f"{VDL_FILE} does not grow; is the disk full?")
            self.num_vdl_bytes[folder] = num_bytes

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


def _place_points(points: dict, folder: str) -> dict:
    """Return {(chart, step): number} of the points of the jsonl file whose charts are in a folder of VisualDL's."""
    charts = {point: find_chart(point[0]) for point in points}
    return {
        (charts[point][1], point[1]): value
        for point, value in points.items()
        if charts[point] is not None and charts[point][0] == folder
    }


def progress_bar(batches, title: str) -> tqdm.tqdm:
    """Return `batches` under a progress bar on a terminal, above which log lines are written; elsewhere no bar."""
    return tqdm.tqdm(batches, title, leave=False, unit="batch", disable=not sys.stdout.isatty())


def format_duration(seconds: float) -> str:
    """Format seconds, rounded, as `h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
