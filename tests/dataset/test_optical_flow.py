"""Optical flow: what moved, how it is written beside frames and packed, and what is refused."""

import json
import os

import cv2
import numpy as np
import pytest
from small_videos import make_frames, write_avi, write_folder

import avi2jpg
import data_list_gener
import jpg2pkl
from common.files import dump_pickle, load_pickle
from dataset import flow_files, optical_flow, records
from dataset.clip_checks import check_entry


def gray(frame):
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def test_a_pattern_that_moves_two_pixels_to_the_right_has_that_flow():
    first, second = (gray(frame) for frame in make_frames(2, 64, 80))
    field = optical_flow.make_estimator("dis")(first, second).astype(float)
    middle = np.median(field[16:-16, 16:-16] / 127.5 - 1, axis=(0, 1)) * optical_flow.BOUND
    np.testing.assert_allclose(middle, [2, 0], atol=0.25)


@pytest.mark.parametrize("size", [(32, 43), (48, 64)])
def test_flow_does_not_depend_on_what_was_computed_before(size):
    frames = [gray(frame) for frame in make_frames(6, *size, seed=1)]
    estimate = optical_flow.make_estimator("dis")
    fields = list(optical_flow.compute_fields(frames, estimate))
    for index in range(4, -1, -1):
        np.testing.assert_array_equal(estimate(frames[index], frames[index + 1]), fields[index])


def test_displacements_are_rounded_to_256_steps_of_the_bound_as_tsn_does():
    flow = np.array([[[0, -20], [20, 5], [-30, 30], [10, -10]]], np.float32)
    # round(255 * (v + 20) / 40), the zero of which is 127.5, rounded to the even 128
    assert optical_flow.encode(flow).tolist() == [[[128, 0], [255, 159], [0, 255], [191, 64]]]


def test_one_frame_has_one_field_without_motion():
    fields = list(optical_flow.compute_fields([gray(make_frames(1)[0])], optical_flow.make_estimator("dis")))
    assert len(fields) == 1 and np.unique(fields[0]).tolist() == [128]
    assert len(list(optical_flow.compute_fields(map(gray, make_frames(5)), lambda *_: 0))) == 4


def test_frames_that_opencv_refuses_and_a_method_that_is_not_there():
    with pytest.raises(ValueError, match="frames of 8 x 8 pixels, expected 12 or more a side"):
        optical_flow.make_estimator("dis")(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match="method 'farneback' is unknown, expected one of dis, tvl1"):
        optical_flow.make_estimator("farneback")


@pytest.mark.skipif("optflow" in dir(cv2), reason="this OpenCV has opencv-contrib")
def test_tvl1_without_contrib_says_which_package_has_it():
    with pytest.raises(ValueError, match="has no TV-L1; put opencv-contrib-python-headless in the place"):
        optical_flow.make_estimator("tvl1")


@pytest.fixture
def root(tmp_path):
    for name, group in (("v_A_g01_c01", 1), ("v_A_g02_c01", 2)):
        write_avi(tmp_path / "UCF-101" / "A" / f"{name}.avi", make_frames(5, seed=group))
        write_avi(tmp_path / "UCF-101" / "B" / f"{name.replace('A', 'B')}.avi", make_frames(5, seed=group + 5))
    return tmp_path


def extract(root, *words):
    return avi2jpg.main(["--root", str(root), "--workers", "1", *words])


def test_flow_is_written_beside_the_frames_and_only_what_is_missing_again(root, capsys):
    assert extract(root) == 0 and extract(root, "--flow") == 0
    assert "flow (dis) of 4 videos written (16 fields, " in capsys.readouterr().out
    folder = root / "UCF-101_jpg" / "A" / "v_A_g01_c01"
    names = [f"flow_{axis}_{number:05}.jpg" for axis in "xy" for number in range(1, 5)]
    assert sorted(path.name for path in folder.glob("flow_*")) == names
    x, y = (cv2.imread(str(folder / f"flow_{axis}_00002.jpg"), cv2.IMREAD_UNCHANGED) for axis in "xy")
    assert x.shape == (36, 48) and np.median(x) == round(255 * 22 / 40) and abs(np.median(y) - 127.5) < 2
    assert len(records.list_frames(folder)) == 5
    (folder / "flow_y_00003.jpg").unlink()
    assert extract(root, "--flow") == 0
    assert "flow (dis) of 1 videos written (4 fields" in capsys.readouterr().out
    assert flow_files.is_complete(folder, 5)


