"""Make updates and scores of a network when told to; `checkout_speed` runs it, once for each side of a comparison.

It imports nothing of the project but `models` of the checkout that it is told of, so that earlier commits can be
measured, and only what the Python that runs it has: Paddle for a checkout, PyTorch for the authors' code.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable

NUM_CLASSES = 60


def build_calls(root: str, name: str, arguments: dict, shape: list) -> dict:
    """Build a network of a checkout, and return {`update`, `scores`: a function that makes one}, of a batch of noise.

    Args:
        root: folder of the checkout.
        name: key of its `models.MODELS`.
        arguments: of the network.
        shape: of the batch.
    """
    import paddle

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


def build_pytorch_calls(path: str, module: str, arguments: dict, shape: list) -> dict:
    """As `build_calls`, of a network of its authors.

    Args:
        path: folder of their repository.
        module: of the class and its name, with a colon between them.
        arguments: of the class.
        shape: of the batch.
    """
    import torch

    sys.path[0] = path
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor  # some of them move what they build to a GPU
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # as many as Paddle takes
    module, _, class_name = module.partition(":")
    model = vars(importlib.import_module(module))[class_name](**arguments)
    # InfoGCN keeps a matrix of float64 that is no buffer.
    vars(model).update({key: value.float() for key, value in vars(model).items() if torch.is_tensor(value)})
    inputs, labels = torch.randn(shape), torch.randint(0, NUM_CLASSES, shape[:1])
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)

    def update() -> None:
        model.train()
        outputs = model(inputs)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    def score() -> None:
        model.eval()
        with torch.no_grad():
            model(inputs)

    return {"update": update, "scores": score}


def serve(calls: dict, clock: Callable) -> None:
    """Make the call that each line of stdin names, and print its seconds."""
    for line in sys.stdin:
        start = clock()
        calls[line.strip()]()
        print(clock() - start, flush=True)


if __name__ == "__main__":
    kind, *words = json.loads(sys.argv[1])
    build = {"paddle": build_calls, "pytorch": build_pytorch_calls}[kind]
    is_alone = os.environ.get("OMP_NUM_THREADS") == "1"
    serve(build(*words), time.process_time if is_alone else time.perf_counter)
