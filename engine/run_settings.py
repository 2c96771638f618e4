"""The section RUN of a config: what a run does besides building its model, readers and optimizer."""

import dataclasses

from common.ranges import Count, NonNegative, PartialShare, Seed, Share, Whole

WHOLE_S, WINDOW_S = 10, 2  # predict.py: the longest video scored whole, and the windows of longer ones
METRICS = ("top1", "top5", "mean_class_accuracy", "loss")
# Of networks for RGB and pose: of each head, of fused scores, and F1 of fine classes and their groups.
HEADS = ("rgb", "pose", "rgb_coarse", "pose_coarse", "RGBPose_1:1", "RGBPose_2:1", "RGBPose_1:2")
HEAD_METRICS = tuple(f"acc/{head}_{kind}" for head in HEADS for kind in ("top1", "top5", "mean1")) + tuple(
    f"acc/{name}" for name in ("action_f1_micro", "action_f1_macro", "body_f1_micro", "body_f1_macro", "f1_mean")
)
AMP_LEVELS = ("O0", "O1", "O2")
AMP_DTYPES = ("float16", "bfloat16")
CPU_BACKENDS = ("dynamic", "onednn", "auto")


def resolve_rule(metric: str, rule: str | None) -> str:
    """Return RUN.rule, or where it is None what is better of a metric: `greater`, of the loss `less`."""
    return rule or ("less" if metric == "loss" else "greater")


