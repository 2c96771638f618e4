"""The notebooks for AI Studio: what is committed of them, and what happens when somebody runs all of their cells."""

import importlib.metadata
import importlib.util
import json
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import pytest
from paths import ROOT

from common.files import dump_pickle, load_pickle
from common.lifetime import has_ended

SCRIPTS = {  # notebook: the scripts that it runs, in order
    "ucf101": "tools/make_samples.py avi2jpg.py jpg2pkl.py data_list_gener.py train.py test.py predict.py",
    "skeleton": "tools/make_samples.py skeleton2pkl.py train_streams.py",
    "rgbpose": "tools/make_samples.py train.py test.py predict.py",
    "own_videos": "tools/make_samples.py avi2jpg.py jpg2pkl.py data_list_gener.py train.py train.py test.py predict.py",
}
TINY_CONFIG = """# A network of a few thousand weights, for the notebook's road with UCF-101.
[MODEL]
name = resnet
depth = 10
widen_factor = 0.125
conv1_t_size = 3

[READER]
clip_len = 4
short_size = 32
crop_size = 28
num_workers = 0
batch_size = 4

[OPTIMIZER]
learning_rate = 0.05
"""


every_notebook = pytest.mark.parametrize("name", SCRIPTS)


def find_notebook(name, project=ROOT):
    """Return the path of a notebook."""
    return project / "notebooks" / f"{name}.ipynb"


def read_notebook(name):
    """Return the notebook as its JSON says, without help of nbformat."""
    return json.loads(find_notebook(name).read_text(encoding="utf-8"))


def sources(name, kind):
    """List the texts of all cells of a kind, `code` or `markdown`."""
    return ["".join(cell["source"]) for cell in read_notebook(name)["cells"] if cell["cell_type"] == kind]


# What is committed


def test_what_the_notebooks_import_of_the_project_is_there():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {path.stem for path in ROOT.glob("*.py")}
    text = "\n".join(cell for name in SCRIPTS for cell in sources(name, "code"))
    imports = re.findall(r"^from ([\w.]+) import ([\w, ]+)$", text, re.MULTILINE)
    imports = [(module, names.split(", ")) for module, names in imports if module.split(".")[0] in rooms]
    assert len(imports) >= 6
    for module, names in imports:
        for name in names:
            assert pkgutil.resolve_name(f"{module}.{name}") is not None
    for name in re.findall(r"^import (\w+)$", text, re.MULTILINE):
        assert importlib.util.find_spec(name), f"no module {name}"


def test_every_notebook_is_checked():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == sorted(SCRIPTS)


@every_notebook
def test_the_notebook_is_stored_without_results(name):
    for cell in read_notebook(name)["cells"]:
        assert not cell.get("attachments") and cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert find_notebook(name).stat().st_size < 60_000


@every_notebook
def test_the_notebook_names_no_machine(name):
    absolute = r"(?<![\w.~/}*])/(?!dev/shm)(?!home/aistudio\b)\w[\w.]*/\w+|\b[A-Z]:\\"
    assert re.search(absolute, "see /tmp/somebody") and re.search(absolute, "('/home/me')")
    assert not re.search(absolute, "a/b/c, https://d.org/e/f, {g}/h/i, /home/aistudio/j")
    for text in [*sources(name, "code"), *sources(name, "markdown")]:
        assert not re.search(absolute, text), re.search(absolute, text)
    assert read_notebook(name)["metadata"]["kernelspec"]["name"] == "python3"


@every_notebook
def test_every_text_stands_in_chinese_and_in_english(name):
    for text in sources(name, "markdown"):
        english = re.sub(r"`[^`]*`|\([^)]*\)|[一-鿿]", " ", text)
        assert re.search("[一-鿿]", text) or re.match(r"## \d\. VisualDL", text), text
        assert re.search(r"[A-Za-z]{2,}", english), text


@every_notebook
def test_the_files_it_names_are_there(name):
    text = "\n".join([*sources(name, "code"), *sources(name, "markdown")])
    scripts = re.findall(r'run\("python", "(\S+?)"', text)
    assert scripts == SCRIPTS[name].split()
    named = re.findall(r"\b(?:configs/\w+\.(?:txt|yaml)|requirements[\w-]*\.txt|docs/\w+\.md)", text)
    assert named
    for path in {*scripts, *named}:
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("start", ["import os\n", "import importlib.util\n", "import platform\n"])
def test_getting_ready_is_the_same_in_all(start):
    cells = {name: [text for text in sources(name, "code") if text.startswith(start)] for name in SCRIPTS}
    assert len(cells["ucf101"]) == 1
    assert all(own == cells["ucf101"] for own in cells.values())


