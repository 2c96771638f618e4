"""Where a network looks: Grad-CAM against the paper's formula, and heat at the one place that an answer depends on."""

import numpy as np
import paddle
import pytest
from looking_networks import (
    HEIGHT,
    NUM_FRAMES,
    SPOT,
    WIDTH,
    JointNetwork,
    RedAndJointNetwork,
    RedNetwork,
    make_frames,
    make_poses,
)
from small_networks import CASES, build, draw_batch, move_statistics
from small_skeletons import draw_annotation
from small_videos import write_folder

import models
import predict
from inference import explain, grad_cam, pose_io, sources
from layouts import get_layout
from models.parts.action_model import ActionModel
from reader import READERS
from reader.boxes import ViewPlace

LATE = 16  # first frame that shows it, in some tests


@pytest.mark.parametrize("name", list(models.MODELS))
def test_every_network_can_be_explained_and_answers_as_before(name):
    model = build(name)
    move_statistics(model, name)
    batch = draw_batch(name, 2)
    before = model.fuse(model.name_outputs(model(*batch.values()))).numpy()
    if "skeleton" in batch:
        found = grad_cam.compute_joint_shares(model, batch, 1)
        assert (found["skeleton"] < 0).any() and (found["skeleton"] > 0).any()
        _, num_frames, num_joints, num_persons = CASES[name].input_shape["skeleton"]
        expected = {"skeleton": (2, num_persons, num_frames, num_joints)}
    else:
        for label in range(4):  # a network without training may see nothing for one of them
            found = grad_cam.compute_maps(model, batch, label)
            if all(maps.any() for maps in found.values()):
                break
        assert all(maps.any() for maps in found.values())
        assert all((maps >= 0).all() for maps in found.values())
        expected = {key: (2, found[key].shape[1], 4, 4) for key in batch}
    assert {key: values.shape for key, values in found.items()} == expected
    assert all(np.isfinite(values).all() for values in found.values())
    after = model.fuse(model.name_outputs(model(*batch.values()))).numpy()
    np.testing.assert_array_equal(after, before)


def test_a_network_that_does_not_say_which_layer_explains_it_is_told_to():
    class Silent(ActionModel):
        def forward(self, x):
            return x.mean(axis=[2, 3, 4])

    with pytest.raises(ValueError, match="Silent does not say which layer's output explains its answer; override"):
        grad_cam.compute_maps(Silent(), {"rgb": paddle.ones([1, 3, 2, 4, 4])}, 0)


def test_grad_cam_of_a_pool_and_a_linear_layer_is_the_class_activation_map():
    # Section 3.1 of the paper: there the weights are those of the linear layer, divided by the number of places.
    model = build("resnet")
    move_statistics(model, "resnet")
    clips = paddle.to_tensor(np.random.default_rng(0).standard_normal((1, 3, 4, 112, 112)).astype(np.float32))
    features = model.forward_features(clips)[-1].numpy()
    num_places = features[0, 0].size
    assert features.shape[3:] == (4, 4)  # as many as the last stage must have
    for label in range(2):
        weights = model.fc.weight.numpy()[:, label]
        expected = np.maximum(np.einsum("c,ncthw->nthw", weights, features), 0) / num_places
        found = grad_cam.compute_maps(model, {"rgb": clips}, label)["rgb"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max() + 1e-9)


def test_where_the_last_map_is_too_coarse_an_earlier_stage_is_looked_at():
    model = build("resnet")
    move_statistics(model, "resnet")
    for size, map_size in ((64, 4), (32, 4), (16, 4), (8, 2)):  # of the third, second and first stage
        maps = grad_cam.compute_maps(model, {"rgb": paddle.randn([1, 3, 4, size, size])}, 1)["rgb"]
        assert maps.shape[2:] == (map_size, map_size)


# The one place that an answer depends on.


def explain_source(source, model, reader, label=1):
    """Explain a source; return the explanation of each frame."""
    source.open()
    network = predict.FrameNetwork(model, reader)
    scores = predict.score_source(source, network, "prob")
    prediction = predict.rank_classes("x", source, scores, ["blue", "red"], 2)
    return list(explain.Explanations(source, network, prediction, ["blue", "red"], label)), prediction


def find_share(explanation, index, box=SPOT, margin=0, name="rgb", size=(HEIGHT, WIDTH)):
    """Return the share of the heat of a frame that lies in a box, enlarged by `margin` pixels."""
    y, x = np.mgrid[: size[0], : size[1]]
    heat = explanation.heats[name].find(index - explanation.start, (y + 0.5) / size[0], (x + 0.5) / size[1])
    top, left, height, width = box
    inside = (y >= top - margin) & (y < top + height + margin) & (x >= left - margin) & (x < left + width + margin)
    return heat[inside].sum() / max(heat.sum(), 1e-9), (heat * [y, x]).sum(axis=(1, 2)) / max(heat.sum(), 1e-9)


