"""One rule of what a file is: data_list_gener.py and the readers of training and test give the same verdict on each."""

import pickle
import re
import zlib

import cv2
import numpy as np
import pytest
from numbered_videos import write_numbered_video
from ramp_videos import ramp_frame, write_frames

import data_list_gener
from dataset.records import quote_path, read_list
from reader.clips import Clips

HEADER = '# classes: ["Bow", "Wave"]\n'
NUM_FRAMES = 4
SMALL = {"short_size": 16, "crop_size": 16}


def jpeg(height=24, width=32):
    rng = np.random.default_rng(0)
    return cv2.imencode(".jpg", rng.integers(0, 256, (height, width, 3)).astype(np.uint8))[1].tobytes()


def make_folder(root, name, pattern="{:05d}.jpg", **changes):
    """Write a frame folder; `changes` are the contents of single files, None for one that is removed."""
    write_frames(root / name, [ramp_frame(index) for index in range(NUM_FRAMES)], pattern)
    for number, data in changes.items():
        path = root / name / pattern.format(int(number[1:]))
        path.unlink() if data is None else path.write_bytes(data)
    return name


def make_record(root, name, label=0, folder=None, is_tuple=False, **changes):
    """Write a record of paths and its frames."""
    folder = make_folder(root, folder or f"jpg/{name}", **changes)
    frames = [f"{folder}/{number:05d}.jpg" for number in range(1, NUM_FRAMES + 1)]
    record = (name, label, frames) if is_tuple else {"video": name, "label": label, "frames": frames}
    (root / f"{name}.pkl").write_bytes(pickle.dumps(record))
    return f"{name}.pkl"


def pack_record(root, name, frames, **changes):
    """Write a record of pictures."""
    checksums = [zlib.crc32(frame) for frame in frames]
    record = {"video": name, "label": 1, "frames": frames, "checksums": checksums, **changes}
    (root / f"{name}.pkl").write_bytes(pickle.dumps(record))
    return f"{name}.pkl"


def make_bytes(root, name, data=b""):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)
    return name


def make_video(root, name, codec="mjpeg", keep=1.0):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    write_numbered_video(root / name, codec, num_frames=NUM_FRAMES)
    data = (root / name).read_bytes()
    (root / name).write_bytes(data[: int(keep * len(data))])
    return name


RECORDS = {  # kind: (whether it is good, a function that makes it and returns its line)
    "paths": (True, lambda root: make_record(root, "a")),
    "tuple of 2020": (True, lambda root: make_record(root, "b", is_tuple=True)),
    "packed": (True, lambda root: pack_record(root, "c", [jpeg()] * 3)),
    "label in the line too": (True, lambda root: make_record(root, "d") + " 0"),
    "name with #": (True, lambda root: quote_path(make_record(root, "#e"))),
    "blanks, quotes, percent": (True, lambda root: quote_path(make_record(root, " f 'g', 100%, \"h\" 太"))),
    "bytes after the end of a picture": (True, lambda root: make_record(root, "i", _2=jpeg() + bytes(100))),
    "missing record": (False, lambda root: "none.pkl"),
    "empty record": (False, lambda root: make_bytes(root, "empty.pkl")),
    "cut record": (False, lambda root: make_bytes(root, "cut.pkl", pickle.dumps({"video": "x"})[:9])),
    "no record": (False, lambda root: make_bytes(root, "list.pkl", pickle.dumps([1]))),
    "label beyond the classes": (False, lambda root: make_record(root, "j", label=2)),
    "another label in the line": (False, lambda root: make_record(root, "k") + " 1"),
    "missing frame": (False, lambda root: make_record(root, "l", _2=None)),
    "empty frame": (False, lambda root: make_record(root, "m", _2=b"")),
    "frame that is no picture": (False, lambda root: make_record(root, "n", _2=b"no picture")),
    "frame cut short": (False, lambda root: make_record(root, "o", _2=jpeg()[:-40])),
    "frame of another size": (False, lambda root: make_record(root, "p", _2=jpeg(36, 48))),
    "packed frame cut short": (False, lambda root: pack_record(root, "q", [jpeg(), jpeg()[:-40]])),
    "packed frame of another size": (False, lambda root: pack_record(root, "r", [jpeg(), jpeg(36, 48)])),
    "wrong checksum": (False, lambda root: pack_record(root, "s", [jpeg()] * 2, checksums=[1, 2])),
    "class in the name": (False, lambda root: make_record(root, "v_Wave_g01_c01", label=0)),
    "class of the folder": (False, lambda root: make_record(root, "t", label=0, folder="Wave/t")),
}
MEDIA = {
    "avi": (True, lambda root: make_video(root, "A/a.avi") + " 0"),
    "mp4 in the folder of its class": (True, lambda root: make_video(root, "Bow/b.mp4", "mpeg4") + " 0"),
    "number of frames of a video": (True, lambda root: make_video(root, "A/c.avi") + f" {NUM_FRAMES} 0"),
    "name with # and blanks": (True, lambda root: quote_path(make_video(root, "# d/ d .avi")) + " 1"),
    "frame folder": (True, lambda root: make_folder(root, "A/e") + f" {NUM_FRAMES} 1"),
    "frame folder without its number": (True, lambda root: make_folder(root, "A/f") + " 1"),
    "folder called .pkl": (True, lambda root: make_folder(root, "A/g.pkl") + " 1"),
    "folder that ends in a blank": (True, lambda root: quote_path(make_folder(root, "A/h "), True) + " 4 1"),
    "folder that ends in a number": (True, lambda root: quote_path(make_folder(root, "take 3")) + " 1"),
    "png": (True, lambda root: make_folder(root, "A/i", "img_{:05d}.png") + " 3 1"),
    "a bad picture behind the last frame": (True, lambda root: make_folder(root, "A/j", _4=b"x") + " 3 1"),
    "missing video": (False, lambda root: "A/none.avi 0"),
    "backslash": (False, lambda root: make_video(root, "A/k.avi").replace("/", "\\") + " 0"),
    "empty video": (False, lambda root: make_bytes(root, "A/l.avi") + " 0"),
    "cut video": (False, lambda root: make_video(root, "A/m.avi", keep=0.5) + " 0"),
    "text called .avi": (False, lambda root: make_bytes(root, "A/n.avi", b"text" * 99) + " 0"),
    "wrong number of frames": (False, lambda root: make_video(root, "A/o.avi") + " 7 0"),
    "folder of fewer frames": (False, lambda root: make_folder(root, "A/p") + " 5 1"),
    "folder of no frames": (False, lambda root: make_bytes(root, "A/q/notes.txt", b"x")[:3] + " 1"),
    "folder of flow alone": (False, lambda root: make_folder(root, "A/r", "flow_x_{:05d}.jpg") + " 4 1"),
    "png cut short": (False, lambda root: make_cut_png(root, "A/s") + " 4 1"),
    "sizes that differ": (False, lambda root: make_folder(root, "A/t", _3=jpeg(36, 48)) + " 4 1"),
    "class of the folder above": (False, lambda root: make_folder(root, "Wave/u") + " 4 0"),
    "class of the video's folder": (False, lambda root: make_video(root, "Wave/v.avi") + " 0"),
}
LISTS = {
    "negative label": "a.avi -1\n",
    "0 frames": "a.avi 0 1\n",
    "label beyond the header": HEADER + "a.avi 2\n",
    "two labels": "a.avi 0\na.avi 1\n",
    "nothing but comments": HEADER + "# a.avi 0\n\n",
    "header that is no json": "# classes: Bow, Wave\na.avi 0\n",
    "class that comes twice": '# classes: ["Bow", "Bow"]\na.avi 0\n',
}


