"""Records, lists and the order of frames."""

import pickle
import re
import zlib

import numpy as np
import pytest

from common.files import load_pickle
from common.pickles import RefusedPickleError
from dataset.records import (
    ListEntry,
    list_frames,
    quote_path,
    read_list,
    read_official_size,
    read_record,
    relative_path,
    resolve_path,
    write_list,
    write_record,
)

JPEG = b"\xff\xd8\xff\xe0 picture \xff\xd9"


def dump(value, path, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def test_record_of_paths_and_of_bytes_round_trip(tmp_path):
    paths = {"video": "v_跳 g01", "label": 3, "frames": ["../a b/00001.jpg", "../a b/00002.jpg"]}
    packed = {"video": "v", "label": 0, "frames": [JPEG, JPEG], "checksums": [zlib.crc32(JPEG)] * 2}
    for record in (paths, packed):
        write_record(record, tmp_path / "x.pkl")
        assert read_record(tmp_path / "x.pkl") == record


def test_labels_of_numpy_become_int(tmp_path):
    label = read_record(dump({"video": "v", "label": np.int64(5), "frames": ["1.jpg"]}, tmp_path / "x.pkl"))["label"]
    assert label == 5 and type(label) is int


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_tuple_of_2020_is_read_and_its_text_sorted_frames_are_put_in_order(tmp_path, protocol):
    names = sorted(f"lyj/UCF-101_jpg/A_jpg/v_A_g08_c01/v_A_g08_c01_{n}.jpg" for n in range(1, 13))
    record = read_record(dump(("v_A_g08_c01", 7, names), tmp_path / "x.pkl", protocol))
    assert record["video"] == "v_A_g08_c01" and record["label"] == 7
    assert [int(re.search(r"_(\d+)\.jpg", name)[1]) for name in record["frames"]] == list(range(1, 13))


def test_tuple_with_packed_frames_keeps_their_order(tmp_path):
    frames = [JPEG + b"2", JPEG + b"1"]
    assert read_record(dump(("v", 0, frames), tmp_path / "x.pkl"))["frames"] == frames


def test_record_of_python_2(tmp_path):
    # protocol-2 pickle with Python 2 str everywhere: a UTF-8 path, then JPEG bytes
    def text(value):
        return b"U" + bytes([len(value)]) + value

    for frame, expected in (("é/1.jpg".encode(), "é/1.jpg"), (JPEG, JPEG)):
        body = b"\x80\x02" + text("vidé".encode()) + b"K\x04]" + text(frame) + b"a\x87."
        (tmp_path / "two.pkl").write_bytes(body)
        assert read_record(tmp_path / "two.pkl") == {"video": "vidé", "label": 4, "frames": [expected]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("video", ""), ("video", 3), ("label", -1), ("label", "3"), ("label", True), ("label", 1.0),
        ("frames", []), ("frames", "1.jpg"), ("frames", ["1.jpg", JPEG]), ("frames", [1]), ("frames", None),
        ("checksums", [1]), ("checksums", ["a", "b"]),
    ],
)  # fmt: skip
def test_bad_field_is_named(tmp_path, field, value):
    record = {"video": "v", "label": 1, "frames": [JPEG, JPEG], field: value}
    with pytest.raises(ValueError, match=rf"x.pkl': field '{field}' is .*, expected .*again with jpg2pkl.py"):
        read_record(dump(record, tmp_path / "x.pkl"))
    with pytest.raises(ValueError, match=f"field '{field}'"):
        write_record(record, tmp_path / "y.pkl")
    assert not (tmp_path / "y.pkl").exists()


def test_what_is_no_record_is_named(tmp_path):
    for value in ([1, 2], ("v", 1), np.zeros(3)):
        with pytest.raises(ValueError, match="holds a .*expected a record"):
            read_record(dump(value, tmp_path / "x.pkl"))


def test_damaged_and_hostile_records(tmp_path):
    whole = pickle.dumps({"video": "v", "label": 1, "frames": [JPEG]})
    (tmp_path / "cut.pkl").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="cut.pkl' .* is no whole pickle"):
        read_record(tmp_path / "cut.pkl")
    (tmp_path / "hostile.pkl").write_bytes(b"cposix\nsystem\n(S'touch " + bytes(tmp_path / "ran") + b"'\ntR.")
    with pytest.raises(RefusedPickleError, match="posix.system"):
        read_record(tmp_path / "hostile.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("pattern", ["{}.jpg", "{:05}.jpg", "img_{:02}.png", "v_A_g08_c01_{}.jpeg"])
def test_frames_are_listed_in_numeric_order(tmp_path, pattern):
    names = [pattern.format(number) for number in range(1, 121)]
    for name in [*reversed(names), "notes.txt", ".hidden_1.jpg"]:
        (tmp_path / name).write_bytes(b"")
    assert list_frames(tmp_path) == names


def test_missing_frame_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="frame folder '.*none' does not exist; run avi2jpg.py"):
        list_frames(tmp_path / "none")


