"""What must be equal in all processes, compared from lists as they would be gathered."""

import socket
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_dataset import make_tree, write_config

import recipe
import train
from engine import agreement, checkpoint, distributed, resume
from engine.run_folder import Progress
from models import build_model
from reader import build_loader


@pytest.fixture
def processes(monkeypatch):
    """Call with what the other processes would send; then this one is rank 0 of all of them."""

    def join(*others):
        monkeypatch.setattr(distributed, "num_ranks", lambda: 1 + len(others))
        monkeypatch.setattr(distributed, "gather", lambda own: [own, *others])

    return join


def describe(tmp_path, *overrides, root="data"):
    config = recipe.read_recipe(write_config(tmp_path / "c.txt"), {}, list(overrides), str(tmp_path / root))[0]
    return agreement.describe_config(config)


def test_equal_processes_do_not_differ():
    facts = {"RUN.seed": 0, "start weights": "ab"}
    assert agreement.find_differences([facts]) == [] == agreement.find_differences([facts, dict(facts), dict(facts)])


def test_each_difference_is_a_sentence():
    first = {"OPTIMIZER.learning_rate": 0.001, "RUN.seed": 0, "RUN.rule": None}
    second = {"OPTIMIZER.learning_rate": 0.05, "RUN.seed": 0}
    third = {"OPTIMIZER.learning_rate": 0.001, "RUN.seed": 5, "RUN.rule": None, "MODEL.depth": 10}
    assert agreement.find_differences([first, second, third]) == [
        "rank 1 has OPTIMIZER.learning_rate 0.05, rank 0 0.001",
        "rank 1 has RUN.rule nothing, rank 0 None",
        "rank 2 has RUN.seed 5, rank 0 0",
        "rank 2 has MODEL.depth 10, rank 0 nothing",
    ]


def test_what_a_machine_may_have_for_itself_is_not_compared(tmp_path):
    own = ["RUN.save_dir=x", "RUN.log_file=y", "READER.num_workers=3", "TRAIN.use_shared_memory=False"]
    own += ["RUN.resume=a", "VALID.filelist=z", "RUN.use_gpu=None"]
    assert agreement.find_differences([describe(tmp_path), describe(tmp_path, *own, root="other")]) == []


@pytest.mark.parametrize(
    "override, name",
    [
        ("OPTIMIZER.learning_rate=0.5", "OPTIMIZER.learning_rate"),
        ("MODEL.depth=18", "MODEL.depth"),
        ("TRAIN.batch_size=2", "TRAIN.batch_size"),
        ("READER.clip_len=4", "READER.clip_len"),
        ("TEST.num_clips=7", "TEST.num_clips"),
        ("RUN.log_interval=3", "RUN.log_interval"),  # at each of them the processes wait for each other
        ("RUN.epochs=2", "RUN.epochs"),
    ],
)
def test_every_other_key_is_compared(tmp_path, override, name):
    (found,) = agreement.find_differences([describe(tmp_path), describe(tmp_path, override)])
    assert found.startswith(f"rank 1 has {name} ")


def test_versions_and_devices_are_compared(tmp_path, monkeypatch):
    here = describe(tmp_path)
    monkeypatch.setattr(agreement.paddle, "__version__", "9.9.9")
    monkeypatch.setattr(agreement.platform, "python_version", lambda: "4.0.1")
    monkeypatch.setattr(agreement.paddle.device, "get_device", lambda: "gpu:1")
    found = agreement.find_differences([here, describe(tmp_path)])
    assert [sentence.split(",")[0] for sentence in found] == [
        "rank 1 has Paddle '9.9.9'", "rank 1 has device 'gpu'", "rank 1 has Python 4",
    ]  # fmt: skip
    monkeypatch.setattr(agreement.paddle.device, "get_device", lambda: "gpu:0")  # each process has its own GPU
    assert agreement.find_differences([describe(tmp_path), describe(tmp_path)]) == []


def test_weights_lists_and_progress_are_compared_by_content(tmp_path, processes):
    processes({})
    make_tree(tmp_path / "a")
    make_tree(tmp_path / "b")  # the same list in another folder, as on another machine
    make_tree(tmp_path / "c", per_class=3)
    lines = (tmp_path / "b/train.list").read_text().splitlines()
    (tmp_path / "b/reversed.list").write_text("\n".join([lines[0], *lines[:0:-1]]))
    model = build_model("resnet", num_classes=3, depth=10, widen_factor=0.125)

    def start(path, progress, names=("x", "y", "z")):
        loader = build_loader(mode="train", filelist=str(tmp_path / path), num_workers=0)
        return agreement.describe_start(model, list(names), {"TRAIN": loader, "VALID": None}, progress)

    first = start("a/train.list", Progress(1, 6, [{"train/loss": 0.5}]))
    assert agreement.find_differences([first, start("b/train.list", Progress(1, 6, [{"train/loss": 0.5}]))]) == []
    model.fc.bias.set_value(model.fc.bias + 1e-6)
    others = [start("c/train.list", Progress(2, 12), "xzy"), start("b/reversed.list", Progress(1, 6))]
    found = agreement.find_differences([first, *others])
    assert [sentence.split(" '")[0] for sentence in found] == [
        "rank 1 has class names",
        "rank 1 has start weights",
        "rank 1 has TRAIN list",
        "rank 1 has checkpoint",
        "rank 1 has history",
        "rank 2 has start weights",
        "rank 2 has TRAIN list",
        "rank 2 has history",
    ]
    assert "rank 1 has TRAIN list '9 samples, hash " in found[2] and ", rank 0 '12 samples, hash " in found[2]
    assert "rank 1 has checkpoint '2 epochs and 12 updates done', rank 0 '1 epochs and 6 updates done'" in found


