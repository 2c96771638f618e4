"""Make updates and scores of a network of any checkout of the project, when told to; `checkout_speed` runs it.

It imports nothing of the project but `models`, so that earlier commits can be measured too.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable

import paddle

NUM_CLASSES = 60


def build_calls(root: str, name: str, arguments: dict, shape: list) -> dict:
    """Build a network of a checkout, and return {`update`, `scores`: a function that makes one}, of a batch of noise.

    Args:
        root: folder of the checkout.
        name: key of its `models.MODELS`.
        arguments: of the network.
        shape: of the batch.
    """
    sys.path[0] = root  # in place of this file's folder
    model = importlib.import_module("models").MODELS[name](num_classes=NUM_CLASSES, **arguments)
    inputs, labels = paddle.randn(shape), paddle.randint(0, NUM_CLASSES, shape[:1])
    optimizer = paddle.optimizer.Momentum(0.01, parameters=model.parameters(), use_nesterov=True, weight_decay=1e-4)

    def update() -> None:
        model.train()
        outputs = model(inputs)
        logits = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs
        paddle.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.clear_grad()

    def score() -> None:
        model.eval()
        with paddle.no_grad():
            model(inputs)

    return {"update": update, "scores": score}


def serve(calls: dict, clock: Callable) -> None:
    """Make the call that each line of stdin names, and print its seconds."""
    for line in sys.stdin:
        start = clock()
        calls[line.strip()]()
        print(clock() - start, flush=True)


if __name__ == "__main__":
    is_alone = os.environ.get("OMP_NUM_THREADS") == "1"
    serve(build_calls(*json.loads(sys.argv[1])), time.process_time if is_alone else time.perf_counter)