def test_relative_paths_and_back(tmp_path, monkeypatch):
    frame = tmp_path / "UCF-101_jpg" / "A b" / "1.jpg"
    frame.parent.mkdir(parents=True)
    frame.write_bytes(b"")
    text = relative_path(frame, tmp_path / "train")
    assert text == "../UCF-101_jpg/A b/1.jpg"
    assert resolve_path(text, tmp_path / "train") == str(frame)  # although the folder 'train' does not exist
    monkeypatch.chdir(tmp_path)
    assert resolve_path("UCF-101_jpg/A b/1.jpg", "elsewhere") == "UCF-101_jpg/A b/1.jpg"


@pytest.fixture
def tree(tmp_path):
    for name in ("train/v 1.pkl", "train/v_2.pkl", "clip 3.avi", "x.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "frames of 7").mkdir()
    return tmp_path


def test_list_of_every_line_form(tree):
    lines = ["train/v 1.pkl", "", "# a remark", "frames of 7 16 2", "clip 3.avi 5", "train/v_2.pkl 4"]
    (tree / "x.list").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    entries, class_names = read_list(tree / "x.list")
    assert class_names is None
    assert entries == [
        ListEntry(str(tree / "train/v 1.pkl"), None, None, 1),
        ListEntry(str(tree / "frames of 7"), 2, 16, 4),
        ListEntry(str(tree / "clip 3.avi"), 5, None, 5),
        ListEntry(str(tree / "train/v_2.pkl"), 4, None, 6),
    ]


def test_samples_of_one_name_get_their_folders_to_it(tmp_path):
    for name in ("s2/walk/01.avi", "s3/walk/01.avi", "s3/x.mp4", "s3/x.ts"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "x.list").write_text("s2/walk/01.avi 0\ns3/walk/01.avi 0\ns3/x.mp4 0\ns3/x.ts 0\n")
    names = ["s2/walk/01", "s3/walk/01", "x.mp4", "x.ts"]
    assert [entry.name for entry in read_list(tmp_path / "x.list")[0]] == names


def test_names_of_before_stay(tmp_path):
    for name in ("A/1.mp4", "B/1.mp4", "B/2.mp4", "C/v1.5/00001.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "x.list").write_text("A/1.mp4 0\nB/1.mp4 1\nB/2.mp4 1\nC/v1.5 1 2\n")
    entries, _ = read_list(tmp_path / "x.list")
    assert [entry.name for entry in entries] == ["A/1", "B/1", "2", "v1.5"]


def test_list_round_trip_with_class_names(tree):
    names = ["Brush Hair", "跳", 'quote"d']
    write_list(["train/v 1.pkl", "train/v_2.pkl"], tree / "x.list", names)
    entries, class_names = read_list(tree / "x.list")
    assert class_names == names and [entry.line for entry in entries] == [2, 3]


def test_list_relative_to_the_working_directory(tree, monkeypatch):
    monkeypatch.chdir(tree)
    (tree / "lists").mkdir()
    (tree / "lists/x.list").write_text("train/v_2.pkl\n")
    assert read_list("lists/x.list")[0][0].path == "train/v_2.pkl"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "x.list: the list is empty; run avi2jpg.py"),
        ('# classes: ["A"]\n\n', ValueError, "the list is empty"),
        (
            "train/v_2.pkl\npkl/none.pkl\n",
            FileNotFoundError,
            "x.list line 2: 'pkl/none.pkl' does not exist; run jpg2pkl",
        ),
        (
            "x.mp4 0\n\nB/none.mp4 3\n",
            FileNotFoundError,
            "x.list line 3: 'B/none.mp4' does not exist; get the file, or correct the line: 'record.pkl', ",
        ),
        ("x.mp4 -1\n", ValueError, "x.list line 1: got 'x.mp4 -1', expected a label from 0; leave it out where"),
        ('# classes: ["A"]\nx.mp4 1\n', ValueError, "x.list line 2: label 1, expected 0 to 0 for the 1 classes"),
        (
            "# classes: A, B\nx.mp4 1\n",
            ValueError,
            "x.list line 1: got 'A, B', expected a JSON list of different class",
        ),
        ('# classes: ["A", "A"]\nx.mp4 1\n', ValueError, "expected a JSON list of different class names"),
    ],
)
def test_bad_list(tree, text, error, message):
    (tree / "x.list").write_text(text)
    with pytest.raises(error, match=re.escape(message)):
        read_list(tree / "x.list")


def test_missing_list_and_list_in_another_encoding(tree):
    with pytest.raises(FileNotFoundError, match="none.list' does not exist or is no file; data_list_gener.py makes it"):
        read_list(tree / "none.list")
    (tree / "gbk.list").write_bytes("跳.pkl".encode("gbk"))
    with pytest.raises(ValueError, match="gbk.list' line 1: no UTF-8 text; .*save it as UTF-8"):
        read_list(tree / "gbk.list")


def test_written_record_is_plain_data(tmp_path):
    write_record({"video": "v", "label": np.int32(1), "frames": ("1.jpg",)}, tmp_path / "x.pkl")
    assert load_pickle(tmp_path / "x.pkl") == {"video": "v", "label": 1, "frames": ["1.jpg"]}


