"""The report of test.py."""

import functools
import logging
import os

from engine import resume, run_card
from inference.report import page, run_facts, sample_pictures, scores
from models.parts.action_model import ActionModel

COLORS_NOTE = (
    "Colours, from blue to red, and the size of joints show what speaks for the predicted class; in a wrong sample, "
    "what misled the network."
)


def write_report(base: str, content: dict) -> None:
    """Write `<base>_report.html`; a report that cannot be written is one line of the log, and costs no scores.

    Args:
        base: path of the results of the test up to where their names differ.
        content: of `describe_test`.
    """
    path = f"{base}_report.html"
    try:
        page.write_page(path, content)
    except OSError as error:
        logging.warning(f"no report: {error}")
    else:
        logging.info(f"written: {path} (opens in a browser, needs no network)")


def describe_test(
    config: dict,
    changes: list,
    state: dict,
    loader,
    summary: dict,
    result: dict,
    class_names: list,
    model: ActionModel | None = None,
) -> dict:
    """Return the variables of the template.

    Args:
        config: resolved config of the test.
        changes: of it, see `config_changes.list_changes`.
        state: checkpoint.
        loader: of the list that was scored.
        summary: figures and protocol, as test.py sums them up.
        result: of `evaluator.evaluate`; `labels` is None where there are none.
        class_names: names by label, one for each output.
        model: the network of the dynamic graph, to draw where it looks in the samples; None: that is not drawn.
    """
    weights, draw = summary["weights"], functools.partial(sample_pictures.draw_card, loader.dataset, model)
    chosen = state["epoch"] - 1 if state.get("history") else None
    history, source = run_facts.read_history(weights, state)
    protocol = dict(summary["protocol"])
    trained_on = protocol.pop("trained_on", None)
    if trained_on is not None:
        protocol["trained on"] = resume.format_data(trained_on)
    return {
        "title": f"{os.path.basename(weights)} on {summary['samples']}",
        "warning": find_warning(config, loader, trained_on),
        "chosen": f"Weights {weights}: {summary['chosen']}",
        "loss": summary.get("loss"),
        "protocol": protocol,
        "streams": [],
        "curves": run_facts.draw_curves(history, chosen),
        "curves_note": source,
        "colors_note": "" if model is None else COLORS_NOTE,
        "settings": run_facts.list_settings(changes),
        "seed": config["RUN"]["seed"],
        "making": page.describe_making(run_card.describe_versions()),
        **scores.describe_result(summary, result, class_names, summary["protocol"]["average_clips"], draw),
    }


def find_warning(config: dict, loader, trained_on: dict | None) -> str | None:
    """Return a sentence if the weights were trained on what is scored, else None.

    Args:
        trained_on: TRAIN of `resume.describe_data`, where the checkpoint has it.
    """
    if trained_on is None or trained_on["digest"] != resume.describe_data(config, {"TEST": loader})["TEST"]["digest"]:
        return None
    return "OPTIMISTIC: the weights were trained on what is scored, so the figures say nothing of new samples."