PROTOCOLS = [
    {"crops": "three"},
    {"crops": "three", "flip": True, "num_clips": 3, "clip_len": 4},
    {"crops": "ten", "crop_size": 40},
    {"protocol": "windows", "crops": "three"},
    {"num_segments": 4, "clip_len": 2, "crops": "three", "flip": True},
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_heat_of_a_video_lies_where_its_crops_were_cut(tmp_path, protocol):
    reader = READERS["clips"](
        None, "test", **{"clip_len": 8, "frame_interval": 1, "short_size": 48, "crop_size": 48, **protocol}
    )
    source = sources.VideoSource(write_folder(tmp_path / "x", make_frames()), reader, 25, None)
    found, _ = explain_source(source, RedNetwork(), reader)
    assert len(found) == NUM_FRAMES
    for index in (0, 11, NUM_FRAMES - 1):
        share, centre = find_share(found[index], index, margin=4)
        assert share > 0.95
        np.testing.assert_allclose(centre, [33.5, 11.5], atol=1.0)
    blue, _ = explain_source(source, RedNetwork(), reader, label=0)
    assert find_share(blue[5], 5, (0, 70, 10, 10), margin=4)[0] > 0.95


def test_what_no_crop_shows_has_no_heat(tmp_path):
    reader = READERS["clips"](None, "test", clip_len=8, short_size=48, crop_size=44)
    source = sources.VideoSource(write_folder(tmp_path / "x", make_frames()), reader, 25, None)
    explanation = explain_source(source, RedNetwork(), reader)[0][0]
    assert explanation.is_empty and explanation.heats["rgb"].box == pytest.approx((2 / 48, 18 / 80, 44 / 48, 44 / 80))


def test_heat_of_a_scaled_video_lies_in_its_own_frame_and_in_time(tmp_path):
    reader = READERS["clips"](None, "test", clip_len=4, num_clips=6, short_size=24, crop_size=24, crops="three")
    source = sources.VideoSource(write_folder(tmp_path / "x", make_frames(first=LATE)), reader, 25, None)
    found, _ = explain_source(source, RedNetwork(), reader)
    for index in range(NUM_FRAMES):
        share, centre = find_share(found[index], index, margin=8)
        assert share > 0.95 if index >= LATE else share == 0
    np.testing.assert_allclose(centre, [33.5, 11.5], atol=2.0)


def test_each_window_of_a_long_video_has_its_own_heat(tmp_path):
    red, blue = make_frames(), make_frames(first=NUM_FRAMES)
    red[:, :10, -10:] = 90
    reader = READERS["clips"](None, "test", clip_len=4, short_size=48, crop_size=48, crops="three")
    source = sources.VideoSource(write_folder(tmp_path / "x", np.concatenate([red, blue])), reader, 24, 0.5)
    found, prediction = explain_source(source, RedNetwork(), reader)
    assert len(prediction.windows) == 7
    for index, each in enumerate(found):
        window = prediction.find_window(index)
        assert (each.start, each.end) == (window.start, window.end)
    is_empty = [each.is_empty for each in found]
    assert not any(is_empty[:18]) and all(is_empty[30:])
    best, _ = explain_source(source, RedNetwork(), reader, label=None)
    assert {each.label for each in best[:18]} == {1} and {each.label for each in best[30:]} == {0}
    assert find_share(best[40], 40, (0, 70, 10, 10), margin=4)[0] > 0.95


@pytest.mark.parametrize(
    "options", [{}, {"flip": True, "num_clips": 2}, {"stretch": True, "scales": [20, 28], "flip": True}]
)
def test_heat_of_heat_maps_lies_on_the_joint(options):
    reader = READERS["heatmaps"](
        None,
        mode="test",
        clip_len=8,
        short_size=20,
        crop_size=20,
        scaling=1.0,
        layout="coco17",
        num_persons=1,
        **options,
    )
    source = sources.SkeletonSource("x", "one", make_poses(), reader, 25)
    found, _ = explain_source(source, JointNetwork(9, of_maps=True), reader)
    for index in (0, 9, NUM_FRAMES - 1):
        share, centre = find_share(found[index], index, (34, 12, 0, 0), margin=9, name="pose")
        assert share > 0.9
        np.testing.assert_allclose(centre, [34, 12], atol=2.0)
        joints = found[index].find_joints(index)
        assert joints.shape == (1, 17) and joints[0].argmax() in (9, 10) and joints[0, 9] > 0.5


@pytest.mark.parametrize("options", [{}, {"flip": True, "num_clips": 2}])
def test_heat_of_rgb_and_pose_lies_on_what_each_looks_at(tmp_path, options):
    reader = READERS["rgbpose"](
        None,
        mode="test",
        clip_len=8,
        rgb_clip_len=4,
        short_size=48,
        crop_size=44,
        scaling=0.5,
        num_persons=1,
        **options,
    )
    folder = write_folder(tmp_path / "one", make_frames())
    index = pose_io.index_by_video([("one", make_poses())])
    source = sources.VideoWithPosesSource(str(folder), index, reader, 25)
    found, _ = explain_source(source, RedAndJointNetwork(9), reader)
    for frame in (0, NUM_FRAMES - 1):
        share, centre = find_share(found[frame], frame, margin=6)
        assert share > 0.9
        np.testing.assert_allclose(centre, [33.5, 11.5], atol=2.5)
        assert find_share(found[frame], frame, (34, 12, 0, 0), margin=12, name="pose")[0] > 0.9
        assert found[frame].find_joints(frame)[0].argmax() in (9, 10)


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "uniform", "num_clips": 2},
        {"sampling": "resize", "clip_len": 32},
        {"sampling": "ordered"},
        {"sampling": "window", "num_clips": 3},
        {"sampling": "window", "clip_len": 40},
        {"sampling": "pad", "clip_len": 40},
        {"sampling": "pad", "clip_len": 40, "padding": "loop"},
        {"sampling": "uniform", "stream": "bone"},
    ],
    ids=str,
)
def test_the_joint_and_the_frames_that_count_are_found_whatever_the_sampling(options):
    annotation = draw_annotation(0, 0, num_frames=NUM_FRAMES)
    annotation["keypoint"] = np.repeat(annotation["keypoint"][:, :1], NUM_FRAMES, axis=1)
    annotation["keypoint"][:, LATE:, 11, 0] += 1.0  # a hand, late, to the right
    reader = READERS["skeletons"](None, mode="test", **{"clip_len": 16, "num_persons": 1, **options})
    source = sources.SkeletonSource("x", "one", annotation, reader, 25)
    found, _ = explain_source(source, JointNetwork(11), reader)
    joints = found[0].joints
    assert joints.shape == (1, NUM_FRAMES, 25)
    assert joints.max() == pytest.approx(1) and joints[0, :, 11].sum() == pytest.approx(joints.sum())
    assert (joints[0, LATE + 3 :, 11] > 0.9).all() and (joints[0, : LATE - 3, 11] < 0.1).all()


