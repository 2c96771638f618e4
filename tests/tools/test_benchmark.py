"""tools/benchmark.py: what it prints for tiny networks and videos, and that its clocks count what they should."""

import re
import time

import cv2
import numpy as np
import paddle
import pytest
from numbered_videos import write_numbered_video
from printed_tables import read_spread, read_table
from ramp_videos import write_ramps
from small_dataset import make_tree

from reader.clips import Clips
from tools import benchmark, gpu_check
from tools.measure import checkout_speed, extraction_speed, reader_speed, step_speed, tables, timing

TINY_CLIPS = ["-o", "READER.clip_len=4", "-o", "READER.crop_size=32"]
SMALL_BODIES = ("--classes", 2, "--groups", 2, "--clips", 1, "--width", 64, "--height", 48)
TINY_MODEL = ["-o", "MODEL.depth=10", "-o", "MODEL.widen_factor=0.25", "-o", "MODEL.num_classes=4"]


def read(*words):
    """The arguments and the config of a command line."""
    args = benchmark.parse_arguments(list(words))
    return args, benchmark.read_config(args)


class Clock:
    """A clock that only work moves: on a device that answers at once, or on one that works on when asked to wait."""

    def __init__(self, monkeypatch, device):
        self.now_s, self.queued_s, self.calls = 0.0, 0.0, 0
        self.is_gpu = device.startswith("gpu")
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now_s)
        monkeypatch.setattr(paddle.device, "get_device", lambda: device)
        monkeypatch.setattr(paddle.device.cuda, "synchronize", self.wait)

    def call(self):
        self.calls += 1
        self.queued_s += 100 if self.calls <= timing.WARMUP else self.calls
        if not self.is_gpu:
            self.wait()

    def wait(self):
        self.now_s, self.queued_s = self.now_s + self.queued_s, 0.0


@pytest.mark.parametrize("device", ["cpu", "gpu:0"])
def test_the_clock_counts_all_work_of_a_repeat_and_none_of_the_warmup(device, monkeypatch):
    clock = Clock(monkeypatch, device)
    # Calls take as many seconds as their number: 4 and 5, 6 and 7, 8 and 9 after three calls of warm-up.
    assert timing.time_calls(clock.call, 2, 3) == [4.5, 6.5, 8.5]
    assert clock.calls == 9


