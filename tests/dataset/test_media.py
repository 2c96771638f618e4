"""Videos and frame folders by name."""

import pytest

from dataset.media import MediaIndex


def test_videos_of_one_name_are_not_guessed_at(tmp_path):
    for name in ("A/1.mp4", "B/1.mp4", "B/2.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    media = MediaIndex(str(tmp_path))
    assert media.find(["B/1.mp4"]) == str(tmp_path / "B" / "1.mp4")
    assert media.find(["elsewhere/2.avi"]) == str(tmp_path / "B" / "2.mp4")
    assert media.find(["3", "2"]) == str(tmp_path / "B" / "2.mp4")
    with pytest.raises(ValueError, match="1.mp4' and '.*1.mp4' have the same name; take one of them out"):
        media.find(["1"])
    with pytest.raises(FileNotFoundError, match="A/none' holds no videos and no frame folders"):
        MediaIndex(str(tmp_path / "A" / "none"))


def test_a_folder_of_pictures_is_one_video(tmp_path):
    for name in ("A/v_1.x/img_1.JPG", "A/v_1.x/flow/x.mp4", "A/v_2.MKV", "A/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    media = MediaIndex(str(tmp_path))
    assert media.paths == {"v_1.x": [str(tmp_path / "A" / "v_1.x")], "v_2": [str(tmp_path / "A" / "v_2.MKV")]}
    assert media.find(["v_3"]) == str(tmp_path / "v_3")  # for the message that it does not exist


def test_stray_pictures_and_hidden_files_hide_no_video(tmp_path):
    for name in ("poster.jpg", "A/cover.png", "A/v_1.avi", "A/._v_1.avi", "B/v_2.mts", "B/.thumb/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    paths = {"v_1": [str(tmp_path / "A" / "v_1.avi")], "v_2": [str(tmp_path / "B" / "v_2.mts")]}
    assert MediaIndex(str(tmp_path)).paths == paths


def test_links_in_a_ring_or_to_one_file_are_followed_once(tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "v_1.avi").write_bytes(b"x")
    (tmp_path / "A" / "back").symlink_to(tmp_path)
    (tmp_path / "B").symlink_to(tmp_path / "A")
    (tmp_path / "v_1.avi").symlink_to(tmp_path / "A" / "v_1.avi")
    assert list(MediaIndex(str(tmp_path)).paths) == ["v_1"] and len(MediaIndex(str(tmp_path)).paths["v_1"]) == 1
