"""Data sets in which some samples may be damaged: training reads another one instead, an evaluation stops."""

from collections import Counter

import numpy as np
import paddle

from common.ranges import describe, fits, has_range
from common.signatures import find_hints

MODES = ("train", "valid", "test")
UNLABELLED_ADVICE = {  # by the mode
    "train": "a network cannot be trained on them: label them, or train on another list or split",
    "valid": "a validation has no accuracy without labels: label them, set another list or split, or --validate False",
    "test": "an accuracy of the others alone would mean little: label them, or test the two kinds apart",
}
MAX_DRAWS = 10  # samples tried before a training run with damaged data stops


class DamagedSampleError(ValueError):
    """A sample that cannot be read: training draws another sample, an evaluation stops."""


class FaultTolerantDataset(paddle.io.Dataset):
    """Samples by (epoch, index), and in training the replacement of damaged ones.

    A training sample depends on (seed, epoch, index) alone, not on the number of workers or on what was read before.

    A subclass has a `NAME`, its key in `READERS`; `ADVICE`, what to do about damaged samples; `CLASSES_ADVICE`, what to
    do about a list that names no classes; its samples as the list `entries`; and `_read_sample(index, rng)`, which
    returns the dict of `__getitem__` without `faults`, and draws nothing where `rng` is None.

    Args:
        filelist: what the samples come from, for messages.
        mode: "train", "valid" or "test".
        seed: of everything drawn in training.
        augment: False draws nothing in training.

    Raises:
        ValueError: an argument that is out of range.
    """

    def __init__(self, filelist: str | None, mode: str, seed: int, augment: bool):
        super().__init__()
        self.filelist, self.mode, self.seed, self.augment = filelist, mode, seed, augment
        self.entries = []
        self._check_choices(mode=MODES)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: tuple) -> dict:
        """Read one sample.

        Args:
            key: (epoch, index), or of a sample that an epoch draws again (epoch, index, times drawn before); an
                evaluation sample is the same in every epoch.

        Returns:
            dict of `inputs`, {name: array (views, ...)}, one view in training; `label` int or None; `name` str;
            `faults`, list of what was wrong with the samples that this one replaces (training only).

        Raises:
            ValueError: in evaluation a damaged sample; in training ten of them in a row.
        """
        index = key[1]
        if self.mode != "train":
            return {**self._read_sample(index, None), "faults": []}
        rng = np.random.default_rng([self.seed, *key])
        faults = []
        while len(faults) < MAX_DRAWS:
            try:
                return {**self._read_sample(index, rng if self.augment else None), "faults": faults}
            except DamagedSampleError as error:
                faults.append(str(error))
                index = int(rng.integers(len(self)))
        raise ValueError(
            f"{self.filelist}: {MAX_DRAWS} samples in a row are damaged, the last one: {faults[-1]}; {self.ADVICE}"
        )

    def describe_samples(self) -> list:
        """Return what tells each sample from others: its name and label, on every machine the same."""
        return [(entry.name, entry.label) for entry in self.entries]

    def find_file(self, index: int) -> str:
        """Return the path of what a sample is read from, such as can be looked at: a video, frames, or else its file.

        Args:
            index: of the sample in list order.
        """
        return self.filelist

    def checksum(self) -> int:
        """Return a checksum of what a few of the samples hold, whatever their order; 0 where only a list is read."""
        return 0

    def subset(self, indices: list[int]) -> None:
        """Keep only these samples, in this order; an index may be repeated."""
        self.entries = [self.entries[index] for index in indices]

    def check_evaluation(self) -> None:
        """Refuse samples that cannot be scored, as far as the list says it.

        Raises:
            ValueError: two samples of one name, or a label outside the classes.
        """
        name, count = Counter(entry.name for entry in self.entries).most_common(1)[0]
        if count > 1:
            raise ValueError(
                f"{self.filelist}: sample '{name}' stands twice in the list; scores are kept by name, so rename or "
                "remove one"
            )
        labels = [entry.label for entry in self.entries if entry.label is not None]
        if self.num_classes is not None and labels and max(labels) >= self.num_classes:
            raise ValueError(
                f"{self.filelist} has label {max(labels)}, expected 0 to {self.num_classes - 1}; correct the list or "
                "MODEL.num_classes"
            )

    def lacks_label(self, index: int) -> bool:
        """Return whether the label of a sample is not known, as far as the list says it."""
        return self.entries[index].label is None

    def check_labels(self) -> None:
        """Refuse samples without a label: in training and validation all, in a test those beside others with one.

        Raises:
            ValueError: naming the first one.
        """
        unlabelled = [index for index in range(len(self)) if self.lacks_label(index)]
        if unlabelled and (self.mode != "test" or len(unlabelled) < len(self)):
            raise ValueError(
                f"{self.filelist}: {len(unlabelled)} of {len(self)} samples have no label, first "
                f"'{self.entries[unlabelled[0]].name}'; {UNLABELLED_ADVICE[self.mode]}"
            )

    def _check_choices(self, **choices: tuple) -> None:
        for name, known in choices.items():
            if getattr(self, name) not in known:
                self._refuse(name, f"one of {', '.join(map(str, known))}")

    def _check_ranges(self) -> None:
        """Refuse a number that is not in the range of its parameter."""
        for name, hint in find_hints([type(self)]).items():
            if has_range(hint) and name in vars(self) and not fits(vars(self)[name], hint):
                self._refuse(name, describe(hint))

    def _refuse(self, name: str, expected: str) -> None:
        """Raise the error of an argument that is out of range."""
        raise ValueError(f"reader {self.NAME}: {name} is {getattr(self, name)!r}, expected {expected}")
