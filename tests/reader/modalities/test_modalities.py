"""What a network of clips sees: frames, flow from files, records and video files, and differences of frames."""

import cv2
import numpy as np
import pytest
from small_videos import make_frames, write_avi, write_folder

from dataset import flow_files, packed_flow, records
from dataset.optical_flow import compute_fields, make_estimator
from reader import transforms
from reader.clips import Clips
from reader.modalities import build_modality, list_network_arguments

SMALL = {"clip_len": 3, "short_size": 36, "crop_size": 32}
NUM_FRAMES = 6


def write_png_flow(folder, seed=0):
    """Write flow of random values beside the frames of a folder, without loss; return x and y, (n - 1, H, W, 2)."""
    fields = np.random.default_rng(seed).integers(0, 256, (NUM_FRAMES - 1, 36, 48, 2)).astype(np.uint8)
    for number, field in enumerate(fields, 1):
        for axis, values in zip("xy", cv2.split(field), strict=True):  # the bytes decide what a picture is, not .jpg
            (folder / f"flow_{axis}_{number:05}.jpg").write_bytes(cv2.imencode(".png", values)[1].tobytes())
    return fields


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "v", make_frames(NUM_FRAMES))


@pytest.fixture
def fields(folder):
    return write_png_flow(folder)


def read(path, num_frames=NUM_FRAMES, mode="test", key=(0, 0), **options):
    """Return the first sample of a list of one line, as the network takes it: (views, C, T, H, W)."""
    line = path.name if num_frames is None else f"{path.name} {num_frames} 0"
    (path.parent / "a.list").write_text(line + "\n")
    reader = Clips(str(path.parent / "a.list"), mode, **{**SMALL, **options})
    sample = reader[key]["inputs"]
    views = reader.prepare(sample)["rgb"].numpy()
    assert list(views.shape[1:]) == reader.input_shape["rgb"]
    assert sample["rgb"].shape[1:] == reader.draw_noise(1, np.random.default_rng(0))["rgb"].shape[1:]
    return views


def crop(fields):
    """Cut the centre of 36 x 48, as the reader does, and put the channels first: (C, T, 32, 32)."""
    return fields[:, 2:34, 8:40].transpose(3, 0, 1, 2)


def test_flow_files_are_the_channels_x_and_y_between_minus_one_and_one(folder, fields):
    views = read(folder, modality="flow")  # 5 places, of which the middle ones are 1, 2, 3
    np.testing.assert_allclose(views[0], crop(fields[1:4] / 127.5 - 1), atol=1e-6)
    assert views.min() == -1 and views.max() == 1


def test_successive_fields_are_stacked_as_the_two_stream_paper_does(folder, fields):
    views = read(folder, modality="flow", clip_len=1, num_segments=2, num_stacked=2, test_clips="tsm")
    assert views.shape == (1, 4, 2, 32, 32)
    expected = crop(fields / 127.5 - 1)
    places = Clips(None, "test", clip_len=1, num_segments=2, test_clips="tsm")._place_clips(NUM_FRAMES - 2)[0]
    for frame, place in enumerate(places):
        for stacked in range(2):
            np.testing.assert_allclose(
                views[0, 2 * stacked : 2 * stacked + 2, frame], expected[:, place + stacked], atol=1e-6
            )


def test_differences_are_those_of_successive_normalized_frames(folder):
    frames = read(folder, clip_len=NUM_FRAMES)[0]
    whole = read(folder, modality="rgb_diff", clip_len=NUM_FRAMES - 1)[0]
    np.testing.assert_allclose(whole, frames[:, 1:] - frames[:, :-1], atol=1e-6)
    two = read(folder, modality="rgb_diff", clip_len=NUM_FRAMES - 2, num_stacked=2)[0]
    np.testing.assert_allclose(two, np.concatenate([whole[:, :-1], whole[:, 1:]]), atol=1e-6)


@pytest.mark.parametrize("modality, sign", [("rgb", [1, 1, 1]), ("flow", [-1, 1]), ("rgb_diff", [1, 1, 1])])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_mirrored_views_are_mirrored_and_mirrored_flow_changes_the_sign_of_x(folder, fields, modality, sign, mode):
    if mode == "test":
        plain, mirrored = read(folder, modality=modality, flip=True)[:, None]
    else:
        plain, mirrored = (
            read(folder, mode="train", modality=modality, flip_ratio=ratio, augment=True) for ratio in (0.0, 1.0)
        )
    expected = plain[..., ::-1] * np.array(sign).reshape(1, -1, 1, 1, 1)
    np.testing.assert_allclose(mirrored, expected, atol=1e-6)
    assert np.abs(mirrored - plain).max() > 0.1


def test_packed_flow_gives_the_same_views_as_files(folder, fields):
    expected = read(folder, modality="flow")
    files = [(folder / f"flow_{axis}_{number:05}.jpg").read_bytes() for number in range(1, NUM_FRAMES) for axis in "xy"]
    frames = [(folder / name).read_bytes() for name in records.list_frames(folder)]
    record = {"video": "v", "label": 0, "frames": frames, **packed_flow.pack(files)}
    records.write_record(record, folder.parent / "v.pkl")
    np.testing.assert_array_equal(read(folder.parent / "v.pkl", None, modality="flow"), expected)
    records.write_record({key: record[key] for key in ("video", "label", "frames")}, folder.parent / "v.pkl")
    with pytest.raises(ValueError, match=r"v.pkl: the record holds no optical flow; run avi2jpg.py --flow, then"):
        read(folder.parent / "v.pkl", None, modality="flow")