def test_joints_are_found_that_a_network_takes_in_another_order():
    annotation = draw_annotation(0, 0, num_frames=NUM_FRAMES)
    annotation["keypoint"] = np.repeat(annotation["keypoint"][:, :1], NUM_FRAMES, axis=1)
    annotation["keypoint"][:, LATE:, 11, 0] += 1.0
    reader = READERS["timed_skeletons"](None, mode="test", clip_len=16, num_persons=1, time_index=False)
    source = sources.SkeletonSource("x", "one", annotation, reader, 25)
    found, _ = explain_source(source, JointNetwork(reader.order.index(11)), reader)
    joints = found[0].joints
    assert joints.shape == (1, NUM_FRAMES, 25)
    assert joints.max() == pytest.approx(1) and joints[0, :, 11].sum() == pytest.approx(joints.sum())


# What is drawn and written.


def test_a_class_is_found_by_name_and_by_label():
    names = ["Wave", "打篮球", "Über kopf"]
    assert [explain.find_label(name, names) for name in ("wave", "打篮球", "2")] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"--explain 'Wabe': the network knows no such class; did you mean 'Wave'\?"):
        explain.find_label("Wabe", names)
    with pytest.raises(ValueError, match="knows no such class"):
        explain.find_label("3", names)


def test_the_description_has_the_shares_of_joints():
    reader = READERS["skeletons"](None, mode="test", clip_len=16, num_persons=1)
    annotation = draw_annotation(0, 0, num_frames=NUM_FRAMES)
    annotation["keypoint"][:, LATE:, 11, 0] += 3.0
    source = sources.SkeletonSource("x", "one", annotation, reader, 25)
    source.open()
    network = predict.FrameNetwork(JointNetwork(11), reader)
    prediction = predict.rank_classes("x", source, predict.score_source(source, network, "prob"), ["a", "b"], 2)
    explanations = explain.Explanations(source, network, prediction, ["a", "b"], 1)
    assert explanations.describe() == {"class": "b"} and explanations.note == "colours: what speaks for b"
    pictures = list(source.read_pictures(explanations))
    content = explanations.describe()
    (joints,) = content["joints"]
    name = get_layout("ntu25").joints[11]
    assert joints[name] == pytest.approx(1) and sum(joints.values()) == pytest.approx(1)
    assert len(content["frames"]["skeleton"]) == NUM_FRAMES and max(content["frames"]["skeleton"]) == 1
    plain = list(source.read_pictures())
    changed = [np.abs(one.astype(int) - other).max() > 50 for one, other in zip(pictures, plain, strict=True)]
    assert changed[-1]


def test_overlapping_views_are_averaged():
    place = ViewPlace(np.arange(2), (0, 0, 1, 0.5))
    other = ViewPlace(np.arange(2), (0, 0.25, 1, 0.75))
    heat = explain.place_maps([np.full((1, 2, 2), 4.0), np.full((1, 2, 2), 2.0)], [place, other], 2)
    row = heat.values[0, 20] * 4  # 4 where the first stands alone, 3 in both, 2 in the second
    assert heat.box == (0, 0, 1, 1)
    assert row[:9] == pytest.approx(4) and row[11:19] == pytest.approx(3) and row[21:] == pytest.approx(2)