def test_hashes_see_every_bit_and_the_order():
    value = {"a": np.zeros(3, np.float32), "b": [1, None, ("x", 2.5)]}
    same = {"a": np.zeros(3, np.float32), "b": [1, None, ("x", 2.5)]}
    others = [
        {**value, "a": np.array([0, 0, 1e-30], np.float32)},
        {**value, "a": np.zeros((3, 1), np.float32)},
        {**value, "b": [None, 1, ("x", 2.5)]},
        {"b": value["b"], "a": value["a"]},
        {**value, "b": [1, None, ["x", 2.5]]},
    ]
    hashes = [agreement.hash_content(one) for one in (value, *others)]
    assert hashes[0] == agreement.hash_content(same) and len(set(hashes)) == len(hashes)


def test_one_process_compares_and_hashes_nothing():
    with agreement.comparing_processes() as facts:
        facts.update(agreement.describe_start(None, [], {}))
    assert facts == {}


def test_all_processes_end_with_the_same_differences(processes):
    processes(({"RUN.seed": 5}, None))
    with pytest.raises(ValueError, match="^rank 1 has RUN.seed 5, rank 0 0: start all processes with the same command"):
        with agreement.comparing_processes() as facts:
            facts["RUN.seed"] = 0
    processes(({f"key {index}": 1 for index in range(7)}, None))
    with pytest.raises(ValueError, match="key 4 1, rank 0 nothing; and 2 more: start"):
        with agreement.comparing_processes():
            pass


def test_an_error_of_one_process_ends_the_others(processes):
    processes(({}, None), ({}, "FileNotFoundError: no 'train.list'"))
    with pytest.raises(ValueError, match="rank 2 cannot begin: FileNotFoundError: no 'train.list'"):
        with agreement.comparing_processes():
            pass
    sent = []
    distributed.gather = lambda own: sent.append(own) or [own, ({}, None)]
    with pytest.raises(FileNotFoundError, match="^mine$"):
        with agreement.comparing_processes() as facts:
            facts["x"] = 1
            raise FileNotFoundError("mine")
    assert sent == [({"x": 1}, "FileNotFoundError: mine")]


def test_skeletons_are_compared_by_name_label_and_shape():
    from reader.recordings import Recordings

    def recordings(label, num_frames):
        recording = types.SimpleNamespace(name="a", label=label, keypoint=np.zeros((1, num_frames, 17, 2)))
        return Recordings.describe_samples(types.SimpleNamespace(entries=[recording]))

    assert recordings(0, 9) == recordings(0, 9) == [("a", 0, (1, 9, 17, 2))]
    assert recordings(0, 9) != recordings(1, 9) and recordings(0, 9) != recordings(0, 8)


def test_a_run_that_goes_on_with_other_updates_says_so(tmp_path, monkeypatch, capsys):
    """12 samples by 4, then by 2: 3 updates in the first epoch, 6 in each of the two others."""
    monkeypatch.chdir(tmp_path)
    make_tree(tmp_path / "data")
    words = [str(write_config(tmp_path / "c.txt")), "--save_dir", "run", "--validate", "False"]
    train.main([*words, "--epoch", "1"])
    assert "3 updates an epoch, 3 in all" in capsys.readouterr().out
    state = checkpoint.load_checkpoint("run/resnet_model")
    assert (state["samples_per_update"], state["num_ranks"]) == (4, 1)
    del state["samples_per_update"], state["num_ranks"]  # a file of before
    checkpoint.save_checkpoint("old", state)
    train.main([*words, "--epoch", "3", "--batch_size", "2", "--resume", "auto"])
    out = capsys.readouterr().out
    assert "--resume: an update took 4 samples in 1 process and takes 2 samples in 1 process now" in out
    assert "2 samples an update, 6 updates an epoch, 15 in all" in out
    assert checkpoint.load_checkpoint("run/resnet_model")["step"] == 15
    words[2] = "old_run"
    train.main([*words, "--epoch", "2", "--batch_size", "2", "--resume", "old"])
    assert "--resume: 1 epochs took 3 updates, an epoch takes 6 now" in capsys.readouterr().out