@dataclasses.dataclass
class RunSettings:
    """The keys of RUN with their defaults.

    Attributes:
        epochs: passes over the training list.
        use_gpu: True needs a GPU, False takes the CPU, None takes a GPU where there is one.
        save_dir: folder of checkpoints, jsonl and VisualDL logs.
        log_file: text log, appended to.
        log_interval: updates between two log lines.
        seed: of weights, sample order and augmentation.
        deterministic: ask cuDNN for reproducible kernels (slower); a CPU run always is reproducible.
        overfit: train and validate on so many training samples only; 0 takes all. The first thing to try on own data.
        label_smoothing: 0 to 1.
        class_weights: factors of the loss by label, a list; `auto`: all classes have the same share of it, however many
            samples they have; None: 1.
        focal_gamma: of the focal loss, which weighs what is right already less; 2 is usual, 0 is cross-entropy.
        accumulate: batches whose gradients are summed to one update; TRAIN.batch_size is what the device holds at once.
            Batch norm sees each of them by itself.
        cpu_backend: `onednn` computes updates and scores several times as fast as `dynamic`, on a CPU only and not for
            every network, see `engine/onednn/`; `auto` takes it where it can.
        recompute: keep only the inputs of a network's blocks and compute the rest again for the gradients: the same
            numbers with less memory and about a third more time; in the dynamic graph only.
        amp_level: `O0` computes in float32; `O1` convolutions and products in `amp_dtype`; `O2` all but batch norm.
        amp_dtype: `float16`, with a loss scale, or `bfloat16`, which has fewer digits and needs no scale, for GPUs of
            compute capability 8.0 and newer.
        ema_decay: keep a moving average of the weights, which is what is scored; 0 keeps none, 0.999 is usual.
        mixup_alpha: mix pairs of samples by a share from Beta(alpha, alpha); 0 does not.
        cutmix_alpha: paste a box of one sample into another by such a share; 0 does not.
        mix_ratio: share of the batches that are mixed; with both kinds, each has half of them.
        freeze_until: name of the last module (`layer3`) that is not trained, with all that come before it.
        train_from: name of the first module (`layer4`) that is trained; all before it are not.
        freeze_statistics: also keep the batch-norm statistics of what is not trained.
        sync_bn: batch norm over the batch of all GPUs instead of each one's own.
        validate: score the VALID list while training.
        eval_interval: epochs between two validations.
        val_begin: first epoch that is validated.
        metric: `top1`, `top5`, `mean_class_accuracy` or `loss`, of RGB and pose also `acc/RGBPose_1:1_top1` and others
            (see `metrics.summarize_heads`); the best epoch by it is kept.
        rule: `greater` or `less` is better; None: `less` for `loss`, else `greater`.
        early_stop_patience: end the run after so many validations without a better `metric`; 0 never does.
        early_stop_min_delta: what counts as better is better by more than this.
        average_clips: `prob` or `score`, how a sample's views are averaged.
        save_interval: keep every so-manieth epoch; 0 keeps only the last and the best.
        max_keep: at most so many of those are kept, the newest.
        slim: keep weights (the averaged ones of RUN.ema_decay) without the state of the optimizer in the best epoch and
            those of `save_interval`, and at the end of the run in the last one, which cannot be trained further then.
        resume: `auto` goes on from the last checkpoint in `save_dir` if there is one; or a checkpoint's path.
        pretrain: weights to start from.
        ignore_weights: name patterns (`fc.*`) of `pretrain` that are left out.
        allow_missing: name patterns (`neck.*`) of the model that `pretrain` need not have.
        histogram_interval: epochs between two weight and gradient histograms; 0 writes none.
        max_faults: damaged training samples an epoch may replace before the run stops.
        save_scores: write the scores of every validation to `<model>_val_<epochs done>_scores.pkl`.
    """

    epochs: Count = 65
    use_gpu: bool | None = None
    save_dir: str = "checkpoints_models"
    log_file: str = "logger.log"
    log_interval: Count = 10
    seed: Seed = 0
    deterministic: bool = False
    overfit: Whole = 0
    label_smoothing: PartialShare = 0.0
    class_weights: str | list[NonNegative] | None = None
    focal_gamma: NonNegative = 0.0
    accumulate: Count = 1
    cpu_backend: str = "auto"
    recompute: bool = False
    amp_level: str = "O0"
    amp_dtype: str = "float16"
    ema_decay: PartialShare = 0.0
    mixup_alpha: NonNegative = 0.0
    cutmix_alpha: NonNegative = 0.0
    mix_ratio: Share = 1.0
    freeze_until: str | None = None
    train_from: str | None = None
    freeze_statistics: bool = False
    sync_bn: bool = False
    validate: bool = True
    eval_interval: Count = 1
    val_begin: Whole = 0
    metric: str = "top1"
    rule: str | None = None
    early_stop_patience: Whole = 0
    early_stop_min_delta: NonNegative = 0.0
    average_clips: str = "prob"
    save_interval: Whole = 0
    max_keep: Count = 3
    slim: bool = False
    resume: str | None = None
    pretrain: str | None = None
    ignore_weights: list[str] | None = None
    allow_missing: list[str] | None = None
    histogram_interval: Whole = 0
    max_faults: Whole = 100
    save_scores: bool = False

    def check(self) -> None:
        """Refuse values that no run can use; each with its sentence.

        Raises:
            ValueError: the key, what it may be, and what it is.
        """
        choices = {"metric": (*METRICS, *HEAD_METRICS), "rule": (None, "greater", "less")}
        choices.update(amp_level=AMP_LEVELS, amp_dtype=AMP_DTYPES, cpu_backend=CPU_BACKENDS)
        for key, known in choices.items():
            if getattr(self, key) not in known:
                named = ", ".join(map(str, known))
                raise ValueError(f"RUN.{key}: expected one of {named}, got '{getattr(self, key)}'")
        if isinstance(self.class_weights, str) and self.class_weights != "auto":
            raise ValueError(f"RUN.class_weights: expected auto, a list of numbers or None, got '{self.class_weights}'")
        if self.recompute and self.cpu_backend == "onednn":
            raise ValueError("RUN.recompute works in the dynamic graph only; set RUN.cpu_backend=dynamic")
        if self.early_stop_patience and not self.validate:
            raise ValueError("RUN.early_stop_patience counts validations; leave out --validate False, or set it to 0")
        if self.freeze_until and self.train_from:
            raise ValueError("RUN.freeze_until and RUN.train_from say the same thing in two ways; set one of them")

    def is_validated(self, epoch: int) -> bool:
        """Whether an epoch is validated; the last one always is."""
        due = epoch >= self.val_begin and (epoch - self.val_begin) % self.eval_interval == 0
        return due or epoch + 1 == self.epochs

    def is_better(self, new: float, old: float, by: float = 0.0) -> bool:
        """Whether a monitored value is better than another, by more than `by`."""
        return new > old + by if resolve_rule(self.metric, self.rule) == "greater" else new < old - by

    def find_stop(self, history: list) -> str | None:
        """Return why a run with this history ends early, or None.

        Args:
            history: one dict an epoch; those with `val/<metric>` count.
        """
        best, best_epoch, waited = None, None, 0
        for row in history:
            value = row.get(f"val/{self.metric}")
            if value is None:
                continue
            if best is None or self.is_better(value, best, self.early_stop_min_delta):
                best, best_epoch, waited = value, row["epoch"], 0
            else:
                waited += 1
        if not self.early_stop_patience or waited < self.early_stop_patience:
            return None
        return (
            f"early stop after epoch {history[-1]['epoch']}: {waited} validations without a {self.metric} better than "
            f"the {best:.4f} of epoch {best_epoch} by more than {self.early_stop_min_delta:g}"
        )