def test_tables_are_markdown_and_medians_have_their_spread():
    assert tables.format_table([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    assert tables.format_spread([3.0, 1.04, 10.0], 1) == "3.0 (1.0 to 10.0)"


def test_the_model_table(capsys):
    words = ["model", *TINY_CLIPS, *TINY_MODEL, "--batch_size", "3", "--batches", "2", "--repeats", "2"]
    words += ["-o", "TEST.num_clips=5", "-o", "TEST.crops=three"]
    benchmark.main([*words, "--use-gpu", "False"])
    out = capsys.readouterr().out
    # The number of weights is the one in tests/test_models.py.
    assert "resnet, 0.91 M parameters, " in out and " of 3 x 4 x 32 x 32; amp_level O0;" in out
    assert f"Paddle {paddle.__version__}" in out and "cores" in out and "memory of the process, " in out
    titles, *rows = read_table(out)
    assert titles == ["", "clips a call", "clips/s", "ms a call", "operators a call", "peak memory, GiB"]
    # A video of a test is all its views: 5 clips x 3 crops.
    assert [row[:2] for row in rows] == [["training", "3"], ["inference", "3"], ["test video", "15"]]
    before_gib = float(re.search(r"([\d.]+) GiB of it before", out)[1])
    for row in rows:
        median, low, high = read_spread(row[2])
        assert 0 < low <= median <= high
        # A median of times is between the times of the slowest and the fastest repeat; the table rounds.
        milliseconds = float(row[3])
        assert 0.9 * 1000 * int(row[1]) / high <= milliseconds <= 1.1 * 1000 * int(row[1]) / low
        assert before_gib <= float(row[5]) < 4
    training, inference, video = (int(row[4]) for row in rows)
    assert training > 2 * inference > 0 and inference == video  # the way back and the update; any number of clips
    videos_per_s = float(re.search(r"([\d.]+) videos/s, one at a time, all the views of TEST", out)[1])
    assert videos_per_s == pytest.approx(1000 / milliseconds, rel=0.3)


def test_training_and_inference_are_measured_each_in_its_mode():
    words = ["-o", "TRAIN.clip_len=6", "-o", "TEST.clip_len=2"]  # what is measured is training's
    _, config = read("model", *TINY_CLIPS, *TINY_MODEL, *words, "--batch_size", "3")
    step, reader = timing.build_step(config)
    inputs, labels = timing.draw_batch(config, reader)
    frames = inputs["rgb"]
    assert frames.shape == (3, 6, 32, 32, 3) and frames.dtype == np.uint8 and set(labels) <= {0, 1, 2, 3}
    before = {name: value.numpy() for name, value in step.model.state_dict().items()}

    has_graph = []
    step.model.register_forward_post_hook(lambda _layer, _inputs, logits: has_graph.append(not logits.stop_gradient))
    benchmark.prepare_inference(step, inputs, labels)()
    assert all(np.array_equal(value.numpy(), before[name]) for name, value in step.model.state_dict().items())
    assert step.model.conv1.weight.grad is None

    benchmark.prepare_training(step, inputs, labels)()
    moved = {name for name, value in step.model.state_dict().items() if not np.array_equal(value.numpy(), before[name])}
    assert moved and all(name.endswith(("_mean", "_variance")) for name in moved)  # at rate 0 the weights stay
    assert np.abs(step.model.conv1.weight.grad.numpy()).max() > 0
    assert has_graph == [False, True]


def test_a_network_that_cannot_be_built_is_one_sentence():
    with pytest.raises(OSError, match=r"^tools/benchmark.py ended with status 1: ValueError: .*depth"):
        benchmark.main(["model", "-o", "MODEL.depth=11"])


def test_the_reader_table_of_sample_data_made_for_it(monkeypatch, capsys):
    small = {"classes": 2, "groups": 2, "clips": 1, "frames": 8, "width": 64, "height": 48}
    monkeypatch.setattr(reader_speed, "SAMPLES", small)
    benchmark.main(["reader", *TINY_CLIPS, "--workers", "0", "1", "--batches", "2", "--repeats", "3"])
    out = capsys.readouterr().out
    assert "clips of 3 x 4 x 32 x 32, 8 a batch; median of 3 x 2 batches" in out
    titles, *rows = read_table(out)
    assert titles == ["clips/s", "bare decoding", "workers: 0", "workers: 1", "seconds, of bare decoding"]
    names = ["records of paths", "packed records", "packed records, short side 128", "video files"]
    assert [row[0] for row in rows] == names
    for row in rows:
        for cell in row[1:] if row[0] != "video files" else row[2:4]:
            median, low, high = read_spread(cell)
            assert 0 < low <= median <= high
    assert rows[-1][1] == rows[-1][4] == "-"


def test_bare_decoding_is_of_the_pictures_that_the_reader_decodes(tmp_path, monkeypatch):
    filelist = write_ramps(tmp_path, num_videos=2)
    dataset = Clips(filelist, "train", clip_len=4, crop_size=16, frame_interval=2)
    read, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: read.append((bytes(data), flags)) or decode(data, flags))
    for index in (0, 1):
        dataset[0, index]
    clips = reader_speed.load_pictures(dataset, 2)
    assert [bytes(picture) for clip in clips for picture in clip] == [data for data, _ in read]
    assert len(reader_speed.load_pictures(dataset, 5)) == 5
    read.clear()
    assert reader_speed.time_decoding(clips) > 0
    assert len(read) == 8 and {flags for _, flags in read} == {cv2.IMREAD_COLOR}


def test_something_is_called_after_each_repeat(tmp_path):
    args, config = read("reader", *TINY_CLIPS, "--batch_size", "2", "--batches", "2", "--repeats", "3")
    calls = []
    speeds = reader_speed.time_reading(config, write_ramps(tmp_path), 0, args, lambda: calls.append(time.sleep(0.2)))
    assert len(calls) == len(speeds) == 3 and min(speeds) > 20  # 4 clips in less than the call


def test_the_extraction_table(tmp_path, monkeypatch, capsys):
    write_numbered_video(tmp_path / "UCF-101" / "A" / "v_A_g01_c01.avi", "mpeg4", num_frames=6)
    write_numbered_video(tmp_path / "UCF-101" / "B" / "v_B_g01_c01.avi", "mpeg4", num_frames=4)
    monkeypatch.setenv("PATH", str(tmp_path))  # no ffmpeg
    benchmark.main(["extraction", "--root", str(tmp_path), "--processes", "1", "2", "--repeats", "1"])
    titles, *rows = read_table(capsys.readouterr().out)
    assert titles == ["frames/s", "processes: 1", "processes: 2", "seconds, of the first", "KiB a frame"]
    assert [row[0] for row in rows] == ["bare loop of OpenCV", "avi2jpg.py"]
    assert read_spread(rows[0][3]) == [1, 1, 1] and rows[0][4] == rows[1][4]  # the same files
    assert all(read_spread(cell)[1] > 0 for row in rows for cell in row[1:4])


def test_both_ways_write_the_same_frames(tmp_path):
    film = str(write_numbered_video(tmp_path / "a.avi", "mpeg4", num_frames=5))
    assert extraction_speed.extract_by_opencv((film, str(tmp_path / "bare"))) == 5
    assert extraction_speed.extract_by_avi2jpg((film, str(tmp_path / "all" / "A" / "a"))) == 5
    bare, here = (sorted(folder.glob("*.jpg")) for folder in (tmp_path / "bare", tmp_path / "all" / "A" / "a"))
    assert [path.name for path in bare] == [path.name for path in here] == [f"{k:05}.jpg" for k in range(1, 6)]
    assert [path.read_bytes() for path in bare] == [path.read_bytes() for path in here]


def test_a_video_that_cannot_be_extracted_ends_the_measurement(tmp_path):
    (tmp_path / "a.avi").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a.avi: the file is empty"):
        extraction_speed.time_extraction(extraction_speed.extract_by_avi2jpg, [str(tmp_path / "a.avi")], 1)
    with pytest.raises(FileNotFoundError, match=r"no .*UCF-101/<Class>/<video> files; name a folder"):
        extraction_speed.main([str(tmp_path)])


def test_skeletons_are_read_from_the_file_of_the_config_or_from_sample_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reader_speed, "SKELETON_FLAGS", (*SMALL_BODIES, "--frames", 8))
    words = ["reader", "-o", "READER.name=skeletons", "-o", "READER.stream=bone", "--workers", "0", "--batches", "2"]
    benchmark.main([*words, "--root", str(tmp_path)])
    out = capsys.readouterr().out
    assert "clips of 3 x 100 x 25 x 2, 8 a batch; median of 3 x 2 batches" in out
    _, row = read_table(out)
    assert row[0] == "sample data, ntu25.pkl" and row[1] == "-" and read_spread(row[2])[1] > 0
    own = ["-o", f"TRAIN.filelist={tmp_path / 'coco17.pkl'}", "-o", "TRAIN.split=test2", "-o", "READER.layout=coco17"]
    benchmark.main([*words, *own])
    out = capsys.readouterr().out
    assert "clips of 3 x 100 x 17 x 2" in out and read_table(out)[1][0] == "coco17.pkl"


