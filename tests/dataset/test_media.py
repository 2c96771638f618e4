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