# What happens when it runs


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the project in `<tmp>/work/project`, as it stands on AI Studio; nothing of the user's own Jupyter."""
    pytest.importorskip("nbclient", reason="nbclient is not installed; see requirements-test.txt")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed; see requirements-test.txt")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / "jupyter" / name).mkdir(parents=True)
        monkeypatch.setenv(name, str(tmp_path / "jupyter" / name))
    project = tmp_path / "work" / "project"
    for folder in [*ROOT.glob("*/__init__.py"), ROOT / "configs/_", ROOT / "splits/_", ROOT / "notebooks/_"]:
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(folder.parent, project / folder.parent.name, ignore=ignored)
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.sh"), *ROOT.glob("requirements*.txt")]:
        shutil.copy(path, project)
    return project


def execute(project, cwd, last="", extra="", name="ucf101"):
    """Run the cells of the copied notebook, `last` of them the one that holds this text, by this very Python.

    Returns:
        the notebook with its outputs, and all that its cells printed.
    """
    import nbformat
    from ipykernel.kernelspec import write_kernel_spec
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient

    kernels = project.parent.parent / "kernels"
    if not kernels.exists():
        write_kernel_spec(str(kernels / "here"))
        assert json.loads((kernels / "here" / "kernel.json").read_text(encoding="utf-8"))["argv"][0] == sys.executable
    specs = KernelSpecManager(kernel_dirs=[str(kernels)], ensure_native_kernel=False)
    notebook = nbformat.read(str(find_notebook(name, project)), as_version=4)
    nbformat.validate(notebook)
    if last:
        place = next(index for index, cell in enumerate(notebook.cells) if last in cell.source)
        notebook.cells = notebook.cells[: place + 1]
    if extra:
        notebook.cells.append(nbformat.v4.new_code_cell(extra))
    with tempfile.TemporaryDirectory() as sockets:  # instead of ports, which whatever runs beside this may take
        sockets = {"transport": "ipc", "ip": f"{sockets}/kernel", "connection_file": f"{sockets}/kernel.json"}
        manager = AsyncKernelManager(kernel_name="here", kernel_spec_manager=specs, **sockets)
        client = NotebookClient(notebook, km=manager, timeout=900, resources={"metadata": {"path": str(cwd)}})
        client.execute(cleanup_kc=True)
    faults = [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "error"]
    assert not faults
    return notebook, printed(notebook)


def code_cells(notebook):
    """List the code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook):
    """Join what all cells wrote to stdout."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def shown(notebook, mime, holding):
    """List the outputs of a type that the cell with the text `holding` shows."""
    cell = next(cell for cell in code_cells(notebook) if holding in cell.source)
    return [output.data[mime] for output in cell.outputs if mime in output.get("data", {})]


def check_results(notebook, text, save_dir):
    """Check the accuracy line and table, the four pictures, and the files that they are of."""
    top1 = float(re.search(r"^验证集准确率为:(\S+)$", text, re.MULTILINE).group(1))
    summary = json.loads((save_dir / "result.json").read_text(encoding="utf-8"))["summary"]
    assert summary["top1"] == top1
    (table,) = shown(notebook, "text/markdown", "display(Markdown")
    assert f"| top-1 | **{100 * top1:.2f}%** |" in table
    assert table.count("\n") > 10
    for holding in ("plt.imread", "_log.jsonl", "confusion.png", "predict.py"):
        (picture,) = shown(notebook, "image/png", holding)
        assert len(picture) > 5000, holding
    assert "data:video/webm;base64," in shown(notebook, "text/html", "predict.py")[0]
    for pattern in ("predict/*_predict.webm", "predict/*_predict.png", "predict/*.json", "vdl/*vdlrecords*"):
        assert len(list(save_dir.glob(pattern))) == 1, pattern
    return table


@pytest.mark.long
def test_the_whole_road_on_sample_data_and_again_after_a_restart(tree, monkeypatch):
    monkeypatch.setenv("NOTEBOOK_EPOCHS", "1")
    monkeypatch.setenv("NOTEBOOK_SAMPLE_FLAGS", "--groups 2 --clips 1 --frames 16 --width 96 --height 72")
    notebook, text = execute(tree, tree / "notebooks")
    table = check_results(notebook, text, tree / "output" / "samples")
    assert "no UCF-101 found: sample data is used" in text and "sample data, not UCF-101" in table
    command = "$ python train.py configs/quickstart.txt --root data/samples --save_dir output/samples --resume auto"
    assert f"{command} --epoch 1\n" in text
    assert f"NumPy  {importlib.metadata.version('numpy')}\n" in text and sys.executable in text

    # AI Studio empties data/ when a project is closed, and keeps the rest.
    shutil.rmtree(tree / "data")
    monkeypatch.setenv("NOTEBOOK_EPOCHS", "2")
    _, text = execute(tree, tree, last='run("python", "train.py"')
    assert "resume from output/samples/resnet_model: 1 epochs" in text
    assert "END epoch 1:" in text and "END epoch 0:" not in text


