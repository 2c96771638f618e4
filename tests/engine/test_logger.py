"""Log lines, the jsonl file and VisualDL, as people read and grep them."""

import json
import logging
import os
import re
import struct

import numpy as np
import pytest
import visualdl

from common import curves
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
    assert re.fullmatch(r"\[TIME: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]", lines[0])
    lines = [line for line in lines if not line.startswith("[TIME: ")]
    assert lines[0].startswith("[INFO: test_logger.py:") and lines[0].endswith(
        "]: Loss at epoch 0 step 0: [1.5], acc: [0.25]"
    )
    assert len(lines[0].split("]: ")[0]) == len("[INFO: test_logger.py:   30") and "only in the file" in lines[1]


def read_scalars(folder, tag):
    reader = visualdl.LogReader(file_path=str(folder / logger.VDL_FILE))
    return [(one.id, one.value) for one in reader.get_data("scalar", tag)]


def write_epochs(run, epochs, first_step):
    """Write two updates, a histogram and the means of each epoch."""
    for step in range(first_step, first_step + 2 * len(epochs)):
        values = {"train/step_loss": float(step)}
        run.scalars(step, values)
        run.record(step, epochs[(step - first_step) // 2], **values)
    for epoch in epochs:
        run.means(2 * epoch + 2, {"epoch": epoch, "val/top1": epoch / 10})
        run.histograms(epoch, {"weights/fc": np.arange(4.0)})


def test_after_a_kill_lines_and_curves_have_each_point_once(tmp_path):
    """Updates 3 to 6 were lost; the curves lack update 2, which VisualDL had not written yet."""
    jsonl, vdl = tmp_path / "a.jsonl", tmp_path / "vdl"
    first = logger.RunLog(str(jsonl), str(vdl))
    first.hyper_parameters({"depth": 18}, ["val/top1"])
    first.image(1, "train/clips", np.zeros((4, 4, 3), np.uint8))
    write_epochs(first, [0, 1, 2], 1)
    first.close()
    tested = logger.RunLog(str(tmp_path / "test.jsonl"), str(vdl), None)
    tested.scalars(2, {"test/top1": 0.5})
    tested.close()
    records = list(curves._read_records(vdl / logger.VDL_FILE))
    with open(vdl / logger.VDL_FILE, "wb") as file:
        for record, _, tag, step in records:
            if (tag, step) != ("update/loss", 2):
                file.write(struct.pack("<Q", len(record)) + record)
        file.write(struct.pack("<Q", 99) + b"killed in the middle of a record")
    with open(jsonl, "a") as file:
        file.write('{"step": 7, "ep')
    second = logger.RunLog(str(jsonl), str(vdl), first_step=4, num_epochs=1)  # of epoch 1 the validation is missing
    second.means(4, {"epoch": 1, "val/top1": 0.1})
    write_epochs(second, [2], 5)
    second.close()
    assert read_scalars(vdl, "update/loss") == [(1, 1), (3, 3), (4, 4), (2, 2), (5, 5), (6, 6)]
    assert [step for step, _ in read_scalars(vdl, "accuracy/top1")] == [0, 1, 2]
    assert read_scalars(vdl, "test/top1") == [(2, 0.5)]
    reader = visualdl.LogReader(file_path=str(vdl / logger.VDL_FILE))
    assert [one.id for one in reader.get_data("histogram", "weights/fc")] == [0, 2]
    assert len(reader.get_data("image", "train/clips")) == 1 and "hyper_parameters" in reader.get_tags()
    rows = [json.loads(line) for line in jsonl.read_text().splitlines()]
    assert [row["step"] for row in rows if "val/top1" in row] == [2, 4, 6]
    assert [row["step"] for row in rows if "val/top1" not in row] == [1, 2, 3, 4, 5, 6]


def test_a_log_file_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path, capsys):
    logger.setup_logging(str(tmp_path / "none" / "no"))
    (tmp_path / "file").write_text("")
    logger.setup_logging(str(tmp_path / "file" / "logger.log"))  # a file stands where its folder is needed
    logging.info("goes on")
    out = capsys.readouterr().out
    assert out.count("RUN.log_file: '") == 1 and "logger.log' cannot be written (" in out and "goes on" in out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_the_log_file_is_said_once_and_stops_nothing(capfd):
    logger.setup_logging("/dev/full")
    for index in range(3):
        logging.info(f"line {index}")
    logger.setup_logging(None)
    printed = capfd.readouterr()
    assert printed.out.count("'/dev/full' (RUN.log_file) cannot be written any more (") == 1
    assert "line 2" in printed.out and "Traceback" not in printed.err


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
    added.hyper_parameters({"depth": 18, "shortcut": "B", "mean": [0.4], "no_max_pool": False}, ["loss/loss"])
    added.text(5, "test/classes", "1 of 2  Wave")
    added.close()
    assert added.is_vdl_alive
    assert read_scalars(tmp_path / "vdl" / "train", "loss/loss") == [(1, 1.0)]
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


def test_curves_on_a_full_disk_are_said_once_and_stop_nothing(tmp_path, caplog):
    (tmp_path / "vdl").mkdir()
    (tmp_path / "vdl" / logger.VDL_FILE).symlink_to("/dev/full")
    run = logger.RunLog(str(tmp_path / "a.jsonl"), str(tmp_path / "vdl"), first_step=None)
    for epoch in range(3):
        for step in range(200):  # more than the queue of VisualDL's thread holds
            run.scalars(step, {"train/step_loss": 1.0})
        run.means(200, {"epoch": epoch, "train/loss": 1.0})
    run.close()
    assert caplog.text.count("vdlrecords.run.log does not grow; is the disk full?; training goes on") == 1
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 3


def test_a_jsonl_file_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path, caplog):
    run = logger.RunLog(str(tmp_path / "out" / "a.jsonl"), str(tmp_path / "vdl"))
    (tmp_path / "out").rmdir()
    for step in (1, 2):
        run.record(step, 0, loss=1.0)
        run.scalars(step, {"train/loss": step})
    run.close()
    assert caplog.text.count("a.jsonl' cannot be written") == 1
    assert read_scalars(tmp_path / "vdl" / "train", "loss/loss") == [(1, 1.0), (2, 2.0)]


def test_durations():
    assert logger.format_duration(3725.9) == "1:02:06"  # as all times: rounded
    assert logger.format_duration(59.6) == "0:01:00"
