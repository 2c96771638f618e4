"""What the first updates of a run show: their clips with labels, and how long the whole run will take."""

import logging
from collections.abc import Callable

import paddle

from common.messages import wrap
from engine import logger

ENOUGH_S = 10  # of updates, to know how long the others take
LONG_RUN_S = 3600
# Texts of small networks by what a reader reads, which train in minutes on a CPU.
SMALL_TEXTS = {"clips": "configs/quickstart.txt", "skeletons": "configs/skeleton_samples.txt"}


class FirstUpdates:
    """Is called after each update of a process's run, and acts on the first ones.

    Args:
        run_log: gets the picture of the clips.
        draw: returns the picture (H, W, 3) of a batch, or None where it has no clips.
        reader_name: a key of `reader.READERS`.
        epochs: of the whole run.
    """

    def __init__(self, run_log: logger.RunLog, draw: Callable, reader_name: str, epochs: int):
        self.run_log, self.draw, self.reader_name, self.epochs = run_log, draw, reader_name, epochs
        self.first_s, self.is_said = None, False

    def __call__(self, progress, batch: dict, index: int, num_steps: int, spent_s: float, is_due: bool) -> None:
        """See an update.

        Args:
            progress: how far the run is, this update included.
            batch: of the loader.
            index: of the update in its epoch, from 0.
            num_steps: updates of an epoch.
            spent_s: of this epoch so far.
            is_due: whether the device has computed all that it was asked.
        """
        if progress.step == 1 and (picture := self.draw(batch)) is not None:
            self.run_log.image(1, "start/clips", picture)
        if self.is_said:
            return
        if self.first_s is None or index == 0:  # the first update prepares what the others use
            self.first_s = spent_s
            return
        timed_s = spent_s - self.first_s
        if timed_s > ENOUGH_S or is_due:
            self.is_said = True
            left = num_steps * (self.epochs - progress.epoch) - index - 1
            logging.info(self.describe_duration(left * timed_s / index))

    def describe_duration(self, total_s: float) -> str:
        """Return how long the updates take that are left, and of a long run on a CPU what would take less."""
        line = f"the updates of this run take about {logger.format_duration(total_s)} more"
        if total_s > LONG_RUN_S and paddle.device.get_device() == "cpu":
            small = SMALL_TEXTS.get(self.reader_name)
            line += "; less: a GPU, a smaller --epoch" + (f", or a smaller network such as {small}" if small else "")
        return wrap(line)