def test_noise_is_of_the_reader_s_kind():
    _, config = read("model", "-o", "READER.name=skeletons", "-o", "READER.num_clips=3", "-o", "READER.clip_len=5")
    reader = timing.open_training_reader(config)
    batch, labels = timing.draw_batch(config, reader)
    skeletons = batch["skeleton"]
    assert skeletons.shape == (8, 2, 5, 25, 3) and skeletons.dtype == np.float32 and len(labels) == 8
    views, labels = benchmark.draw_video(config, reader)
    assert views["skeleton"].shape == (3, 2, 5, 25, 3) and len(labels) == 3


def slow_down(monkeypatch, num_slow):
    """Let clips of a list take 20 ms to read, the first `num_slow` ones 80 ms; return the list of those read."""
    seen = []

    def read_sample(self, index, rng):
        seen.append(self.entries[index].name)
        time.sleep(0.08 if len(seen) <= num_slow else 0.02)
        return {"inputs": {"rgb": np.zeros((1, 4, 32, 32, 3), np.uint8)}, "label": 0, "name": seen[-1]}

    monkeypatch.setattr(Clips, "_read_sample", read_sample)
    return seen


def test_clips_per_second_are_those_after_the_warmup(tmp_path, monkeypatch):
    args, config = read("reader", *TINY_CLIPS, "--batch_size", "2", "--batches", "5", "--repeats", "2")
    seen = slow_down(monkeypatch, num_slow=timing.WARMUP * 2 + 10)  # the warm-up and the first repeat
    speeds = reader_speed.time_reading(config, write_ramps(tmp_path, num_videos=3), 0, args)
    names = {"v_A_g00_c01", "v_B_g01_c01", "v_A_g02_c01"}
    assert len(seen) == 2 * (timing.WARMUP + 2 * 5) and set(seen) == names
    assert 6 < speeds[0] < 12.5 < 25 < speeds[1] < 50  # at most one clip each 80 ms, then one each 20 ms