def test_flow_of_another_method_or_of_damaged_frames_is_refused(root, capsys):
    extract(root, "--flow")
    settings = root / "UCF-101_jpg" / flow_files.SETTINGS
    settings.write_text(json.dumps({"method": "tvl1", "bound": 20, "quality": 90}))
    with pytest.raises(ValueError, match="holds flow made with .*tvl1.*not with .*dis.*delete its flow_x_"):
        extract(root, "--flow")
    settings.unlink()
    folder = root / "UCF-101_jpg" / "B" / "v_B_g02_c01"
    (folder / "flow_x_00001.jpg").unlink()
    (folder / "00004.jpg").write_bytes((folder / "00004.jpg").read_bytes()[:-30])
    capsys.readouterr()
    extract(root, "--flow")
    assert "1 FAILED" in capsys.readouterr().out
    assert "frame '00004.jpg' is cut short" in (root / "UCF-101_jpg" / "failed.csv").read_text()


def test_packed_flow_is_what_the_files_hold_and_records_without_it_stay_as_they_were(root):
    extract(root, "--flow")
    plain, packed = root / "plain", root / "packed"
    for folder, words in ((plain, []), (packed, ["--flow"])):
        flags = ["--root", str(root), "--split_by_group", "--test_ratio", "0.5", "--pack", "--workers", "1"]
        assert jpg2pkl.main([*flags, "--train", str(folder / "train"), "--test", str(folder / "test"), *words]) == 0
    path = next((packed / "train").glob("*/v_A_*.pkl"), None) or next((packed / "train").glob("v_A_*.pkl"))
    record = records.read_record(path)
    files = root / "UCF-101_jpg" / "A" / record["video"].split("/")[-1]
    assert record["flow"][:2] == [(files / f"flow_{axis}_00001.jpg").read_bytes() for axis in "xy"]
    assert len(record["flow"]) == 8
    other = load_pickle(plain / "train" / path.name)
    assert set(other) == {"video", "label", "frames", "checksums"}
    assert {key: record[key] for key in other} == other


def test_flow_that_is_missing_cut_or_damaged_is_found_before_it_is_listed(root):
    extract(root, "--flow")
    folder = root / "UCF-101_jpg" / "A" / "v_A_g01_c01"
    entry = records.ListEntry(str(folder), 0, 5, 1)
    check_entry(entry, None, "rawframes", needs_flow=True)
    data = (folder / "flow_x_00002.jpg").read_bytes()
    (folder / "flow_x_00002.jpg").write_bytes(data[:-20])
    check_entry(entry, None, "rawframes")
    with pytest.raises(ValueError, match=r"flow_x_00002.jpg' is cut short"):
        check_entry(entry, None, "rawframes", needs_flow=True)
    os.remove(folder / "flow_x_00002.jpg")
    with pytest.raises(ValueError, match=r"flow_x_00002.jpg' of 5 frames does not exist; run avi2jpg.py --flow"):
        check_entry(entry, None, "rawframes", needs_flow=True)


def test_packed_flow_is_checked_too(root):
    extract(root, "--flow")
    words = ["--root", str(root), "--split_by_group", "--test_ratio", "0.5", "--workers", "1"]
    jpg2pkl.main([*words, "--pack"])
    with pytest.raises(ValueError, match="no good record is left"):
        data_list_gener.main(["--root", str(root), "--workers", "1", "--flow"])
    assert (
        "the record holds no optical flow; run avi2jpg.py --flow, then jpg2pkl.py --pack --flow"
        in (root / "failed.csv").read_text()
    )
    jpg2pkl.main([*words, "--pack", "--flow"])
    assert data_list_gener.main(["--root", str(root), "--workers", "1", "--flow"]) == 0
    path = next((root / "train").rglob("*.pkl"))
    record = records.read_record(path)
    record["flow"][3] = record["flow"][3][:-1] + b"x"
    records.write_record(record, path)
    with pytest.raises(ValueError, match=r"flow y 2 is damaged \(checksum\)"):
        check_entry(records.ListEntry(str(path), None, None, 1), None, "records")
    record["flow"].pop()
    dump_pickle(record, path)
    with pytest.raises(ValueError, match="field 'flow' is not 8 of bytes, for the flow of 5 frames"):
        records.read_record(path)


def test_jpg2pkl_flow_goes_with_pack(root, capsys):
    with pytest.raises(SystemExit):
        jpg2pkl.main(["--root", str(root), "--flow"])
    assert "--flow goes with --pack" in capsys.readouterr().err


def test_a_folder_written_by_write_folder_gets_flow(tmp_path):
    folder = write_folder(tmp_path / "frames" / "A" / "v", make_frames(3), "{:05d}.jpg")
    names = records.list_frames(folder)
    assert flow_files.write_flow(str(folder), names, "dis", lambda data, path: cv2.imwrite(path, data)) == 2
    assert flow_files.is_complete(folder, 3) and not list((tmp_path / "frames").glob(".unfinished*"))
