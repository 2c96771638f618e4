"""The weights in the box are whole, as small as their page says, and answer at once."""

import hashlib
import json
import re

import numpy as np
import pytest
from paths import REAL_DATA, ROOT

import predict
import skeleton2pkl
import test as test_script
from engine import checkpoint
from layouts import get_layout
from tools.samples.figure import animate, make_body, make_timing
from tools.samples.film import make_scene

MAX_BYTES = 2 * 2**20
PAGE = (ROOT / "weights" / "README.md").read_text(encoding="utf-8")
FILES = re.findall(r"^\| `(\w+\.pdparams)` \| (\d+) \| `(\w{64})` \|$", PAGE, re.MULTILINE)
NW_UCLA = REAL_DATA / "nw_ucla" / "all_sqe"
KINECT_V2 = {"hip_centre": "spine_base", "spine": "spine_mid", "shoulder_centre": "spine_shoulder"}  # its names
every_file = pytest.mark.parametrize("name, num_bytes, sha256", FILES, ids=[name for name, *_ in FILES])


def test_every_file_stands_in_the_page():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert [f"!/weights/{name}" for name, *_ in FILES] == [
        line for line in ignored if line.startswith("!/weights/") and line.endswith(".pdparams")
    ]
    assert FILES


@every_file
def test_a_file_is_the_one_of_the_page(name, num_bytes, sha256):
    content = (ROOT / "weights" / name).read_bytes()
    assert len(content) == int(num_bytes) <= MAX_BYTES
    assert hashlib.sha256(content).hexdigest() == sha256


@every_file
def test_a_file_has_what_is_needed_to_use_it_and_no_paths_of_a_machine(name, num_bytes, sha256):
    state = checkpoint.load_checkpoint(str(ROOT / "weights" / name))
    assert state["slim"] and state["config"]["RUN"]["seed"] == 0 and state["history"]
    assert {str(value.dtype) for value in state["model"].values()} == {"float32"}
    paths = [state["config"]["RUN"]["save_dir"], *(entry["samples"] for entry in state["data"].values())]
    assert not any(path.startswith("/") for path in paths)


def test_the_quickstart_network_knows_people_it_has_not_seen(sample_clips, tmp_path, monkeypatch):
    monkeypatch.chdir(sample_clips)
    weights, out = str(ROOT / "weights" / "quickstart"), tmp_path / "result.json"
    words = [weights, "--save_dir", str(tmp_path), "--out", str(out), "--root", "data", "--report", "False"]
    test_script.main([*words, "--use_gpu", "False"])
    summary = json.loads(out.read_text(encoding="utf-8"))["summary"]
    assert summary["num_samples"] == 11 and summary["top1"] >= 0.9


@pytest.fixture
def sample_clips(tmp_path, run_script):
    """Make a clip of each class, by a person that the network has not seen; return the folder of `data/`."""
    flags = ["--groups", 2, "--clips", 1, "--seed", 1]
    for script, *words in (["tools/make_samples.py", *flags], ["avi2jpg.py"], ["jpg2pkl.py"], ["data_list_gener.py"]):
        done = run_script(script, "--root", tmp_path / "data", *words)
        assert done.returncode == 0, done.stderr
    return tmp_path


@pytest.mark.parametrize(("action", "answer"), [("SitDown", "sit down"), ("StandUp", "stand up")])
def test_the_skeleton_network_knows_what_a_made_up_figure_does(action, answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    body = make_body(rng)
    points = make_scene(96, 64, body, rng).camera.view(animate(action, body, make_timing(32, body, rng)))
    names = get_layout("ntu25").joints
    ours = [names.index(KINECT_V2.get(joint, joint)) for joint in get_layout("ucla20").joints]
    recording = {"file_name": "someone", "skeletons": points[:, ours].tolist(), "label": 1}
    (tmp_path / "someone.json").write_text(json.dumps(recording), encoding="utf-8")
    words = ["--input", "someone.json", "--save_dir", "predictions", "--use_gpu", "False"]
    predict.main([str(ROOT / "weights" / "ctrgcn_nw_ucla"), *words])
    top = json.loads((tmp_path / "predictions" / "someone_predict.json").read_text(encoding="utf-8"))["top_k"]
    assert top[0]["class"] == answer and top[0]["probability"] > 0.6


@pytest.mark.real
@pytest.mark.skipif(not NW_UCLA.is_dir(), reason=f"no N-UCLA: '{NW_UCLA}' does not exist; REAL_DATA_DIR may name it")
def test_the_skeleton_network_has_its_figure_on_the_view_it_has_not_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    skeleton2pkl.main(["ucla", str(NW_UCLA), "--out", "data/nw_ucla.pkl"])
    words = ["--save_dir", "box", "--out", "result.json", "--report", "False", "--use_gpu", "False"]
    test_script.main([str(ROOT / "weights" / "ctrgcn_nw_ucla"), *words])
    summary = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["summary"]
    (figure,) = re.findall(r"(\d+\.\d+) top-1 of this file on the 464 sequences", PAGE)
    assert summary["num_samples"] == 464 and round(100 * summary["top1"], 2) == float(figure)
