"""Exports of heat maps: their description is enough to draw the maps, and says what else a program needs."""

import numpy as np
import pytest
from exported_networks import save_case

import recipe
from engine import checkpoint
from inference import exported_model
from tools import export

POINTS = {0: (3.2, 4.7, 0.9), 5: (9.0, 2.4, 0.5), 6: (9.4, 2.6, 0.8), 16: (14.8, 15.1, 1.0), 3: (5.0, 5.0, 5e-5)}


def draw_as_described(drawing, points, is_mirrored):
    """Draw the maps of one frame of one person, pixel by pixel, as the header of inference.yaml says."""
    height, width = drawing["size"]
    sigma, reach = drawing["sigma"], drawing["window"] * drawing["sigma"]
    maps = np.zeros((len(drawing["channels"]), height, width))
    for number, channel in enumerate(drawing["channels"]):
        ends = [points.get(joint, (0, 0, 0)) for joint in (channel if drawing["kind"] == "limbs" else [channel])]
        score = min(end[2] for end in ends)
        if score < drawing["min_score"]:
            continue
        start, end = np.array(ends[0][:2]), np.array(ends[-1][:2])
        if np.linalg.norm(end - start) < drawing["min_limb_length"]:
            end, score = start, ends[0][2]
        low, high = np.trunc(np.minimum(start, end) - reach), np.trunc(np.maximum(start, end) + reach)
        for y in range(height):
            for x in range(width):
                if (low <= (x, y)).all() and ((x, y) <= high).all():
                    along = np.clip(
                        np.dot((x, y) - start, end - start) / max(np.dot(end - start, end - start), 1), 0, 1
                    )
                    squared = np.sum(((x, y) - start - along * (end - start)) ** 2)
                    maps[number, y, x] = score * np.exp(-squared / (2 * sigma**2))
    return maps[drawing["channels_of_mirrored_views"], :, ::-1] if is_mirrored else maps


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("kind", ["joints", "limbs"])
def test_the_description_says_how_maps_are_drawn(kind, is_mirrored, tmp_path):
    save_case("posec3d", tmp_path / "weights")
    config = checkpoint.load_checkpoint(tmp_path / "weights")["config"]
    reader = recipe.open_reader({**config, "READER": {**config["READER"], "kind": kind, "flip": True}})
    drawing = reader.describe_drawing()
    keypoint = np.zeros((1, 1, reader.clip_len, 17, 4), np.float32)
    for joint, point in POINTS.items():
        keypoint[0, 0, :, joint, :3] = point
    keypoint[..., 3] = is_mirrored
    maps = reader.prepare({"pose": keypoint})["pose"].numpy()
    np.testing.assert_allclose(maps[0, :, 0], draw_as_described(drawing, POINTS, is_mirrored), atol=2e-6)
    assert maps.max() > 0.4


def test_the_description_names_inputs_and_heads(tmp_path, capsys):
    save_case("pcan", tmp_path / "weights")
    export.main([str(tmp_path / "weights"), "--out", str(tmp_path / "out")])
    found = exported_model.read_description(str(tmp_path / "out"))
    rgb, pose = found["input"]
    assert (rgb["name"], rgb["dtype"], rgb["shape"]) == ("rgb", "uint8", [-1, 2, 32, 32, 3])
    assert (pose["name"], pose["dtype"], pose["shape"]) == ("pose", "float32", [-1, 17, 8, 8, 8])
    assert found["outputs"] == ["rgb", "pose", "rgb_coarse", "pose_coarse"] and found["modalities"] == ["rgb", "pose"]
    assert found["drawing"]["joints"][0] == "nose" and found["drawing"]["size"] == [8, 8]
    printed = capsys.readouterr().out
    assert f"next: python predict.py --exported {tmp_path / 'out'} --input video.avi --poses poses.pkl" in printed
    text = (tmp_path / "out" / "inference.yaml").read_text(encoding="utf-8")
    assert "# Heat maps, float32 (N, K, T, H, W), are drawn outside of the network" in text
    network = exported_model.ExportedModel(str(tmp_path / "out"))
    frames = np.zeros((1, 2, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expects pose float32 \(N, 17, 8, 8, 8\), got float32 \(1, 17, 9, 8, 8\)"):
        network(frames, np.zeros((1, 17, 9, 8, 8), np.float32))
