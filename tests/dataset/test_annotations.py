"""Annotation files: what they name, and what is wrong with those that name nothing."""

import os

import pytest

from dataset import annotations
from dataset.annotations import Sample, read_class_names, read_samples
from dataset.splits import SHIPPED_SPLITS

KINETICS = "label,youtube_id,time_start,time_end,split\n"


def write(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path / name)


@pytest.mark.parametrize(
    "name, text, samples",
    [
        (
            "a.csv",
            KINETICS + '"tossing coin, twice",-0a_B,7,17,val\n',
            [Sample(["-0a_B_000007_000017", "-0a_B_7_17", "-0a_B"], "tossing coin, twice", None, 2)],
        ),
        (
            "a.csv",
            '"label","youtube_id","time_start","time_end"\nzumba,#a,0.0,10.0\n',
            [Sample(["#a_000000_000010", "#a_0_10", "#a"], "zumba", None, 2)],
        ),
        (
            "a.csv",
            "12;Holding something\n\n13;Pushing; something\n",
            [Sample(["12"], "Holding something", None, 1), Sample(["13"], "Pushing; something", None, 3)],
        ),
        ("a.json", '[{"id": 7, "template": "Moving [something] up"}]', [Sample(["7"], "Moving something up", None, 1)]),
        (
            "a.txt",
            "# k400\nb c/d e.mp4 3\nx 300 12\n",
            [Sample(["b c/d e.mp4"], 3, None, 2), Sample(["x"], 12, 300, 3)],
        ),
    ],
)
def test_known_forms(tmp_path, name, text, samples):
    assert read_samples(write(tmp_path, name, text)) == samples


def test_a_line_with_a_hash_is_a_comment_unless_there_is_its_video(tmp_path):
    path = write(tmp_path, "a.txt", "# k400\n#1/b.mp4 3\n#2/b.mp4 3\n# 12\nx 1\n")
    samples = [Sample(["#1/b.mp4"], 3, None, 2), Sample(["x"], 1, None, 5)]
    assert read_samples(path, lambda name: name == "#1/b.mp4") == samples


@pytest.mark.parametrize(
    "name, text, message",
    [
        (
            "a.csv",
            "youtube_id,time_start,time_end,split\nx,1,11,test\n",
            "line 2: got 'x,1,11,test', expected label,yout",
        ),
        ("a.csv", KINETICS + "zumba,x,one,11,val\n", "line 2: got 'zumba,x,one,11,val', expected label,youtube_id"),
        ("a.csv", KINETICS + "zumba,x,0.5,11,val\n", "line 2: got 'zumba,x,0.5,11,val', expected label,youtube_id"),
        ("a.csv", KINETICS + "zumba,x,1e3,nan,val\n", "line 2: got 'zumba,x,1e3,nan,val', expected label,youtube_id"),
        ("a.csv", KINETICS + "zumba,x\n", "line 2: got 'zumba,x', expected label,youtube_id"),
        ("a.csv", KINETICS, "a.csv: names no video"),
        (
            "a.csv",
            "1;Holding something\n2\n",
            "a.csv line 2: got '2', expected id;label; the test file names no classes",
        ),
        ("a.json", '[{"id": "1"}]', 'item 1: expected "id" and "template", .* its test file names no classes'),
        ("a.json", '{"id": "1"}', 'item 1: expected "id" and "template"'),
        ("a.json", '[{"id": "1"', "a.json' line 1: no whole json .*; get the file again"),
        (
            "a.txt",
            "x.mp4 zumba\n",
            "a.txt line 1: got 'x.mp4 zumba', expected 'video label' or 'video num_frames label'",
        ),
        ("a.txt", "", "a.txt: names no video"),
    ],
)
def test_files_that_name_no_classes_say_where(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_samples(write(tmp_path, name, text))


def test_class_names_by_line_and_by_number(tmp_path):
    assert read_class_names(write(tmp_path, "a.csv", "B b\nA\n\n")) == ["B b", "A"]
    assert read_class_names(write(tmp_path, "a.json", '{"B": "1", "A": "0"}')) == ["A", "B"]
    with pytest.raises(ValueError, match="a.json: labels are not 0 to 1, each once"):
        read_class_names(write(tmp_path, "a.json", '{"B": "1", "A": "2"}'))
    with pytest.raises(ValueError, match='a.json: expected {"class name": "label", ...}'):
        read_class_names(write(tmp_path, "a.json", '["A", "B"]'))


def test_a_class_that_is_not_among_the_names(tmp_path):
    samples = [Sample(["x"], "zumba", None, 7)]
    with pytest.raises(ValueError, match="k.csv line 7: class 'zumba' is not in the file of --labels"):
        annotations.number_samples(samples, ["abseiling"], "k.csv")


@pytest.mark.parametrize(
    "name, num_classes, pairs",
    [
        ("something_v1", 174, {2: 4, 4: 2, 30: 41, 41: 30, 52: 66, 66: 52}),
        ("something_v2", 174, {86: 87, 87: 86, 93: 94, 94: 93, 166: 167, 167: 166}),
        ("kinetics400", 400, {}),
    ],
)
def test_shipped_class_names_and_which_of_them_a_mirror_swaps(name, num_classes, pairs):
    names = read_class_names(os.path.join(os.path.dirname(SHIPPED_SPLITS), f"{name}.txt"))
    assert len(set(names)) == len(names) == num_classes
    assert annotations.pair_mirrored_classes(names) == pairs


def test_classes_that_a_mirror_swaps_differ_in_whole_words_alone():
    names = ["Turn_Left", "bright", "turn_right", "blight", "Kick left", "left", "Right"]
    assert annotations.pair_mirrored_classes(names) == {0: 2, 2: 0, 5: 6, 6: 5}


def test_titles_and_quotes_as_spreadsheets_write_them(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text('Label, YouTube_ID, Time_Start, Time_End\n\n"yoga, slow", abc, 10, 20\n')
    assert annotations.read_samples(str(path)) == [
        annotations.Sample(["abc_000010_000020", "abc_10_20", "abc"], "yoga, slow", None, 3)
    ]
    path.write_text('"id";"label"\n"78687";"Holding something"\n')
    assert annotations.read_samples(str(path)) == [annotations.Sample(["78687"], "Holding something", None, 2)]


@pytest.mark.parametrize("row", [",abc,10,20", "yoga,abc,x,20"])
def test_a_row_without_a_class_or_a_time_is_named_by_its_line(tmp_path, row):
    path = tmp_path / "train.csv"
    path.write_text(f"label,youtube_id,time_start,time_end\n\n{row}\n")
    with pytest.raises(ValueError, match=f"train.csv line 3: got '{row}', expected label,"):
        annotations.read_samples(str(path))
