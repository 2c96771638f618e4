"""Batches: in this process or by worker processes, shuffled by (seed, epoch), the same with any number of workers."""

import contextlib
import copy
import logging
import os
import pathlib
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np
import paddle

from common.cores import count_cores
from common.lifetime import end_with_parent, has_ended, keep_garbage
from reader.fault_tolerant import FaultTolerantDataset

MAX_DEFAULT_WORKERS = 8
PREFETCHED = 2  # batches in flight per worker, Paddle's default
SHARED_MEMORY = "/dev/shm"
BALANCE_POWERS = {"none": 0.0, "sqrt": 0.5, "classes": 1.0}  # of 1 / (samples of a class), the probability of a sample


class Loader:
    """Iterates over the batches of one epoch; `set_epoch` chooses which.

    A batch is a dict: `inputs`, {name: Tensor (sum of views, ...)} in the order in which the network takes them;
    `labels` int64 array (N,), without those that are not known; `names` list of N; `views` int64 array (N,); `faults`
    list of what was wrong with samples that were replaced; `total` int, samples of this batch in all processes. Each of
    `inputs` has the views of the first sample, then those of the second, and so on.

    Several processes share an epoch: a shuffled batch is split among them, batches in list order are distributed whole.
    A process without a sample in the last batch gets one without a name, which must not be counted.

    Args:
        dataset: a reader.
        batch_size: samples a batch, of all processes together.
        shuffle: draw a new order each epoch.
        drop_last: leave out a last batch that is not full.
        seed: of the order.
        balance: "none" reads each sample once an epoch; "classes" draws as many samples, with replacement, each class
            as often as any other; "sqrt" each class by the square root of its samples. Only where `shuffle` is set.
        num_workers: processes that read; 0 reads in this one; None: one per CPU core, at most eight.
        use_shared_memory: how workers send batches; None: by shared memory where there is enough.
        rank: number of this process, from 0.
        num_ranks: number of processes.

    Attributes:
        prepare: converts a batch's `inputs` to the model's, on the current device; see `Preprocessor`.

    Raises:
        ValueError: an argument that is out of range.
    """

    def __init__(
        self,
        dataset: FaultTolerantDataset,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int | None = None,
        use_shared_memory: bool | None = None,
        rank: int = 0,
        num_ranks: int = 1,
        balance: str = "none",
    ):
        if balance not in BALANCE_POWERS:
            raise ValueError(f"reader: balance is {balance!r}, expected one of {', '.join(BALANCE_POWERS)}")
        for name, value, minimum in (("batch_size", batch_size, 1), ("num_workers", num_workers or 0, 0)):
            if value < minimum:
                raise ValueError(f"reader: {name} is {value}, expected at least {minimum}")
        self.dataset, self.prepare = dataset, dataset.prepare
        shares = weigh_samples(dataset, BALANCE_POWERS[balance]) if shuffle and balance != "none" else None
        self.sampler = _BatchSampler(len(dataset), batch_size, shuffle, drop_last, seed, rank, num_ranks, shares)
        if self.sampler.num_batches == 0:
            raise ValueError(
                f"reader: drop_last leaves no batch of {len(dataset)} samples by {batch_size}; lower batch_size"
            )
        self.num_workers = _default_num_workers() if num_workers is None else num_workers
        self.use_shared_memory = use_shared_memory
        _remove_dead_shared_memory()
        if use_shared_memory is None and self.num_workers > 0:
            in_flight = PREFETCHED * self.num_workers * batch_size * dataset.sample_bytes()
            if shuffle:
                in_flight //= num_ranks
            self.use_shared_memory = _has_shared_memory(in_flight)

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes by label, or None where the list has none."""
        return self.dataset.class_names

    @property
    def advice(self) -> str:
        """What to do about damaged samples."""
        return self.dataset.ADVICE

    @property
    def num_samples(self) -> int:
        """Samples an epoch in all processes, those that `drop_last` leaves out included."""
        return len(self.dataset)

    @property
    def input_shape(self) -> dict[str, list[int]]:
        """Shapes of the model's inputs for one view, without the batch axis."""
        return self.dataset.input_shape

    def count_classes(self, num_classes: int, read: bool = True) -> list[int] | None:
        """Return how many samples each class has.

        Args:
            num_classes: labels are below it; others are not counted, and are refused when they are read.
            read: read records whose label the list does not say; else return None where there is one.
        """
        counts = [0] * num_classes
        for index in range(len(self.dataset)):
            label = self.dataset.find_label(index, read)
            if label is None:
                return None
            if 0 <= label < num_classes:
                counts[label] += 1
        return counts

    def describe_samples(self) -> list:
        """Return what tells the samples of one list from those of another, in list order."""
        return self.dataset.describe_samples()

    def checksum(self) -> int:
        """Return a checksum of what a few of the samples hold."""
        return self.dataset.checksum()

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration reads; before the first call it is 0."""
        self.sampler.epoch = epoch

    def first_sample(self) -> "Loader":
        """Return a loader of the first sample alone, read without workers, and of several processes by the first."""
        if self.num_workers:
            cv2.setNumThreads(0)  # as in `_read_by_workers`
        dataset = copy.copy(self.dataset)
        dataset.subset([0])
        return Loader(dataset, 1, num_workers=0, rank=self.sampler.rank, num_ranks=self.sampler.num_ranks)

    def read_samples(self, indices: list[int]) -> "Loader":
        """Return a loader of these samples, one a batch, read in this process alone and without workers."""
        dataset = copy.copy(self.dataset)
        dataset.subset(indices)
        return Loader(dataset, 1, num_workers=0)

    def find_file(self, index: int) -> str:
        """Return what a sample is read from, see `FaultTolerantDataset.find_file`."""
        return self.dataset.find_file(index)

    def __iter__(self) -> Iterator[dict]:
        """Yield the batches of the epoch.

        Raises:
            ValueError: a sample that cannot be read; the reader's message, also when a worker read it.
        """
        batches = self._read_here() if self.num_workers == 0 else self._read_by_workers()
        yield from map(self._unpack, batches, self.sampler.list_batches())

    def _read_here(self) -> Iterator[dict]:
        for keys in self.sampler:
            batch = _collate([self.dataset[key] for key in keys])
            tensors = {name: paddle.to_tensor(array) for name, array in batch["inputs"].items()}
            yield {**batch, "inputs": tensors}

    def _read_by_workers(self) -> Iterator[dict]:
        # New workers each epoch: persistent ones never end, wait half a second between epochs (Paddle 2.6 and 3.3) and
        # still hold the batches of an iteration that was broken off.
        cv2.setNumThreads(0)  # a worker forked from a process in which OpenCV has threads would wait for them for ever
        workers = paddle.io.DataLoader(
            _ErrorCatchingDataset(self.dataset),
            batch_sampler=self.sampler,
            collate_fn=_collate,
            num_workers=self.num_workers,
            use_shared_memory=self.use_shared_memory,
            worker_init_fn=_start_worker,
        )
        with keep_garbage():
            batches = iter(workers)
        for batch in batches:
            if batch["error"]:
                raise (RuntimeError if batch["is_bug"] else ValueError)(batch["error"])
            yield batch

    def _unpack(self, batch: dict, index: int) -> dict:
        num_samples, total = self.sampler.count(index)
        return {
            "inputs": batch["inputs"],
            "labels": np.array([label for label in batch["labels"] if label is not None], np.int64),
            "names": batch["names"][:num_samples],
            "views": np.array(batch["views"], np.int64),
            "faults": batch["faults"],
            "total": total,
        }


def weigh_samples(dataset: FaultTolerantDataset, power: float) -> np.ndarray:
    """Return the probability (N,) of each sample: that of its class, (samples of it) ** -power, and all sum to 1."""
    classes = [dataset.find_class(index) for index in range(len(dataset))]
    counts = Counter(classes)
    weights = np.array([counts[name] ** -power for name in classes])
    return weights / weights.sum()


class _BatchSampler:
    """Yields this process's lists of the readers' keys, (epoch, index): a sample's randomness depends on both.

    Args:
        shares: probability of each sample; None: each is read once.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        shares: np.ndarray | None = None,
    ):
        self.shares = shares
        self.num_samples, self.batch_size, self.shuffle = num_samples, batch_size, shuffle
        self.seed, self.epoch, self.rank, self.num_ranks = seed, 0, rank, num_ranks
        self.num_batches = (num_samples if drop_last else num_samples + batch_size - 1) // batch_size

    def list_batches(self) -> range:
        """Return the numbers of the batches that this process reads, or reads a part of."""
        return range(self.num_batches) if self.shuffle else range(self.rank, self.num_batches, self.num_ranks)

    def count(self, batch: int) -> tuple[int, int]:
        """Return how many samples of a batch this process reads, and how many the whole batch has."""
        total = min(self.batch_size, self.num_samples - batch * self.batch_size)
        return (len(range(self.rank, total, self.num_ranks)) if self.shuffle else total), total

    def __len__(self) -> int:
        return len(self.list_batches())

    def __iter__(self):
        keys = self._list_keys()
        for batch in self.list_batches():
            chosen = keys[batch * self.batch_size : (batch + 1) * self.batch_size]
            if self.shuffle:
                chosen = chosen[self.rank :: self.num_ranks] or chosen[:1]
            yield chosen

    def _list_keys(self) -> list:
        """Return the keys of the epoch's samples, of all processes; one that is drawn again has a number besides."""
        order, rng = np.arange(self.num_samples), np.random.default_rng([self.seed, self.epoch])
        if not self.shuffle or self.shares is None:
            if self.shuffle:
                rng.shuffle(order)
            return [(self.epoch, index) for index in order.tolist()]
        keys, times = [], Counter()
        for index in rng.choice(order, self.num_samples, p=self.shares).tolist():
            keys.append((self.epoch, index, times[index]) if times[index] else (self.epoch, index))
            times[index] += 1
        return keys