def test_flow_of_a_video_file_is_computed_and_is_that_of_its_frames(tmp_path):
    path = write_avi(tmp_path / "v.avi", make_frames(NUM_FRAMES))
    (tmp_path / "b.list").write_text("v.avi 0\n")
    reader = Clips(str(tmp_path / "b.list"), "test", modality="flow", **SMALL)
    views = reader.prepare(reader[0, 0]["inputs"])["rgb"].numpy()
    assert abs(np.median(views[0, 0]) * 20 - 2) < 0.3 and abs(np.median(views[0, 1]) * 20) < 0.3
    frames = [frame.frame for frame in reader_frames(path)]
    folder = write_folder(tmp_path / "w", [frame[..., ::-1] for frame in frames])
    names = records.list_frames(folder)
    flow_files.write_flow(
        str(folder), names, "dis", lambda data, to: open(to, "wb").write(cv2.imencode(".png", data)[1].tobytes())
    )
    np.testing.assert_array_equal(read(folder, modality="flow"), views)


def reader_frames(path):
    from reader.frames import open_video

    frames = open_video(records.ListEntry(str(path), 0, None, 1)).frames
    return frames.read(range(len(frames)))


def test_a_stream_has_the_fields_of_its_frames_and_the_last_one_again():
    frames = make_frames(4, seed=3)
    modality = build_modality("flow", 1, [0.5] * 3, [0.25] * 3, "dis", None)
    fields = list(compute_fields([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames], make_estimator("dis")))
    pictures = list(modality.follow(iter(frames), min(frames[0].shape[:2])))
    for picture, field in zip(pictures, [*fields, fields[-1]], strict=True):
        np.testing.assert_array_equal(picture[..., :2], field)
    (alone,) = modality.follow(iter(frames[:1]), min(frames[0].shape[:2]))
    assert np.ptp(alone) <= 1  # no motion


def test_flow_of_smaller_frames_has_smaller_displacements(tmp_path):
    write_avi(tmp_path / "v.avi", make_frames(NUM_FRAMES, 72, 96))
    (tmp_path / "b.list").write_text("v.avi 0\n")
    medians = []
    for size in (None, 36):
        reader = Clips(str(tmp_path / "b.list"), "test", modality="flow", flow_short_size=size, **SMALL)
        medians.append(20 * np.median(reader.prepare(reader[0, 0]["inputs"])["rgb"].numpy()[0, 0]))
    np.testing.assert_allclose(medians, [2, 1], atol=0.3)


def test_a_video_of_one_frame_has_views_of_no_motion(tmp_path):
    write_avi(tmp_path / "v.avi", make_frames(1))
    (tmp_path / "b.list").write_text("v.avi 0\n")
    for modality in ("flow", "rgb_diff"):
        reader = Clips(str(tmp_path / "b.list"), "test", modality=modality, **SMALL)
        assert np.abs(reader.prepare(reader[0, 0]["inputs"])["rgb"].numpy()).max() < 0.01


def test_a_blanked_box_has_no_motion_and_flow_no_colours(folder, fields):
    plain = read(folder, mode="train", modality="flow", flip_ratio=0.0)
    jittered = read(folder, mode="train", modality="flow", flip_ratio=0.0, color_jitter=0.9)
    np.testing.assert_array_equal(plain, jittered)
    erased = read(folder, mode="train", modality="flow", flip_ratio=0.0, erasing_ratio=1.0)
    changed = erased[erased != plain]
    assert len(changed) and np.abs(changed).max() < 0.01
    differences = read(folder, mode="train", modality="rgb_diff", flip_ratio=0.0, erasing_ratio=1.0)
    assert (np.abs(differences) < 1e-6).all(axis=(0, 1, 2)).any()


def test_what_cannot_be_read_is_named(folder):
    with pytest.raises(ValueError, match=r"no optical flow \(flow_x_00001.jpg, flow_y_00001.jpg\) in .*v'; run avi2jp"):
        read(folder, modality="flow")
    with pytest.raises(ValueError, match="modality is 'flows', expected one of rgb, flow, rgb_diff"):
        Clips(None, modality="flows")
    with pytest.raises(ValueError, match="flow_method is 'tv', expected one of dis, tvl1"):
        Clips(None, modality="flow", flow_method="tv")
    with pytest.raises(ValueError, match="num_stacked is 2, frames are not stacked; leave it out"):
        Clips(None, num_stacked=2)
    write_png_flow(folder)
    (folder / "flow_y_00003.jpg").unlink()
    with pytest.raises(ValueError, match=r"flow_y_00003.jpg: No such file"):
        read(folder, modality="flow")


def test_the_network_gets_as_many_channels():
    assert list_network_arguments({}) == {} == list_network_arguments({"modality": "rgb"})
    assert list_network_arguments({"modality": "flow"}) == {"in_channels": 2}
    assert list_network_arguments({"modality": "flow", "num_stacked": 5}) == {"in_channels": 10}
    assert list_network_arguments({"modality": "rgb_diff", "num_stacked": 5}) == {"in_channels": 15}


def test_mirrored_frames_are_still_those_of_before():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 10, 3)).astype(np.uint8)
    np.testing.assert_array_equal(transforms.mirror(frames), frames[:, :, ::-1])