def test_another_number_of_processes_is_told(monkeypatch):
    state = {"epoch": 2, "step": 6, "samples_per_update": 32, "num_ranks": 2}
    monkeypatch.setattr(distributed, "num_ranks", lambda: 2)
    assert resume.describe_update_change(state, 32, 3) is None
    monkeypatch.setattr(distributed, "num_ranks", lambda: 1)
    expected = "an update took 32 samples in 2 processes and takes {} samples in 1 process now"
    assert resume.describe_update_change(state, 16, 6) == expected.format(16)
    assert resume.describe_update_change(state, 32, 3) == expected.format(32)  # other dropout, other batch norm
    assert resume.describe_update_change({"epoch": 2, "step": 6}, 16, 3) is None


def exchange_all(messages, num_ranks=None, wait_s=20.0, rank_0_after_s=0.0):
    """Let processes exchange messages, each in a thread of its own; return what each finds, or its error."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        master = probe.getsockname()

    def run(rank):
        time.sleep(0 if rank else rank_0_after_s)
        try:
            return agreement.exchange(rank, num_ranks or len(messages), master, messages[rank], wait_s)
        except OSError as error:
            return error

    with ThreadPoolExecutor() as pool:
        return dict(zip(messages, pool.map(run, messages), strict=True))


def test_processes_that_are_ready_meet_whoever_comes_first():
    assert exchange_all({1: None, 2: None, 0: None}, rank_0_after_s=0.4) == {0: {}, 1: {}, 2: {}}


@pytest.mark.parametrize("failed", [0, 1])
def test_a_mistake_of_one_process_is_told_to_all(failed):
    messages = {0: None, 1: None, 2: None, failed: "没有 c.txt"}
    assert exchange_all(messages) == {rank: {failed: "没有 c.txt"} for rank in (0, 1, 2)}


def test_a_process_that_does_not_come_is_waited_for_so_long_only():
    late = {2: "it has not come within 0.5 s; look at what it printed"}
    assert exchange_all({0: None, 1: None}, num_ranks=3, wait_s=0.5) == {0: late, 1: late}
    (error,) = exchange_all({1: None}, num_ranks=2, wait_s=0.5).values()
    assert "rank 0 has not come to 127.0.0.1:" in str(error) and "within 0.5 s" in str(error)


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n", b"5\n", b'{"rank": 1}\n', b"[1, null, 2]\n"])
def test_a_stranger_at_the_port_is_not_answered(words):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        master = probe.getsockname()
    with ThreadPoolExecutor() as pool:
        meeting = pool.submit(agreement.exchange, 0, 2, master, None, 20.0)
        with agreement._reach(master, time.monotonic() + 20, 20) as stranger:
            stranger.sendall(words)
            assert agreement.exchange(1, 2, master, "broken", 20.0) == {1: "broken"} == meeting.result()


@pytest.mark.parametrize("own", [None, "no such config"])
def test_a_meeting_ends_all_processes_by_the_mistake_of_one(own, monkeypatch):
    given = []
    monkeypatch.setattr(distributed, "num_ranks", lambda: 2)
    monkeypatch.setattr(distributed, "find_master", lambda: ("localhost", 1))
    monkeypatch.setattr(agreement, "exchange", lambda *arguments: given.append(arguments) or {1: "ValueError: x"})
    with pytest.raises(ValueError, match=own or "^rank 1 cannot begin: ValueError: x$"):
        with agreement.meeting():
            if own:
                raise ValueError(own)
    assert given[0][3:] == (("ValueError: no such config", agreement.NOTICE_S) if own else (None, agreement.WAIT_S))


@pytest.mark.parametrize(("num_ranks", "is_connected"), [(1, False), (2, True)])
def test_one_process_and_those_that_are_connected_meet_nobody(num_ranks, is_connected, monkeypatch):
    met = []
    monkeypatch.setattr(distributed, "num_ranks", lambda: num_ranks)
    monkeypatch.setattr(distributed, "is_connected", lambda: is_connected)
    monkeypatch.setattr(agreement, "exchange", lambda *arguments: met.append(arguments))
    with agreement.meeting():
        pass
    assert met == []


def test_an_answer_that_is_not_rank_0s_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        asked = pool.submit(agreement.exchange, 1, 2, server.getsockname(), None, 20.0)
        with server.accept()[0] as line:
            line.sendall(b"[1, null]\n")  # what this process sent itself, of a connection with itself
            with pytest.raises(ValueError, match=r"got '\[1, null\]'"):
                asked.result()


def test_the_address_of_rank_0_is_that_of_paddle(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "PADDLE_MASTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", "10.0.0.1:70,10.0.0.2:70")
    assert distributed.find_master() == ("10.0.0.1", 70)
    monkeypatch.setenv("PADDLE_MASTER", "host:8090")
    assert distributed.find_master() == ("host", 8090)
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.9")
    monkeypatch.setenv("MASTER_PORT", "x")
    with pytest.raises(ValueError, match="the environment names rank 0 as '10.0.0.9:x', expected HOST:PORT"):
        distributed.find_master()