def test_two_workers_read_twice_as_fast_where_reading_is_waiting(tmp_path, monkeypatch):
    args, config = read("reader", *TINY_CLIPS, "--batch_size", "2", "--batches", "20", "--repeats", "1")
    slow_down(monkeypatch, num_slow=0)
    filelist = write_ramps(tmp_path, num_videos=1)
    one, two = (reader_speed.time_reading(config, filelist, num_workers, args)[0] for num_workers in (1, 2))
    assert one < 51 and 1.4 * one < two < 115  # a batch more or less stands ready when the clock starts


def test_a_tree_of_ones_own_tells_what_it_holds(tmp_path):
    paths, packed, folders, films, lists = (
        tmp_path / name for name in ("paths", "packed", "folders", "films", "lists")
    )
    write_ramps(paths)
    make_tree(packed)
    film = write_numbered_video(packed / "UCF-101" / "Down" / "v_Down_g01_c01.AVI", "mpeg4", num_frames=6)
    for place in (folders, films, lists):
        place.mkdir()
    folder = next((paths / "jpg" / "A").iterdir())
    (folders / "train.list").write_text(f"{folder} 20 0\n", encoding="utf-8")
    (films / "train.list").write_text(f"{film} 1\n", encoding="utf-8")
    assert list(reader_speed.find_sources(paths, lists)) == ["records of paths"]
    assert list(reader_speed.find_sources(folders, lists)) == ["frame folders"]
    assert reader_speed.find_sources(films, lists) == {"video files": films / "train.list"}
    assert not list(lists.iterdir())
    found = reader_speed.find_sources(packed, lists)
    assert found == {"packed records": packed / "train.list", "video files": lists / "videos.list"}
    args, config = read("reader", *TINY_CLIPS, "--batch_size", "2", "--batches", "1", "--repeats", "1")
    assert reader_speed.time_reading(config, found["video files"], 0, args)[0] > 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["model", "--workers", "2"], "unknown flag '--workers'"),
        (["reader", "--model", "resnet"], "unknown flag '--model'"),
        (["readr"], "invalid choice: 'readr'"),
        (["reader", "--repeats", "0"], "--repeats, --batches and --processes take numbers from 1"),
        (["reader", "--workers", "-1"], "--workers takes numbers from 0"),
        (["extraction", "--processes", "0"], "--processes take numbers from 1"),
        (["extraction", "--workers", "1"], "unknown flag '--workers'"),
    ],
)
def test_words_that_mean_nothing_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(words)
    assert message in capsys.readouterr().err


