"""The protocol of the Kinetics papers, ten clips x three crops, against thirty views cut and averaged by hand."""

import numpy as np
import paddle
import pytest
from numbered_videos import HEIGHT, decode_in_order, write_numbered_video

from engine import evaluator
from models import build_model
from reader import build_loader

STARTS = [1, 5, 8, 11, 15, 18, 22, 25, 28, 32]  # 34 possible ones in ten shares of 3.4, the middle of each
LEFTS = [0, 16, 32]  # of a square as high as the frame, in its width of 96


class MeanColor:
    """A stand-in for a network, which remembers how many views it was given at once."""

    def __init__(self):
        self.counts = []

    def eval(self):
        pass

    def __call__(self, rgb):
        self.counts.append(len(rgb))
        return rgb.mean(axis=[2, 3, 4])

    def name_outputs(self, outputs):
        return {"fused": outputs}

    def fuse(self, heads):
        return heads["fused"]


def test_many_views_are_scored_in_parts(tmp_path, monkeypatch):
    write_numbered_video(tmp_path / "long.avi")
    (tmp_path / "test.list").write_text("long.avi 1\n")
    reader = {"clip_len": 2, "crop_size": 8, "protocol": "windows", "num_workers": 0, "num_classes": 3}
    loader = build_loader(mode="test", filelist=str(tmp_path / "test.list"), batch_size=1, **reader)
    whole, parts = MeanColor(), MeanColor()
    expected = evaluator.evaluate(whole, loader)["scores"]
    monkeypatch.setattr(evaluator, "MAX_VIEWS", 7)
    np.testing.assert_allclose(evaluator.evaluate(parts, loader)["scores"], expected, rtol=1e-6)
    assert len(whole.counts) == 1 and whole.counts[0] > 14
    assert sum(parts.counts) == whole.counts[0] and max(parts.counts) == 7


@pytest.mark.parametrize("average_clips", ["prob", "score"])
def test_ten_clips_of_three_crops_are_thirty_views_averaged(tmp_path, average_clips):
    films = [write_numbered_video(tmp_path / name) for name in ("one.mp4", "two.avi")]
    (tmp_path / "test.list").write_text("one.mp4 0\ntwo.avi 1\n")
    views = {"clip_len": 8, "frame_interval": 2, "crop_size": HEIGHT, "num_clips": 10, "crops": "three"}
    loader = build_loader(mode="test", filelist=str(tmp_path / "test.list"), batch_size=2, num_workers=0, **views)
    paddle.seed(0)
    model = build_model("resnet", depth=10, widen_factor=0.125, conv1_t_size=3, num_classes=5)
    scores = evaluator.evaluate(model, loader, average_clips)["scores"]

    for film, found in zip(films, scores, strict=True):
        frames = np.stack(decode_in_order(film))[..., ::-1]
        by_hand = []
        for start in STARTS:
            for left in LEFTS:
                view = frames[start : start + 15 : 2, :, left : left + HEIGHT]
                prepared = loader.prepare({"rgb": np.ascontiguousarray(view[None])})
                logits = model(prepared["rgb"]).numpy()[0].astype(np.float64)
                by_hand.append(np.exp(logits) / np.exp(logits).sum() if average_clips == "prob" else logits)
        assert len(by_hand) == 30 and np.ptp(by_hand, axis=0).max() > 1e-3  # the views differ
        np.testing.assert_allclose(found, np.mean(by_hand, axis=0), rtol=1e-5, atol=1e-6)