@pytest.mark.long
def test_the_whole_road_with_a_zip_file_that_ai_studio_mounts(tree, samples, tmp_path, monkeypatch):
    """Sample videos under names of UCF-101, of either side of its split 1, stand in for the data set."""
    names = {"Archery": "Bow", "Biking": "Kick", "Punch": "Punch"}
    mounted = tmp_path / "data" / "data11460" / "UCF-101.zip"
    mounted.parent.mkdir(parents=True)
    with zipfile.ZipFile(mounted, "w") as archive:
        for name, action in names.items():
            for group, source in (("g01", 1), ("g08", 2), ("g09", 3)):
                video = samples / "UCF-101" / action / f"v_{action}_g{source:02d}_c01.avi"
                archive.write(video, f"UCF-101/{name}/v_{name}_{group}_c01.avi")
    (tree / "configs" / "tiny.txt").write_text(TINY_CONFIG, encoding="utf-8")
    for name, value in {"ROOT": tmp_path / "data", "CONFIG": "configs/tiny.txt", "FLAGS": "--use_gpu False"}.items():
        monkeypatch.setenv(f"NOTEBOOK_{name}", str(value))
    monkeypatch.setenv("NOTEBOOK_EPOCHS", "1")
    notebook, text = execute(tree, tmp_path)  # the project lies in work/ below the notebook's folder
    table = check_results(notebook, text, tree / "output" / "ucf101")
    assert f"UCF-101: {mounted}" in text and "make_samples.py --root" not in text
    assert table.startswith("| UCF-101 | |") and "sample" not in table
    assert "| 随机水平 chance | 0.99% |" in table and "| 3，官方列表 official list 3783 |" in table
    assert not (tmp_path / "data" / "UCF-101").exists()  # nothing was unpacked but the video to predict


@pytest.mark.long
def test_the_whole_road_of_ones_own_videos(tree, samples, tmp_path, monkeypatch):
    """Three classes of sample videos stand in for them; the network is too small to learn the eight by heart."""
    for name in ("Bow", "Kick", "Punch"):
        for group in range(1, 5):
            source = samples / "UCF-101" / name / f"v_{name}_g{group:02d}_c01.avi"
            if source.exists():
                (tmp_path / "mine" / name).mkdir(parents=True, exist_ok=True)
                shutil.copy(source, tmp_path / "mine" / name / source.name)
    (tree / "configs" / "tiny.txt").write_text(TINY_CONFIG, encoding="utf-8")
    settings = {"VIDEOS": tmp_path / "mine", "ROOT": tmp_path / "data", "CONFIG": "configs/tiny.txt"}
    settings |= {"FLAGS": "--use_gpu False", "EPOCHS": 1, "OVERFIT_EPOCHS": 1, "TEST_RATIO": 0.4}
    for name, value in settings.items():
        monkeypatch.setenv(f"NOTEBOOK_{name}", str(value))
    notebook, text = execute(tree, tree / "notebooks", name="own_videos")
    assert "配置 config: configs/tiny.txt，结果在 results in output/own_videos\n" in text
    assert "make_samples.py --root" not in text and "--overfit 8 --epoch 1\n" in text and "OVERFIT_EPOCHS" in text
    (table,) = shown(notebook, "text/markdown", "display(Markdown")
    assert table.startswith("| mine | |") and "| 随机水平 chance | 33.33% |" in table
    (video,) = shown(notebook, "text/html", "predict.py")
    assert "data:video/webm;base64," in video and len(video) > 5000
    for holding in ("plt.imread", "read_log(save_dir)", "confusion.png", "predict.py"):
        (picture,) = shown(notebook, "image/png", holding)
        assert len(picture) > 5000, holding


