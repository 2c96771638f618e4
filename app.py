"""Try trained networks in a browser: give a video or a skeleton file, see and download the answer.

python app.py --weights output/quickstart/resnet_model
python app.py checkpoints_models/resnet_best checkpoints_models/ctrgcn_best --language zh
POSES_PYTHON=poses/bin/python python app.py checkpoints_models/posec3d_best

Several checkpoints make a choice. With POSES_PYTHON, the Python of the environment that tools/find_poses.py describes,
networks of COCO key points take videos too. Needs Gradio: pip install -r requirements-app.txt. See docs/app.md.
"""

from common import command_line
from engine import flags

if __name__ == "__main__":
    command_line.start_paddle(flags.parse_app)

import logging
import os
import shutil
import tempfile

import predict
import recipe
from engine import checkpoint, logger
from inference import drawing, explain
from inference.page import gradio_page
from inference.page.answers import Answerer, OneThread, PageNetwork
from inference.text_renderer import TextRenderer


def main(argv: list | None = None) -> None:
    """Open the networks and serve the page until the process is interrupted."""
    args = flags.parse_app(argv)
    logger.setup_logging(None)  # a log file would keep the names of what is uploaded
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="action_page_") as folder:
        gradio = gradio_page.load_gradio(os.path.join(folder, "cache"))
        device, poses_python = recipe.choose_device(args.use_gpu), find_poses_python()
        networks = {title: open_network(path, poses_python) for title, path in name_weights(args.weights).items()}
        for title, network in networks.items():
            logging.info(f"{title}: {network.reader_name}, {len(network.class_names)} classes, on {device}")

        def predict_source(*arguments):
            return thread.run(answer_source, *arguments, args.top_k)

        thread, answers = OneThread(), os.path.join(folder, "answers")
        os.mkdir(answers)
        answerer = Answerer(predict_source, answers, args.max_mb, args.max_seconds, args.keep)
        text = gradio_page.make_translations(gradio, args.language)
        blocks = gradio_page.build_page(gradio, networks, answerer, args, text)
        gradio_page.launch(gradio, blocks, args, text)
        logging.info(f"open in a browser: {blocks.share_url or blocks.local_url} (Ctrl-C ends)")
        logging.getLogger().setLevel(logging.WARNING)  # not the temporary files that predict.py's functions write
        try:
            thread.serve()
        except KeyboardInterrupt:
            print("closed; what was uploaded is deleted")
        finally:
            blocks.close()


def name_weights(paths: list) -> dict:
    """Return {name in the choice: path} of checkpoints: the file's name, or the path where two have the same."""
    names = [os.path.basename(path.removesuffix(".pdparams")) for path in paths]
    return {path if names.count(name) > 1 else name: path for name, path in zip(names, paths, strict=True)}


def find_poses_python() -> str:
    """Return POSES_PYTHON, the Python that runs tools/find_poses.py; "" where it is not set.

    Raises:
        ValueError: it names no program.
    """
    python = os.environ.get("POSES_PYTHON", "")
    if python and not shutil.which(python):
        raise ValueError(f"POSES_PYTHON is '{python}', which is no program; see tools/find_poses.py, or unset it")
    return python


def open_network(path: str, poses_python: str) -> PageNetwork:
    """Build the network of a checkpoint for the page."""
    model, state = predict.open_weights(path)
    checkpoint.check_finite(path, checkpoint.scoring_weights(state))
    config = state["config"]
    reader, reader_name = recipe.open_reader(config), config["READER"].get("name", "clips")
    average_clips, class_names = config["RUN"]["average_clips"], state["class_names"]
    return PageNetwork(path, model, reader, reader_name, average_clips, class_names, poses_python)


def answer_source(
    name: str, source, network: PageNetwork, base: str, is_explained: bool, top_k: int
) -> drawing.Prediction:
    """Predict a source that is open, and write the drawn video, the contact sheet, json and csv, as predict.py does.

    Args:
        is_explained: draw where the network looks.
    """
    window_scores = predict.score_source(source, network.model, network.average_clips)
    prediction = predict.rank_classes(name, source, window_scores, network.class_names, top_k)
    renderer = TextRenderer("".join([*network.class_names, name, *network.model.modalities]))
    explained = explain.Explanations(source, network.model, prediction, network.class_names) if is_explained else None
    predict.write_pictures(source, base, prediction, renderer, explained)
    predict.write_json(source, base, prediction, network.weights, explained)
    return prediction


if __name__ == "__main__":
    command_line.run_main(main)
