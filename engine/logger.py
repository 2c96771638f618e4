"""What a run tells: lines on the screen and in `logger.log`, a jsonl file, and VisualDL."""

import contextlib
import io
import json
import logging
import os
import sys

import numpy as np
import tqdm

from common import files

VDL_FILE = "vdlrecords.run.log"  # one name for all of a run: VisualDL shows only the newest file of a folder


class ScreenHandler(logging.Handler):
    """Prints log lines as they are, above a progress bar if one is being drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        tqdm.tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()


def setup_logging(log_file: str | None) -> None:
    """Send log lines to the screen as they are and to `log_file` (appended) with level, file and line before them.

    Args:
        log_file: None writes no file (the other processes of a run on several GPUs).
    """
    root = logging.getLogger()
    for old in list(root.handlers):  # those of an earlier call, and the one that importing Paddle leaves behind
        if getattr(old, "is_run_log", False) or getattr(old, "stream", None) is sys.stderr:
            root.removeHandler(old)
            old.close()
    handlers = [ScreenHandler(logging.INFO)]
    if log_file is not None:
        os.makedirs(os.path.dirname(log_file) or ".", exist_ok=True)
        file = logging.FileHandler(log_file, encoding="utf-8")
        file.setFormatter(logging.Formatter("[%(levelname)s: %(filename)s: %(lineno)4d]: %(message)s"))
        handlers.append(file)
    for handler in handlers:
        handler.is_run_log = True
        root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for noisy in ("matplotlib", "PIL", "visualdl", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class RunLog:
    """Writes a run's numbers to a jsonl file and to VisualDL; a fault of VisualDL is told once and stops nothing.

    Args:
        jsonl_file: one JSON object a line, with `step` and `epoch`; appended to. None: write nothing at all.
        vdl_dir: folder that `visualdl --logdir` is pointed at.
        first_step: update the run goes on from. 0 starts both logs anew; else the jsonl lines after it, of a run that
            was killed, are taken out. None adds to whatever is there.
    """

    def __init__(self, jsonl_file: str | None, vdl_dir: str, first_step: int | None = 0):
        self.jsonl_file, self.vdl_dir, self.writer = jsonl_file, vdl_dir, None
        self.is_vdl_alive = jsonl_file is not None
        if jsonl_file is None:
            return
        os.makedirs(os.path.dirname(jsonl_file) or ".", exist_ok=True)
        if first_step is not None:
            _keep_lines_until(jsonl_file, first_step)
        self._guard(lambda: self._open_writer(is_new=first_step == 0))

    def _open_writer(self, is_new: bool) -> None:
        from visualdl import LogWriter  # here, so that a broken VisualDL stops nothing

        path = os.path.join(self.vdl_dir, VDL_FILE)
        if is_new and os.path.exists(path):
            os.remove(path)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints that it adds to an existing file
            self.writer = LogWriter(logdir=self.vdl_dir, file_name=VDL_FILE)

    def record(self, step: int, epoch: int, **values) -> None:
        """Append one jsonl line."""
        if self.jsonl_file is None:
            return
        line = json.dumps({"step": step, "epoch": epoch, **values}, ensure_ascii=False)
        with open(self.jsonl_file, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def scalars(self, step: int, values: dict) -> None:
        """Add {tag: number} at `step` to VisualDL."""
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
        """Add a run's settings; `metrics` are the scalar tags that VisualDL compares runs by."""
        plain = {key: one if type(one) in (int, float, str) else str(one) for key, one in values.items()}
        self._guard(lambda: self.writer.add_hparams(plain, metrics))

    def close(self) -> None:
        """Write out what VisualDL still holds."""
        self._guard(lambda: self.writer.close())
        self.writer = None

    def _guard(self, action) -> None:
        """Run a VisualDL call; any fault of it is logged once and ends VisualDL logging, never the run."""
        if not self.is_vdl_alive:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  whatever a plotting tool raises must not cost a night of training
            logging.getLogger().warning(f"VisualDL stopped logging to '{self.vdl_dir}': {error}; training goes on")
            self.is_vdl_alive = False


def _keep_lines_until(jsonl_file: str, first_step: int) -> None:
    """Cut a jsonl file to the lines with `step` <= `first_step`; an unfinished last line of a killed run goes too."""
    if not os.path.exists(jsonl_file):
        return
    kept = []
    with open(jsonl_file, encoding="utf-8") as file:
        for line in file:
            if line.endswith("}\n") and 0 < json.loads(line)["step"] <= first_step:
                kept.append(line)
    with files.write_atomically(jsonl_file, "w") as file:
        file.writelines(kept)


def progress_bar(batches, title: str) -> tqdm.tqdm:
    """Return `batches` under a progress bar on a terminal, above which log lines are written; elsewhere no bar."""
    return tqdm.tqdm(batches, title, leave=False, unit="batch", disable=not sys.stdout.isatty())


def format_duration(seconds: float) -> str:
    """Write seconds as `h:mm:ss`."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def clip_rows(clips: np.ndarray, most_clips: int = 4, most_frames: int = 8) -> np.ndarray:
    """Lay the first clips out as a picture, one row a clip, frames from left to right.

    Args:
        clips: uint8 (B, T, H, W, 3).

    Returns:
        uint8 (rows * H, columns * W, 3).
    """
    picks = np.linspace(0, clips.shape[1] - 1, min(most_frames, clips.shape[1])).round().astype(int)
    return np.concatenate([np.concatenate(list(clip[picks]), axis=1) for clip in clips[:most_clips]], axis=0)