@pytest.mark.long
def test_the_whole_road_of_skeletons_on_sample_data(tree, monkeypatch):
    monkeypatch.setenv("NOTEBOOK_EPOCHS", "1")
    monkeypatch.setenv("NOTEBOOK_SAMPLE_FLAGS", "--groups 2 --clips 1 --frames 16 --width 64 --height 48")
    monkeypatch.setenv("NOTEBOOK_FLAGS", "-o MODEL.base_channels=8 -o READER.clip_len=8")
    notebook, text = execute(tree, tree / "notebooks", name="skeleton")
    assert "no key points given: sample data is used" in text
    for split in ("xsub_train", "xsub_val"):
        assert f"split {split}: 11 samples; 11 of 11 classes; Bow 1, " in text
    assert "训练 train: xsub_train，测试 test: xsub_val\n" in text
    save_dir = tree / "output" / "skeleton_samples"
    (table,) = shown(notebook, "text/markdown", "display(Markdown")
    assert table.startswith("| 样例数据 sample data |") and "| 随机水平 chance | 9.09% |" in table
    rows = {"joint": "joint/ctrgcn_model", "bone": "bone/ctrgcn_model", "**融合 fused**": "fused, weighted mean"}
    for row, told in rows.items():  # as train_streams.py tells them
        (figures,) = re.findall(rf"^\S*{told}.* ([\d.]+%) +([\d.]+%) +([\d.]+%)$", text, re.MULTILINE)
        assert f"\n| {row} | {' | '.join(figures)} |\n" in table
    for holding in ("invert_yaxis", "_log.jsonl", "draw_confusion"):
        (picture,) = shown(notebook, "image/png", holding)
        assert len(picture) > 5000, holding
    for stream in ("joint", "bone"):
        assert len(list(save_dir.glob(f"{stream}/vdl/*vdlrecords*"))) == 1
        assert f"{stream}/vdl/vdlrecords" in text


@pytest.mark.long
def test_key_points_of_ones_own_are_trained_by_what_their_pkl_says(tree, samples, monkeypatch):
    settings = {"KEYPOINTS": samples / "coco17.pkl", "FORMAT": "pkl", "SPLITS": "train2 test2", "STREAMS": "bone"}
    settings |= {"EPOCHS": 1, "FLAGS": "-o MODEL.base_channels=8 -o READER.clip_len=8"}
    for name, value in settings.items():
        monkeypatch.setenv(f"NOTEBOOK_{name}", str(value))
    notebook, text = execute(tree, tree, last='run("python", "train_streams.py"', name="skeleton")
    assert "布局 layout coco17，2 维 coordinates" in text and "make_samples" not in text
    assert "layout coco17, stream bone, normalization pyskl_2d_auto" in text
    assert "11 recordings scored (data/skeletons.pkl split test2)" in text
    assert (tree / "output" / "skeletons" / "bone" / "ctrgcn_model_test_scores.pkl").is_file()
    assert len(shown(notebook, "image/png", "invert_yaxis")) == 1


def check_rgbpose_results(notebook, text, save_dir):
    """Check that the table has the figures of every answer that test.py told, and look for the pictures."""
    (table,) = shown(notebook, "text/markdown", "display(Markdown")
    told = dict(re.findall(r"acc/(\S+)\s+([\d.]+%)", text))
    for name, title in {"rgb": "画面 RGB", "pose": "姿态 pose", "RGBPose_1:1": "**融合 fused 1:1**"}.items():
        figures = [told[f"{name}_{kind}"] for kind in ("top1", "top5", "mean1")]
        assert f"\n| {title} | {' | '.join(figures)} |\n" in table
    for holding in ("read_frames", "reader.prepare", "_log.jsonl", "confusion.png", "predict.py"):
        (picture,) = shown(notebook, "image/png", holding)
        assert len(picture) > 5000, holding
    for pattern in ("predict/*_predict.webm", "predict/*_predict.png", "predict/*.json", "vdl/*vdlrecords*"):
        assert len(list(save_dir.glob(pattern))) == 1, pattern
    return table


@pytest.mark.long
def test_the_whole_road_of_rgb_and_pose_on_sample_data(tree, monkeypatch):
    monkeypatch.setenv("NOTEBOOK_EPOCHS", "1")
    monkeypatch.setenv("NOTEBOOK_SAMPLE_FLAGS", "--groups 2 --clips 1 --frames 16 --width 64 --height 48")
    monkeypatch.setenv("NOTEBOOK_FLAGS", "-o MODEL.rgb_base_channels=8 -o READER.clip_len=8 -o READER.rgb_clip_len=2")
    notebook, text = execute(tree, tree / "notebooks", name="rgbpose")
    assert "no key points given: sample data is used" in text and "训练 train: train1，测试 test: test1\n" in text
    assert "rgb: [3, 2, 56, 56]\npose: [17, 8, 28, 28]\n" in text
    table = check_rgbpose_results(notebook, text, tree / "output" / "rgbpose_samples" / "rgbposeconv3d")
    assert table.startswith("| 样例数据 sample data |") and "| 随机水平 chance | 9.09% |" in table


