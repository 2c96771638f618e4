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
