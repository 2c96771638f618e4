"""Log lines, the jsonl file and VisualDL, as people read and grep them."""

import json
import logging

import numpy as np
import pytest
import visualdl

from engine import logger


@pytest.fixture(autouse=True)
def restored_root_logger():
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in [one for one in root.handlers if one not in before]:
        root.removeHandler(handler)
    root.setLevel(level)


def test_lines_have_their_origin_in_the_file_and_not_on_the_screen(tmp_path, capsys):
    logger.setup_logging(str(tmp_path / "logger.log"))
    logger.setup_logging(str(tmp_path / "logger.log"))  # a second run in one process doubles no line
    logging.info("Loss at epoch 0 step 0: [1.5], acc: [0.25]")
    logging.debug("only in the file")
    assert capsys.readouterr().out == "Loss at epoch 0 step 0: [1.5], acc: [0.25]\n"
    lines = (tmp_path / "logger.log").read_text(encoding="utf-8").split("\n")
    assert lines[0].startswith("[INFO: test_logger.py:") and lines[0].endswith(
        "]: Loss at epoch 0 step 0: [1.5], acc: [0.25]"
    )
    assert len(lines[0].split("]: ")[0]) == len("[INFO: test_logger.py:   30") and "only in the file" in lines[1]


def read_scalars(folder, tag):
    reader = visualdl.LogReader(file_path=str(folder / logger.VDL_FILE))
    return [(one.id, one.value) for one in reader.get_data("scalar", tag)]


def test_the_axis_goes_on_after_a_resume_and_later_lines_of_a_killed_run_go(tmp_path):
    jsonl = tmp_path / "a.jsonl"
    first = logger.RunLog(str(jsonl), str(tmp_path / "vdl"))
    for step in (1, 2, 3):
        first.record(step, 0, loss=1.0)
        first.scalars(step, {"train/loss": step})
    first.close()
    with open(jsonl, "a") as file:
        file.write('{"step": 4, "ep')  # killed in the middle of a line
    second = logger.RunLog(str(jsonl), str(tmp_path / "vdl"), first_step=2)
    second.record(3, 1, loss=0.5)
    second.scalars(4, {"train/loss": 4})
    second.close()
    rows = [json.loads(line) for line in jsonl.read_text().splitlines()]
    assert [(row["step"], row["epoch"]) for row in rows] == [(1, 0), (2, 0), (3, 1)]
    assert read_scalars(tmp_path / "vdl", "train/loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_a_new_run_starts_new_logs_and_a_test_adds_to_them(tmp_path):
    arguments = (str(tmp_path / "a.jsonl"), str(tmp_path / "vdl"))
    for _ in range(2):
        run = logger.RunLog(*arguments)
        run.record(1, 0)
        run.scalars(1, {"train/loss": 1})
        run.close()
    added = logger.RunLog(str(tmp_path / "test.jsonl"), str(tmp_path / "vdl"), None)
    added.scalars(5, {"test/top1": 0.5})
    added.image(5, "test/confusion", np.zeros((4, 4, 3), np.uint8))
    added.histograms(5, {"weights/fc": np.arange(4.0)})
    added.hyper_parameters({"depth": 18, "shortcut": "B", "mean": [0.4], "no_max_pool": False}, ["train/loss"])
    added.close()
    assert added.is_vdl_alive
    assert read_scalars(tmp_path / "vdl", "train/loss") == [(1, 1.0)]
    assert read_scalars(tmp_path / "vdl", "test/top1") == [(5, 0.5)]
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


def test_a_new_run_keeps_no_line_of_another_run_not_even_of_step_0(tmp_path):
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_text('{"step": 0, "epoch": 0, "loss": 3.0}\n{"step": 1, "epoch": 0, "loss": 2.0}\n')
    run = logger.RunLog(str(jsonl), str(tmp_path / "vdl"))
    run.record(1, 0, loss=1.0)
    run.close()
    assert jsonl.read_text() == '{"step": 1, "epoch": 0, "loss": 1.0}\n'


def test_a_fault_of_visualdl_is_told_once_and_stops_nothing(tmp_path, monkeypatch, caplog):
    def broken(*arguments, **keywords):
        raise RuntimeError("no space for curves")

    monkeypatch.setattr(visualdl, "LogWriter", broken)
    run = logger.RunLog(str(tmp_path / "a.jsonl"), str(tmp_path / "vdl"))
    run.scalars(1, {"train/loss": 1.0})
    run.record(1, 0, loss=1.0)
    run.close()
    assert caplog.text.count("no space for curves; training goes on") == 1
    assert (tmp_path / "a.jsonl").read_text() == '{"step": 1, "epoch": 0, "loss": 1.0}\n'


def test_a_jsonl_file_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path, caplog):
    run = logger.RunLog(str(tmp_path / "out" / "a.jsonl"), str(tmp_path / "vdl"))
    (tmp_path / "out").rmdir()
    for step in (1, 2):
        run.record(step, 0, loss=1.0)
        run.scalars(step, {"train/loss": step})
    run.close()
    assert caplog.text.count("a.jsonl' cannot be written") == 1
    assert read_scalars(tmp_path / "vdl", "train/loss") == [(1, 1.0), (2, 2.0)]


def test_clips_are_laid_out_in_rows():
    clips = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * np.ones((1, 1, 4, 5, 3), np.uint8)
    picture = logger.clip_rows(clips)
    assert picture.shape == (8, 15, 3) and picture[0, ::5, 0].tolist() == [0, 1, 2]
    assert picture[4, ::5, 0].tolist() == [3, 4, 5]


def test_durations():
    assert logger.format_duration(3725.9) == "1:02:05"