def make_cut_png(root, name):
    make_folder(root, name, "{:05d}.png")
    path = root / name / "00002.png"
    path.write_bytes(path.read_bytes()[:-20])
    return name


def ask_reader(path, **arguments):
    """Read every frame of the one sample of a list; return what is refused, or None."""
    try:
        reader = Clips(str(path), **SMALL, **arguments)
        reader.check_evaluation()
        reader[0, 0]
    except (ValueError, OSError) as error:
        return str(error)
    return None


@pytest.mark.parametrize(("kinds", "line_format"), [(RECORDS, "records"), (MEDIA, "videos")])
def test_checks_and_readers_agree_on_every_kind_of_file(tmp_path, kinds, line_format):
    lines = {kind: make(tmp_path) for kind, (_, make) in kinds.items()}
    (tmp_path / "all.txt").write_text(HEADER + "".join(f"{line}\n" for line in lines.values()), encoding="utf-8")
    sides = [f"--{side}={tmp_path / 'all.txt'}" for side in ("train", "test")]
    data_list_gener.main([f"--root={tmp_path}", *sides, f"--format={line_format}", "--workers=1"])
    listed = {entry.path for entry in read_list(tmp_path / "train.list")[0]}
    assert {entry.path for entry in read_list(tmp_path / "test.list")[0]} == listed
    verdicts = {}
    for number, (kind, line) in enumerate(lines.items()):
        path = tmp_path / f"{number}.list"
        path.write_text(f"{HEADER}{line}\n", encoding="utf-8")
        is_listed = read_list(path, must_exist=False)[0][0].path in listed
        trained = ask_reader(path, mode="train", clip_len=2 * NUM_FRAMES)
        tested = ask_reader(path, mode="test", protocol="windows", clip_len=1)
        verdicts[kind] = is_listed, trained is None, tested is None
    assert verdicts == {kind: (is_good,) * 3 for kind, (is_good, _) in kinds.items()}


@pytest.mark.parametrize("text", LISTS.values(), ids=list(LISTS))
def test_a_list_that_one_side_refuses_is_refused_by_the_other_in_the_same_words(tmp_path, text):
    make_video(tmp_path, "a.avi")
    (tmp_path / "a.list").write_text(text)
    reason = ask_reader(tmp_path / "a.list", mode="train")
    assert reason
    with pytest.raises(ValueError, match=re.escape(reason)):
        data_list_gener.main([f"--root={tmp_path}", *[f"--{side}={tmp_path / 'a.list'}" for side in ("train", "test")]])


def test_two_records_of_one_video_are_trained_on_but_never_scored(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        for name, video in (("1", "1"), (folder, "same")):
            pack_record(tmp_path / folder, name, [jpeg()], video=video)
    (tmp_path / "a.txt").write_text(HEADER + "x/1.pkl\ny/1.pkl\n")  # the file has the name of its video: folders help
    (tmp_path / "b.txt").write_text(HEADER + "x/x.pkl\ny/y.pkl\n")
    flags = [f"--root={tmp_path}", "--workers=1"]
    assert data_list_gener.main([*flags, f"--train={tmp_path / 'b.txt'}", f"--test={tmp_path / 'a.txt'}"]) == 0
    reader = Clips(str(tmp_path / "test.list"), mode="test", clip_len=1, **SMALL)
    assert [reader[0, index]["name"] for index in (0, 1)] == ["x/1", "y/1"]
    with pytest.raises(ValueError, match="x/x.pkl' and '.*y/y.pkl' would both be the sample 'same'"):
        data_list_gener.main([*flags, f"--train={tmp_path / 'a.txt'}", f"--test={tmp_path / 'b.txt'}"])