class _ErrorCatchingDataset(paddle.io.Dataset):
    """Turns an error in a worker into a sample with its message; Paddle would report only that its queue died."""

    def __init__(self, dataset: paddle.io.Dataset):
        super().__init__()
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        try:
            return self.dataset[key]
        except (ValueError, OSError) as error:
            return {"error": str(error), "is_bug": False}
        except Exception:  # a bug, which only its traceback explains
            return {"error": f"a reader process failed:\n{traceback.format_exc()}", "is_bug": True}


def _collate(samples: list[dict]) -> dict:
    """Join samples to a batch of arrays and lists, which every Paddle version can send between processes."""
    for sample in samples:
        if "error" in sample:
            return {"inputs": {"none": np.zeros(1, np.uint8)}, **sample}
    first = samples[0]["inputs"]
    return {
        "inputs": {name: np.concatenate([sample["inputs"][name] for sample in samples]) for name in first},
        "labels": [sample["label"] for sample in samples],
        "names": [sample["name"] for sample in samples],
        "views": [len(next(iter(sample["inputs"].values()))) for sample in samples],
        "faults": [fault for sample in samples for fault in sample["faults"]],
        "error": "",
    }


def _start_worker(worker_id: int) -> None:
    end_with_parent()  # Paddle's worker waits for ever on its queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # so is this; of another status Paddle raises an error there
    cv2.setNumThreads(0)  # each worker has one core to itself


def _default_num_workers() -> int:
    if sys.platform in ("win32", "darwin"):  # Paddle reads in one process there
        return 0
    return min(MAX_DEFAULT_WORKERS, count_cores())


def _remove_dead_shared_memory() -> None:
    """Remove this user's files `paddle_<process>_...` of processes that have ended: they hold memory for ever."""
    for path in pathlib.Path(SHARED_MEMORY).glob("paddle_*_*"):
        process_id = path.name.split("_")[1]
        with contextlib.suppress(FileNotFoundError):
            if process_id.isdecimal() and path.stat().st_uid == os.getuid() and has_ended(int(process_id)):
                path.unlink()


def _has_shared_memory(needed_bytes: int) -> bool:
    """Return whether the batches in flight fit in shared memory; where they do not, workers die of a bus error."""
    if not os.path.isdir(SHARED_MEMORY):
        return True
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < needed_bytes:
        logging.getLogger(__name__).warning(
            f"{SHARED_MEMORY} has {free / 2**20:.0f} MiB free, batches in flight need {needed_bytes / 2**20:.0f} MiB: "
            "workers send batches without shared memory, which is slower; lower num_workers or batch_size to avoid it"
        )
    return free >= needed_bytes
