"""What the readers of the skeleton pkl share: the recordings of one split as samples."""

import logging
import zlib

import numpy as np

from common.ranges import Count, NonNegative
from layouts import get_layout
from reader import skeleton_pkl
from reader.fault_tolerant import DamagedSampleError, FaultTolerantDataset
from reader.skeleton_pkl import Recording, read_split

NUM_FIRST = 16  # recordings that are checked before anything is computed
MAX_SUMMED = 16  # recordings whose key points the checksum of a run's samples has


class Recordings(FaultTolerantDataset):
    """The recordings of a split, by (epoch, index).

    A subclass has a method `_read_inputs(recording, rng)` that returns the `inputs` of one recording and draws nothing
    where `rng` is None. The arguments are those of the readers.
    """

    ADVICE = skeleton_pkl.ADVICE
    CLASSES_ADVICE = "add them by `python skeleton2pkl.py pkl FILE --classes classInd.txt --out NEW`"

    def __init__(
        self,
        filelist: str | None,
        split: str | None,
        mode: str,
        num_classes: int | None,
        seed: int,
        augment: bool,
        layout: str,
        repeat: Count,
        memory_limit_gib: NonNegative,
    ):
        super().__init__(filelist, mode, seed, augment)
        self.split, self.layout, self.repeat = split, get_layout(layout), repeat
        self.memory_limit_gib = memory_limit_gib
        self._check_ranges()
        recordings, self.class_names = [], None
        if filelist is not None:
            recordings, self.class_names = read_split(filelist, split, self.layout, memory_limit_gib)
        self.num_classes = len(self.class_names) if num_classes is None and self.class_names else num_classes
        for recording in recordings:
            self._check_label(recording)
        self.entries = recordings * (repeat if mode == "train" else 1)
        check_first(recordings)
        if mode != "train":
            self._check_scored(recordings)
        self._log_empty(recordings)

    def find_class(self, index: int) -> int | None:
        """Return the label of a sample."""
        return self.entries[index].label

    def find_label(self, index: int, read: bool = True) -> int:
        """Return the label of a sample."""
        return self.entries[index].label

    def describe_samples(self) -> list:
        """Return each recording's name, label and the shape of its key points."""
        return [(recording.name, recording.label, recording.keypoint.shape) for recording in self.entries]

    def checksum(self) -> int:
        """Return a checksum of the key points and scores of at most `MAX_SUMMED` recordings, whatever their order."""
        recordings = {recording.name: recording for recording in self.entries}
        checksum = 0
        for name in sorted(recordings)[:: -(-len(recordings) // MAX_SUMMED) or 1]:
            for array in (recordings[name].keypoint, recordings[name].score):
                if array is not None:
                    checksum = zlib.crc32(np.asarray(array, np.float32).tobytes(), checksum)
        return checksum

    def set_samples(self, filelist: str | None, recordings: list[Recording]) -> None:
        """Replace the samples by other recordings.

        Args:
            filelist: what errors name.

        Raises:
            ValueError: a recording that this reader cannot take.
        """
        self.filelist, self.entries = filelist, recordings
        self._check_entries()

    def spread_joints(self, values: np.ndarray) -> np.ndarray:
        """Return values of the joints that the network takes (..., V) as those of the layout; mostly, these are all."""
        return values

    def _log_empty(self, recordings: list[Recording]) -> None:
        """Log how many recordings hold nobody; those that are mapped from the disk are not read for that."""
        in_memory = (each for each in recordings if not isinstance(each.keypoint, np.memmap))
        # Frame by frame: the first one shows somebody, mostly.
        empty = [each.name for each in in_memory if not any(map(np.any, each.keypoint.swapaxes(0, 1)))]
        if empty:
            logging.getLogger().warning(
                f"{self.filelist}: {len(empty)} of {len(recordings)} recordings hold nobody, all points are 0, "
                f"first '{empty[0]}'; leave them out by skeleton2pkl.py, or get them again"
            )

    def _log_persons_left_out(self) -> None:
        """Log how many persons are left out because a clip has `num_persons`."""
        crowded = {id(each): each for each in self.entries if len(each.keypoint) > self.num_persons}
        counts = [int(each.keypoint.any(axis=(1, 2, 3)).sum()) - self.num_persons for each in crowded.values()]
        left_out = [count for count in counts if count > 0]
        if left_out:
            logging.getLogger().info(
                f"{self.filelist}: {sum(left_out)} persons of {len(left_out)} recordings are left out, as "
                f"READER.num_persons is {self.num_persons}"
            )

    def _read_sample(self, index: int, rng: np.random.Generator | None) -> dict:
        recording = self.entries[index]
        try:
            recording.check()
        except ValueError as error:
            raise DamagedSampleError(str(error)) from None
        return {"inputs": self._read_inputs(recording, rng), "label": recording.label, "name": recording.name}

    def _check_scored(self, recordings: list[Recording]) -> None:
        """Check all recordings that are in memory: an evaluation ends with the first bad one, and may come late.

        Raises:
            ValueError: what is wrong with the first one.
        """
        for recording in recordings:
            if not isinstance(recording.keypoint, np.memmap):  # else the disk would be read for it
                self._refuse_empty(recording)
                recording.check()

    def _refuse_empty(self, recording: Recording) -> None:
        """Refuse a recording without persons or frames.

        Raises:
            DamagedSampleError: naming it.
        """
        if recording.keypoint.size == 0:
            num_persons, num_frames = recording.keypoint.shape[:2]
            raise DamagedSampleError(
                f"{self.filelist}: '{recording.name}' has {num_persons} persons in {num_frames} frames, expected some"
            )

    def _check_label(self, recording: Recording) -> None:
        if recording.label is None:
            return
        if recording.label < 0 or (self.num_classes is not None and recording.label >= self.num_classes):
            expected = "0 or more" if self.num_classes is None else f"0 to {self.num_classes - 1}"
            raise ValueError(
                f"{self.filelist}: '{recording.name}' has label {recording.label}, expected {expected}; correct "
                "MODEL.num_classes"
            )


def check_first(recordings: list[Recording]) -> None:
    """Check some recordings, evenly spread; refuse the set if none of them is good.

    Raises:
        ValueError: what is wrong with the last one.
    """
    fault = None
    for index in np.linspace(0, len(recordings) - 1, min(NUM_FIRST, len(recordings))).astype(int):
        try:
            recordings[index].check()
            return
        except ValueError as error:
            fault = error
    if fault is not None:
        raise fault
