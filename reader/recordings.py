"""What readers of a split of the skeleton pkl share: its recordings as samples, drawn again where one is damaged."""

import numpy as np
import paddle

from layouts import get_layout
from reader.frames import DamagedSampleError
from reader.skeleton_pkl import read_split

MODES = ("train", "valid", "test")
MOST_DRAWS = 10  # samples tried before a training run with damaged data stops


class Recordings(paddle.io.Dataset):
    """The recordings of a split; the key of a sample is its index or, for training, (epoch, index).

    A reader has its `NAME` in `READERS`, and a method `_read(recording, rng)` that returns the `inputs` of one of them,
    drawing nothing without `rng`. A training sample depends on (seed, epoch, index) alone. The arguments are those of
    the readers.
    """

    def __init__(
        self,
        filelist: str | None,
        split: str | None,
        mode: str,
        num_classes: int | None,
        seed: int,
        augment: bool,
        layout: str,
        repeat: int,
        memory_limit_gib: float,
    ):
        super().__init__()
        self.filelist, self.split, self.mode, self.seed, self.augment = filelist, split, mode, seed, augment
        self.layout, self.repeat = get_layout(layout), repeat
        self.memory_limit_gib = memory_limit_gib
        if mode not in MODES:
            self._refuse("mode", f"one of {', '.join(MODES)}")
        if seed < 0:
            self._refuse("seed", "0 or more")
        if repeat < 1:
            self._refuse("repeat", "1 or more")
        if mode != "train":
            self.repeat = 1
        self.entries, self.class_names = [], None
        if filelist is not None:
            self.entries, self.class_names = read_split(filelist, split, self.layout, memory_limit_gib)
        self.num_classes = len(self.class_names) if num_classes is None and self.class_names else num_classes
        for recording in self.entries:
            self._check_label(recording)

    def __len__(self) -> int:
        return len(self.entries) * self.repeat

    def __getitem__(self, key: int | tuple[int, int]) -> dict:
        """Read one sample.

        Returns:
            dict of `inputs`, one view in training; `label` int; `name` str; `faults`, what was wrong with the samples
            that this one replaces (training only).

        Raises:
            ValueError: in evaluation a damaged sample; in training ten of them in a row.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if self.mode != "train":
            return {**self._open(index, None), "faults": []}
        rng = np.random.default_rng([self.seed, epoch, index])
        faults = []
        while len(faults) < MOST_DRAWS:
            try:
                return {**self._open(index, rng if self.augment else None), "faults": faults}
            except DamagedSampleError as error:
                faults.append(str(error))
                index = int(rng.integers(len(self)))
        raise ValueError(
            f"{self.filelist}: {MOST_DRAWS} samples in a row are damaged, the last one: {faults[-1]}; "
            "run skeleton2pkl.py again"
        )

    def keep(self, indices: list[int]) -> None:
        """Forget all samples but these; none of them is repeated any more."""
        self.entries, self.repeat = [self.entries[index % len(self.entries)] for index in indices], 1

    def find_class(self, index: int) -> int:
        """Return the label of a sample."""
        return self.entries[index % len(self.entries)].label

    def _open(self, index: int, rng: np.random.Generator | None) -> dict:
        recording = self.entries[index % len(self.entries)]
        return {"inputs": self._read(recording, rng), "label": recording.label, "name": recording.name}

    def _check_label(self, recording) -> None:
        if recording.label < 0 or (self.num_classes is not None and recording.label >= self.num_classes):
            expected = "0 or more" if self.num_classes is None else f"0 to {self.num_classes - 1}"
            raise ValueError(
                f"{self.filelist}: '{recording.name}' has label {recording.label}, expected {expected}; correct "
                "MODEL.num_classes"
            )

    def _refuse(self, name: str, expected: str) -> None:
        """Refuse an argument."""
        raise ValueError(f"reader {self.NAME}: {name} is {getattr(self, name)}, expected {expected}")
