"""Small networks learn the sample data, as videos and as skeletons: people they have not seen, and order."""

import csv
import json
import pathlib

import pytest
from paths import ROOT

pytestmark = pytest.mark.long
PAIRS = (("SitDown", "StandUp"), ("WalkForward", "WalkBackward"))  # one is the other, played backward


@pytest.fixture(scope="module")
def sample_data(run_script, tmp_path_factory):
    """Make the sample data, with frames, records and lists."""
    root = tmp_path_factory.mktemp("samples")
    for script in ("tools/make_samples.py", "avi2jpg.py", "jpg2pkl.py", "data_list_gener.py"):
        assert run_script(script, "--root", root).returncode == 0
    return root


def learn(run_script, config, root, folder, *words):
    """Train and score; return the last epoch's top-1 on held-out people, and the right share of each class."""
    for script, *flags in (["train.py", ROOT / config, "--root", root], ["test.py"]):
        weights = [] if flags else ["--weights", next(folder.glob("*_model.pdparams"))]
        flags = [*flags, "--save_dir", folder, *words] if flags else weights
        ended = run_script(script, *flags, cwd=folder.parent, timeout_s=1800)
        assert ended.returncode == 0, f"{script}: {ended.stderr[-1000:]}"
    with open(next(folder.glob("*_classes.csv")), encoding="utf-8-sig", newline="") as file:
        right = {row["class"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    (scored,) = (json.loads(line) for line in read_lines(next(folder.glob("*_test.jsonl"))) if "test/top1" in line)
    return scored["test/top1"], right


def read_lines(path: pathlib.Path):
    """Return the lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


# The longest first, so that no process is left with it while the others have nothing to do.


def test_rgb_and_pose_are_learnt_together_and_pcan_goes_on_from_there(run_script, sample_data, tmp_path):
    start = ["--pretrain", tmp_path / "rgbposeconv3d" / "rgbposeconv3d_model", "-o", "RUN.epochs=2"]
    for name, words in (("rgbposeconv3d", []), ("pcan", start)):
        folder = tmp_path / name
        top1, _ = learn(run_script, f"configs/{name}_samples.txt", sample_data, folder, *words)
        lines = [json.loads(line) for line in read_lines(next(folder.glob("*_test.jsonl")))]
        (figures,) = (line for line in lines if "test/top1" in line)
        alone = [figures[f"test/acc/{one}_top1"] for one in ("rgb", "pose")]
        assert top1 == figures["test/acc/RGBPose_1:1_top1"] >= max(0.9, *alone)


@pytest.mark.parametrize("backbone", ["slowonly", "tsm"])
def test_tpn_learns_and_tells_order(run_script, sample_data, tmp_path, backbone):
    words = ["-o", f"MODEL.backbone={backbone}"]
    top1, right = learn(run_script, "configs/tpn_samples.txt", sample_data, tmp_path / "run", *words)
    assert top1 >= 0.9
    for one, other in PAIRS:
        assert right[one] + right[other] >= 1.5


def test_tsm_tells_order_by_its_shift_alone(run_script, sample_data, tmp_path):
    top1, right = learn(run_script, "configs/tsm_samples.txt", sample_data, tmp_path / "shift")
    still_top1, still_right = learn(
        run_script, "configs/tsm_samples.txt", sample_data, tmp_path / "still", "-o", "MODEL.shift=None"
    )
    assert top1 > 0.85
    assert sum(right[name] for pair in PAIRS for name in pair) >= 2.8
    for one, other in PAIRS:  # it sees the same frames in both, so what it gains on one it loses on the other
        assert 0.7 <= still_right[one] + still_right[other] <= 1.3
    assert still_top1 < top1 - 0.1


def test_heat_maps_are_learnt(run_script, sample_data, tmp_path):
    top1, _ = learn(run_script, "configs/posec3d_samples.txt", sample_data, tmp_path / "run")
    assert top1 >= 0.9


SKELETAL = {  # the config, and what differs from it; @ stands for the folder of the data
    "ctrgcn": [
        "skeleton_samples",
        "READER.filelist=@/coco17.pkl",
        "READER.layout=coco17",
        "READER.normalization=pyskl_2d",
    ],
    "infogcn": ["skeleton_samples"],
    "stgcn": ["skeleton_samples"],
    "agcn": ["skeleton_samples"],
    "msg3d": ["skeleton_samples", "MODEL.base_channels=12", "RUN.epochs=6"],
    "pbgcn": ["pbgcn_samples"],
}


@pytest.mark.parametrize("name", list(SKELETAL))
def test_skeleton_networks_learn_and_tell_order(run_script, sample_data, tmp_path, name):
    config, *overrides = SKELETAL[name]
    words = [word for override in overrides for word in ("-o", override.replace("@", str(sample_data)))]
    flags = ["--model_name", name, *words]
    top1, right = learn(run_script, f"configs/{config}.txt", sample_data, tmp_path / "run", *flags)
    assert top1 >= 0.9
    for one, other in PAIRS:
        assert right[one] + right[other] >= 1.5
