"""What samples are called, and which video is whose."""

import os

import pytest

from dataset.names import MediaIndex, NameIndex, name_samples, split_name


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def find(root, *names):
    path = MediaIndex(str(root)).find(list(names))
    return path and os.path.relpath(path, root)


# Names of samples.


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ("A/1.avi B/2.avi", "1 2"),
        ("A/1.avi B/1.avi B/2.avi", "A/1 B/1 2"),
        ("s2/walk/01.avi s3/walk/01.avi s3/run/01.avi", "s2/walk/01 s3/walk/01 run/01"),
        ("A/x.mp4 A/x.ts A/y.ts", "x.mp4 x.ts y"),
        ("A/x.mp4 A/x.ts B/x.mp4", "x.mp4 x.ts B/x"),
        ("A/x.mp4 A/x.ts B/x.mp4 B/x.ts", "A/x.mp4 A/x.ts B/x.mp4 B/x.ts"),
        ("A/x.mp4 A/x.ts B/x.ts.avi", "x.mp4 A/x.ts x.ts"),  # the last one's today is x.ts
        ("A/1.avi s/A/1.avi", "d/A/1 s/A/1"),
        ("A/1.avi A/1.avi B/2.avi", "A/1 A/1 2"),
    ],
)
def test_names_have_as_many_folders_as_tell_them_apart(paths, names):
    paths = [f"/d/{path}" for path in paths.split()]
    stems = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    assert name_samples(paths, stems) == names.split()
    order = list(range(len(paths)))[::-1]
    assert name_samples([paths[i] for i in order], [stems[i] for i in order]) == [names.split()[i] for i in order]


def test_names_do_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name_samples(["A/1.avi", "s/A/1.avi"], ["1", "1"]) == name_samples(
        [str(tmp_path / "A/1.avi"), str(tmp_path / "s/A/1.avi")], ["1", "1"]
    )


# Names and videos.


def test_only_known_suffixes_are_cut():
    names = ("a.AVI", "B/a.b.mp4", "v1.5", "x/../B/S1.skeleton", "/d/./a.json", "one.v1")
    expected = [("a",), ("B", "a.b"), ("v1.5",), ("B", "S1"), ("d", "a"), ("one.v1",)]
    assert [split_name(name) for name in names] == expected


def test_a_name_is_found_by_as_many_folders_as_both_sides_have():
    index = NameIndex()
    for name in ("Wave/001", "Kick/001", "only", "train/air_drumming/x", "Biking_jpg/v_1", "a b/1", "a_b/1"):
        index.add(name, name)
    found = {
        "videos/Wave/001.mp4": ["Wave/001"],
        "001.avi": ["Wave/001", "Kick/001"],
        "Bow/001.avi": [],
        "anywhere/only.mkv": ["only"],
        "air drumming/x": ["train/air_drumming/x"],
        "val/air drumming/x": [],
        "Biking/v_1": ["Biking_jpg/v_1"],
        "d/a b/1": ["a b/1"],
        "d/a_b/1": ["a_b/1"],
        "gone": [],
    }
    assert {name: index.find(name) for name in found} == found
    assert index.find_contradicted("Bow/001.avi") == ["Wave/001", "Kick/001"]


def test_the_exact_partner_goes_before_all_others():
    index = NameIndex()
    for name in ("backup/Kick/1", "Kick/1", "1"):
        index.add(name, name)
    assert index.find("Kick/1") == ["Kick/1"] and index.find("Wave/1") == ["1"]
    assert index.find("old/Kick/1") == ["Kick/1"] and index.find("backup/Kick/1") == ["backup/Kick/1"]


def test_a_folder_that_contradicts_is_a_missing_video(tmp_path):
    touch(tmp_path, "Wave/g01_01.avi", "B/2.mp4")
    assert find(tmp_path, "Kick/g01_01.avi") is None and find(tmp_path, "elsewhere/2.avi") is None
    assert find(tmp_path, "Wave/g01_01") == find(tmp_path, "g01_01.mp4") == "Wave/g01_01.avi"
    assert find(tmp_path, "3", "2") == "B/2.mp4"
    reason = MediaIndex(str(tmp_path)).explain_missing(["Kick/g01_01.avi"])
    assert "Kick/g01_01.avi' does not exist (" in reason and "Wave/g01_01.avi' lies in another folder)" in reason
    assert "write the path with / instead" in MediaIndex(str(tmp_path)).explain_missing(["Wave\\g01_01.avi"])


def test_videos_of_one_name_are_not_guessed_at(tmp_path):
    media = MediaIndex(str(touch(tmp_path, "A/1.mp4", "B/1.mp4", "B/2.mp4", "B/2.ts")))
    assert media.find(["B/1"]) == media.find(["B/1.mp4"]) == str(tmp_path / "B" / "1.mp4")
    assert media.find(["B/2.ts"]) == str(tmp_path / "B" / "2.ts")
    with pytest.raises(ValueError, match="1.mp4' and '.*1.mp4' both have the name '1'; name its folder too"):
        media.find(["1"])
    with pytest.raises(ValueError, match="2.mp4' and '.*2.ts' both have the name 'B/2'"):
        media.find(["B/2"])
    with pytest.raises(FileNotFoundError, match="A/none' holds no videos and no frame folders"):
        MediaIndex(str(tmp_path / "A" / "none"))


def test_a_folder_of_pictures_is_one_video(tmp_path):
    touch(tmp_path, "A/v_1.x/img_1.JPG", "A/v_1.x/flow/x.mp4", "A/v_2.MKV", "A/notes.txt", "A/v_3/flow_x_1.jpg")
    assert find(tmp_path, "v_1.x") == "A/v_1.x" and find(tmp_path, "v_2") == "A/v_2.MKV"
    assert find(tmp_path, "x") is None and find(tmp_path, "v_3") is None


def test_stray_pictures_and_hidden_files_hide_no_video(tmp_path):
    touch(tmp_path, "poster.jpg", "A/cover.png", "A/v_1.avi", "A/._v_1.avi", "B/v_2.mts", "B/.thumb/a.jpg")
    assert find(tmp_path, "v_1") == "A/v_1.avi" and find(tmp_path, "v_2") == "B/v_2.mts"
    assert find(tmp_path, "cover") is None and find(tmp_path, "poster") is None


def test_links_in_a_ring_or_to_one_file_are_followed_once(tmp_path):
    touch(tmp_path, "A/v_1.avi")
    (tmp_path / "A" / "back").symlink_to(tmp_path)
    (tmp_path / "B").symlink_to(tmp_path / "A")
    (tmp_path / "C").mkdir()
    (tmp_path / "C" / "v_1.avi").symlink_to(tmp_path / "A" / "v_1.avi")
    assert find(tmp_path, "v_1") == "A/v_1.avi"
    assert find(tmp_path, "B/v_1") == "B/v_1.avi" and find(tmp_path, "C/v_1") == "C/v_1.avi"


def test_one_name_in_each_of_many_folders_takes_linear_time():
    index = NameIndex()
    for number in range(3000):
        index.add(f"s{number}/cam/001.avi", number)
    assert all(index.find(f"s{number}/cam/001") == [number] for number in range(3000))
