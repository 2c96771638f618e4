"""Small networks that learn the sample data look at the figure, and of its joints at the arm that moves."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from inference import grad_cam
from layouts import get_layout
from models import build_model
from tools.make_samples import COCO_POINTS
from tools.samples.figure import animate, make_body, make_timing
from tools.samples.film import draw_frames, make_clothes, make_scene

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:When training, we now always track")]
ACTIONS = ("Wave", "Punch", "Kick", "Squat")
NUM_FRAMES, SIZE = 16, 64
ARM = ("elbow", "wrist", "hand", "hand_tip", "thumb")
LAYOUT = get_layout("ntu25")


def play(action, group):
    """Animate a body; return its points and what `make_scene` and `draw_frames` are called with."""
    rng = np.random.default_rng([7, group])
    body, clothes = make_body(rng), make_clothes(rng)
    timing = make_timing(NUM_FRAMES, body, rng)
    points = animate(action, body, timing, bool(rng.integers(2)))
    return points, body, clothes, make_scene(SIZE * 4 // 3, SIZE, body, rng), rng


def learn(model, inputs, labels, num_updates, batch_size=16):
    """Train a network by Adam on batches drawn at random."""
    paddle.seed(0)
    rng = np.random.default_rng(0)
    optimizer = paddle.optimizer.Adam(3e-3, parameters=model.parameters())
    model.train()
    for _ in range(num_updates):
        chosen = rng.permutation(len(labels))[:batch_size]
        loss = F.cross_entropy(model(paddle.to_tensor(inputs[chosen])), paddle.to_tensor(labels[chosen]))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()


def answer(model, inputs):
    """Return the class of each sample."""
    with paddle.no_grad():
        return model(paddle.to_tensor(inputs)).argmax(axis=1).numpy()


def test_of_a_skeleton_the_arm_that_moves_counts():
    def make_skeleton(action, group):
        points, _, _, scene, _ = play(action, group)
        joints = scene.camera.view(points)[:, : LAYOUT.num_joints]
        return (joints - joints[:1, 1:2]).transpose(2, 0, 1)[..., None]  # (T, V, C) -> (C, T, V, M)

    skeletons = {split: [] for split in ("train", "test")}
    for group in range(26):
        skeletons["train" if group < 22 else "test"] += [make_skeleton(action, group) for action in ACTIONS]
    train, test = (np.stack(each).astype(np.float32) for each in skeletons.values())
    labels = np.tile(np.arange(len(ACTIONS)), 26)
    paddle.seed(0)
    model = build_model("stgcn", num_classes=len(ACTIONS), num_persons=1, base_channels=16, num_blocks=[2, 1])
    learn(model, train, labels[: len(train)], 60)
    right = answer(model, test) == labels[len(train) :]
    assert right.mean() > 0.8
    arms = [index for index, joint in enumerate(LAYOUT.joints) if joint.split("_", 1)[-1] in ARM]
    on_arms = {action: [] for action in ACTIONS}
    for skeleton, label in zip(test[right], labels[len(train) :][right], strict=True):
        shares = grad_cam.compute_joint_shares(model, {"skeleton": paddle.to_tensor(skeleton[None])}, label)
        shares = np.maximum(shares["skeleton"][0, 0], 0).sum(axis=0)
        on_arms[ACTIONS[label]].append(shares[arms].sum() / shares.sum())
    means = {action: np.mean(found) for action, found in on_arms.items()}
    # 10 of 25 joints are on the arms. So small a network tells Wave by the raised arm, not by its movement: its logit
    # is the same, to 0.1, for the mean pose held still, and little is left for the shares of movements to explain. A
    # better one looks at the arm that waves: tests/project/test_learning.py.
    assert means["Punch"] > 0.6 and means["Kick"] < 0.2 < 0.3 < means["Wave"]


def test_heat_lies_on_the_figure():
    def make_clip(action, group):
        points, body, clothes, scene, rng = play(action, group)
        frames = np.stack(list(draw_frames(points, body, clothes, scene, rng)))[::2]
        pixels = scene.camera.project(scene.camera.view(points))[::2, COCO_POINTS]
        left = (frames.shape[2] - SIZE) // 2
        clip = frames[:, :, left : left + SIZE].transpose(3, 0, 1, 2) / 64.0 - 2
        return clip.astype(np.float32), pixels - [left, 0]

    made = [make_clip(action, group) for group in range(18) for action in ("Wave", "Kick")]
    clips, pixels = np.stack([clip for clip, _ in made]), [points for _, points in made]
    labels = np.arange(len(clips)) % 2
    paddle.seed(0)
    model = build_model("resnet", num_classes=2, depth=10, widen_factor=0.25, conv1_t_size=3)
    learn(model, clips[:28], labels[:28], 30)
    right = answer(model, clips) == labels
    assert right[28:].mean() > 0.8
    ratios = []
    for index in np.flatnonzero(right)[-16:]:
        inputs = {"rgb": paddle.to_tensor(clips[index : index + 1])}
        (heat,) = grad_cam.compute_maps(model, inputs, labels[index])["rgb"]
        if not heat.any():  # nothing speaks for this class: what the network looks for is the other one
            continue
        heat = np.kron(heat.sum(axis=0), np.ones((SIZE // heat.shape[1], SIZE // heat.shape[2])))
        (left, top), (right_edge, bottom) = pixels[index].min(axis=(0, 1)) - 3, pixels[index].max(axis=(0, 1)) + 3
        y, x = np.mgrid[:SIZE, :SIZE] + 0.5
        inside = (y > top) & (y < bottom) & (x > left) & (x < right_edge)
        ratios.append(heat[inside].sum() / heat.sum() / inside.mean())
    assert len(ratios) >= 8 and np.mean(ratios) > 1.2 and np.mean(np.array(ratios) > 1) > 0.8
