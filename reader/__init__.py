"""The readers by name, and the loader that makes batches of their samples."""

from collections import Counter

from common.ranges import Count, Whole
from reader.clips import Clips
from reader.heatmaps import Heatmaps
from reader.loader import Loader
from reader.rgbpose import RGBPose
from reader.skeletons import Skeletons
from reader.timed_skeletons import TimedSkeletons

READERS = {
    "clips": Clips,
    "skeletons": Skeletons,
    "timed_skeletons": TimedSkeletons,
    "heatmaps": Heatmaps,
    "rgbpose": RGBPose,
}


def build_loader(
    name: str = "clips",
    mode: str = "train",
    batch_size: Count = 8,
    num_workers: Whole | None = None,
    seed: int = 0,
    overfit: int = 0,
    drop_last: bool = False,
    use_shared_memory: bool | None = None,
    rank: int = 0,
    num_ranks: int = 1,
    balance: str = "none",
    **reader_arguments,
) -> Loader:
    """Build the loader of a mode.

    Args:
        name: a key of `READERS`.
        mode: "train" shuffles by (seed, epoch); "valid" and "test" keep the order of the list and every sample.
        batch_size: samples (videos) a batch, of all processes together; in evaluation each with all its views.
        num_workers: processes that read; 0 reads in this one; None: one per CPU core, at most eight.
        seed: of the order, and of what the reader draws.
        overfit: number of samples to use, spread over the classes; 0 uses all.
        drop_last: in training, leave out a last batch that is not full.
        use_shared_memory: how workers send batches; None: by shared memory where there is enough.
        rank: number of this process, from 0; see `Loader` for what each one reads.
        num_ranks: number of processes.
        balance: in training, how often classes are drawn: "none" (each sample once an epoch), "classes" (all alike) or
            "sqrt" (by the square roots of their samples).
        **reader_arguments: parameters of the reader, such as `filelist`.

    Raises:
        ValueError: an unknown name, an argument that is out of range, an empty list, labels that are missing.
        FileNotFoundError: the list or a file in it is missing.
    """
    if name not in READERS:
        raise ValueError(f"build_loader: unknown reader '{name}', expected one of {', '.join(READERS)}")
    if overfit < 0:
        raise ValueError(f"build_loader: overfit is {overfit}, expected 0 or more samples")
    dataset = READERS[name](mode=mode, seed=seed, **reader_arguments)
    dataset.check_labels()
    if overfit:
        dataset.subset(_spread([dataset.find_class(index) for index in range(len(dataset))], overfit))
    is_train = mode == "train"
    if not is_train:
        dataset.check_evaluation()
    drop_last = drop_last and is_train
    by_process = (num_workers, use_shared_memory, rank, num_ranks)
    return Loader(dataset, batch_size, is_train, drop_last, seed, *by_process, balance)


def _spread(classes: list, count: int) -> list[int]:
    """Choose `count` samples: the first of each class in list order, then the second of each, and so on."""
    seen, ranks = Counter(), []
    for name in classes:
        ranks.append(seen[name])
        seen[name] += 1
    chosen = sorted(range(len(classes)), key=ranks.__getitem__)[:count]
    return sorted(chosen)
