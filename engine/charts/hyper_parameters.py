"""By what VisualDL compares runs."""

READER_KEYS = (
    "name", "clip_len", "num_segments", "frame_interval", "short_size", "crop_size", "crop", "stream", "layout",
    "sampling", "flip_ratio",
)  # fmt: skip
RUN_KEYS = (
    "epochs", "seed", "accumulate", "label_smoothing", "ema_decay", "mixup_alpha", "cutmix_alpha", "amp_level",
    "overfit", "pretrain",
)  # fmt: skip


def list_hyper_parameters(config: dict) -> dict:
    """Return {`SECTION/key`: value} of a resolved config, the folder of the run first.

    VisualDL leaves cells empty whose column has a point in its name.
    Of READER and TRAIN, the values of training stand under READER.
    """
    reader, run = {**config["READER"], **config["TRAIN"]}, config["RUN"]
    return {
        "run": run["save_dir"],
        "MODEL/name": config["MODEL"]["name"],
        "TRAIN/batch_size": reader["batch_size"],
        **{f"READER/{key}": reader[key] for key in READER_KEYS if key in reader},
        **{f"RUN/{key}": run[key] for key in RUN_KEYS},
        **{f"{section}/{key}": value for section in ("MODEL", "OPTIMIZER") for key, value in config[section].items()},
    }


def list_metrics(config: dict) -> list:
    """Return the charts whose last number stands beside the hyper-parameters of a run."""
    return ["accuracy/top1", "loss/loss"] if config["RUN"]["validate"] else ["update/top1", "update/loss"]