@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="oneDNN's programs need Paddle 3")
def test_both_kinds_of_step_stand_side_by_side(capsys, monkeypatch):
    monkeypatch.setattr(gpu_check, "FULL_SIZE", gpu_check.SMALL_SIZE)
    monkeypatch.setitem(step_speed.SHALLOW, "resnet", {"depth": 10, "widen_factor": 0.25})
    words = ["--models", "resnet", "--batch_size", "1", "--batches", "1", "--repeats", "2"]
    benchmark.main(["step", *words])
    row = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert row[:3] == ["resnet", "3 x 16 x 32 x 32", "0.9"]
    for cells in (row[3:6], row[6:]):
        dynamic, static, ratio = map(read_spread, cells)
        assert dynamic[1] - 0.005 <= (ratio[2] + 0.05) * (static[2] + 0.005)  # they are rounded
        assert dynamic[2] + 0.005 >= (ratio[0] - 0.05) * (static[1] - 0.005)


def test_a_machine_without_onednn_says_so(monkeypatch):
    monkeypatch.setattr(step_speed, "find_obstacle", lambda name: "it is for CPUs, and this is gpu:0")
    with pytest.raises(ValueError, match="oneDNN cannot compute updates here; it is for CPUs"):
        benchmark.main(["step"])


@pytest.mark.long
def test_networks_of_two_checkouts_are_timed_in_turn(tmp_path, monkeypatch, capsys):
    """The other one has a network that takes no time."""
    (tmp_path / "models").mkdir()
    layers = "import paddle\nclass Fast(paddle.nn.Linear):\n"
    layers += "    def __init__(self, num_classes, **_):\n        super().__init__(4, num_classes)\n"
    layers += "    def forward(self, x):\n        return super().forward(x[:, 0, :4, 0, 0])\n"
    (tmp_path / "models" / "__init__.py").write_text(f"{layers}MODELS = {{'stgcn': Fast}}\n", encoding="utf-8")
    monkeypatch.setattr(checkout_speed, "SIZES", {"stgcn": (1, 8, {"num_persons": 1, "num_blocks": [1]})})
    benchmark.main(["checkouts", "--other", str(tmp_path), "--models", "stgcn", "--repeats", "3"])
    (row,) = read_table(capsys.readouterr().out)[1:]
    assert row[:2] == ["stgcn", "1 x 8 frames"]
    assert min(read_spread(row[3])[0], read_spread(row[5])[0]) > 1.5  # times as long


def test_another_checkout_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no models/; make it by: git worktree add"):
        benchmark.main(["checkouts", "--other", str(tmp_path)])


def test_the_authors_repositories_are_asked_for_before_anything_is_timed(tmp_path):
    with pytest.raises(ValueError, match=r"has no CTR-GCN; clone the repository that models/skeleton/ctrgcn\.py names"):
        benchmark.main(["checkouts", "--other", str(tmp_path), "--pytorch", "no-python", "--models", "ctrgcn"])


def test_authors_code_that_does_not_run_is_told_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(checkout_speed, "SIZES", {"stgcn": (1, 8, {"num_persons": 1, "num_blocks": [1]})})
    (tmp_path / "st-gcn").mkdir()
    with pytest.raises(OSError, match=r"net\.st_gcn:Model of '.*st-gcn' could not be measured by pytorch; .*no-python"):
        benchmark.main(["checkouts", "--other", str(tmp_path), "--pytorch", "no-python", "--models", "stgcn"])