@pytest.mark.long
def test_videos_and_key_points_of_ones_own_are_seen_together(tree, samples, monkeypatch):
    """PCAN on three classes of one's own; the videos lie side by side, and their names end as those of NTU RGB+D."""
    content = load_pickle(samples / "coco17.pkl")
    kept = [one for one in content["annotations"] if one["label"] < 3]
    names = {one["frame_dir"]: tree / "films" / f"{one['frame_dir']}_rgb.avi" for one in kept}
    split = {name: [one for one in content["split"][f"{name}2"] if one in names] for name in ("train", "test")}
    dump_pickle({"annotations": kept, "split": split, "class_names": ["a", "b", "c"]}, tree / "own.pkl")
    (tree / "films").mkdir()
    for name, path in names.items():
        shutil.copy(next(samples.glob(f"UCF-101/*/{name}.avi")), path)
    settings = {"POSES": "own.pkl", "VIDEOS": "films", "CONFIG": "configs/pcan_samples.txt", "EPOCHS": 1}
    settings |= {"USE_GPU": False, "FLAGS": "-o MODEL.coarse_groups=0,0,1 -o MODEL.rgb_base_channels=8"}
    for name, value in settings.items():
        monkeypatch.setenv(f"NOTEBOOK_{name}", str(value))
    notebook, text = execute(tree, tree, name="rgbpose")
    assert "videos: films\n" in text and "make_samples" not in text and text.count(" --use_gpu False\n") == 3
    table = check_rgbpose_results(notebook, text, tree / "output" / "rgbpose" / "pcan")
    assert table.startswith("| own.pkl |") and "| 随机水平 chance | 33.33% |" in table and "| rgb_coarse | " in table


def test_a_failed_script_stops_the_notebook(tree):
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError) as caught:
        execute(tree, tree, "os.chdir(", "run('python', 'avi2jpg.py', '--root', 'none', '--videos', 'none')")
    assert "the command failed, its last lines say why" in str(caught.value)


def test_without_the_project_the_first_cell_says_what_to_do(tree, tmp_path):
    from nbclient.exceptions import CellExecutionError

    (tree / "train.py").unlink()
    with pytest.raises(CellExecutionError, match="no project near .*; put it into work/"):
        execute(tree, tmp_path, last="os.chdir(")


def test_a_command_that_is_interrupted_does_not_run_on(tree):
    """The stop button: the notebook's Python gets a KeyboardInterrupt while it waits for a line."""
    command = "import os, time; open('begun', 'w')\nwhile not os.path.exists('go'): time.sleep(.1)\nopen('ran_on', 'w')"
    extra = f"""
import signal, threading, time
def stop():
    while not os.path.exists("begun"):
        time.sleep(.1)
    time.sleep(1)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
threading.Thread(target=stop).start()
try:
    run("python", "-c", {command!r})
except KeyboardInterrupt:
    open("go", "w").close()
    time.sleep(1)
    print("begun:", os.path.exists("begun"), "ran on:", os.path.exists("ran_on"))
"""
    _, text = execute(tree, tree, "os.chdir(", extra)
    assert "begun: True ran on: False" in text


@every_notebook
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_ends_with_the_python_of_the_notebook(name, number, tmp_path):
    """A kernel that is restarted, killed, or out of memory."""
    (ready,) = [text for text in sources(name, "code") if text.startswith("import os\n")]
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    (tmp_path / "cell.py").write_text(f"{ready}\nrun('python', '-c', {child!r})\n", encoding="utf-8")
    pipes = {"stdout": subprocess.PIPE, "encoding": "utf-8"}
    kernel = subprocess.Popen([sys.executable, "-u", tmp_path / "cell.py"], cwd=ROOT, **pipes)
    started = next(int(line) for line in kernel.stdout if line.strip().isdecimal())
    assert not has_ended(started)
    kernel.send_signal(number)
    kernel.communicate()
    end_s = time.monotonic() + 5
    while not has_ended(started) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert has_ended(started)


@every_notebook
def test_results_of_other_data_have_another_folder(name):
    """Going on with another data set is refused, so that a notebook needs a way on."""
    text = "\n".join(sources(name, "code"))
    assert 'SAVE_DIR = setting("SAVE_DIR", "")' in text and text.count("SAVE_DIR or ") == 1
    assert "/resnet_" not in text  # the network is the config's