def test_flow_beside_the_frames_is_left_out(tmp_path):
    for name in ("img_00001.jpg", "img_00002.jpg", "flow_x_00001.jpg", "flow_y_00001.jpg"):
        (tmp_path / name).write_bytes(b"x")
    assert list_frames(tmp_path) == ["img_00001.jpg", "img_00002.jpg"]


NAMES = [
    "#1.avi", "# a b.avi", " leading.avi", "A/#2.avi", "\t.avi", "trailing ", "\u3000wide\u3000", "\ufeffmark.avi",
    "-rf.avi", "100%.avi", "a,b;c.avi", "it's \"q\".avi", "two  blanks.avi", "tab\tinside.avi", "跳 é.avi", "take 3",
    "7", "a 1 2", "x" * 240 + ".avi", "back\\slash.avi", "# classes.avi", "#", "line\u2028end.avi",
]  # fmt: skip


@pytest.mark.parametrize("numbers", ["", " 1", " 12 1"])
def test_any_name_is_read_back_from_a_list(tmp_path, numbers):
    names = [name + ".pkl" for name in NAMES if len(name) < 200] if not numbers else NAMES
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    lines = [quote_path(name, numbers == " 12 1") + numbers for name in names]
    for class_names in (["A", "B"], None):
        write_list(lines, tmp_path / "x.list", class_names)
        entries, read_classes = read_list(tmp_path / "x.list")
        assert [entry.path for entry in entries] == [str(tmp_path / name) for name in names]
        assert read_classes == class_names and {entry.num_frames for entry in entries} == {
            12 if "2" in numbers else None
        }


def test_a_line_with_a_hash_is_a_comment_unless_it_names_a_file(tmp_path):
    (tmp_path / "#1").mkdir()
    (tmp_path / "#1" / "a.avi").write_bytes(b"")
    (tmp_path / "x.list").write_text("# a remark\n#1/a.avi 1\n#2/gone.avi 0\n#\n# 7 1\n")  # as it was written before
    assert [(entry.path, entry.line) for entry in read_list(tmp_path / "x.list")[0]] == [
        (str(tmp_path / "#1/a.avi"), 2)
    ]
    (tmp_path / "x.list").write_text("./#2/gone.avi 0\n")
    with pytest.raises(FileNotFoundError, match="x.list line 1: './#2/gone.avi' does not exist"):
        read_list(tmp_path / "x.list")


def test_names_that_no_list_can_hold_are_refused():
    for name in ("a\nb.avi", "a\rb.avi"):
        with pytest.raises(ValueError, match="a list cannot hold a name with a line break; rename it"):
            quote_path(name)
    with pytest.raises(ValueError, match="'\\\\udcff.avi': its path is not UTF-8 .*; rename it"):
        quote_path("\udcff.avi")


def test_a_folder_is_never_a_record(tmp_path):
    (tmp_path / "x.pkl").mkdir()
    (tmp_path / "a.list").write_text("x.pkl 3 1\n")
    assert read_list(tmp_path / "a.list")[0] == [ListEntry(str(tmp_path / "x.pkl"), 1, 3, 1)]
    (tmp_path / "a.list").write_text("x.pkl\n")
    assert read_list(tmp_path / "a.list")[0] == [ListEntry(str(tmp_path / "x.pkl"), None, None, 1)]


def test_a_video_with_two_labels_is_refused_with_both_lines(tmp_path):
    path = tmp_path / "a.list"
    path.write_text("x.avi 0\ny.avi 1\nx.avi 1\n")
    with pytest.raises(ValueError, match="a.list: line 1 gives '.*x.avi' the label 0, line 3 the label 1"):
        read_list(path, must_exist=False)
    path.write_text("x.avi 0\nx.avi 0\n")
    assert len(read_list(path, must_exist=False)[0]) == 2


def test_lines_of_no_frames_and_backslashes_are_explained(tmp_path):
    path = tmp_path / "a.list"
    path.write_text("a.avi 0 1\n")
    with pytest.raises(ValueError, match="a.list line 1: got 'a.avi 0 1', of 0 frames"):
        read_list(path)
    for line in ("A\\a.avi 1\n", "A\\a.pkl\n"):
        path.write_text(line)
        with pytest.raises(FileNotFoundError, match=r"write the path with / instead of \\"):
            read_list(path)


def test_headers_that_contradict_or_hold_no_number_are_refused(tmp_path):
    path = tmp_path / "train.list"
    path.write_text('# classes: ["a", "b"]\n# classes: ["b", "a"]\nx.avi 0\n')
    with pytest.raises(ValueError, match="train.list line 2: .* one for the list; correct the header"):
        read_list(path, must_exist=False)
    path.write_text('# classes: ["a", "b"]\n# classes: ["a", "b"]\n# official_size: many\nx.avi 0\n')
    assert read_list(path, must_exist=False)[1] == ["a", "b"]
    with pytest.raises(ValueError, match="train.list line 3: got '# official_size: many', expected a number"):
        read_official_size(path)
