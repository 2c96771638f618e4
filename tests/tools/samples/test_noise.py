"""Sample data made harder: noise of the asked size in joints and pictures, the same motion below it."""

import cv2
import numpy as np
import pytest

from tools.make_samples import add_noise, film_clip, list_clips, parse_arguments

SIZE = {"seed": 0, "num_frames": 8, "width": 64, "height": 48, "fps": 25}


def film(root, **noise):
    """Return the first frame, pixels and metres of a clip."""
    clip = list_clips(1, 2, 1, **SIZE, **noise)[0]
    (root / "UCF-101" / clip.action).mkdir(parents=True)
    (root / "nturgb+d_skeletons").mkdir()
    pixels, metres = film_clip(clip, root)
    return cv2.VideoCapture(str(next(root.rglob("*.avi")))).read()[1], pixels, metres


def test_joints_tremble_and_the_picture_does_not(tmp_path):
    picture, pixels, metres = film(tmp_path / "plain")
    same_picture, noisy_pixels, noisy_metres = film(tmp_path / "noisy", joint_noise=0.05)
    assert np.array_equal(picture, same_picture) and not np.allclose(pixels, noisy_pixels)
    assert np.std(noisy_metres - metres) == pytest.approx(0.05, rel=0.1)  # of 8 x 25 x 3 draws


def test_pictures_are_noisy_and_the_joints_are_not(tmp_path):
    picture, pixels, metres = film(tmp_path / "plain")
    noisy_picture, same_pixels, same_metres = film(tmp_path / "noisy", picture_noise=40)
    assert np.array_equal(pixels, same_pixels) and np.array_equal(metres, same_metres)
    assert np.std(noisy_picture.astype(float) - picture) > 15  # Motion JPEG smooths some of it


def test_noise_has_its_size_and_stays_within_a_byte():
    frame = np.full((64, 64, 3), 128, np.uint8)
    noisy = next(iter(add_noise([frame], 20, np.random.default_rng(0))))
    assert noisy.dtype == np.uint8 and np.std(noisy.astype(float)) == pytest.approx(20, rel=0.05)
    assert next(iter(add_noise([frame - 128], 20, np.random.default_rng(0)))).max() < 128  # nothing wraps around
    assert np.array_equal(next(iter(add_noise([frame], 0, None))), frame)


def test_noise_out_of_range_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--joint_noise", "-0.1"])
    assert "--joint_noise is -0.1, expected a number from 0 to 1" in capsys.readouterr().err
