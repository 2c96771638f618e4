"""tools/gpu_check.py on a CPU, and, with a GPU's answers made up, what it says of them."""

import re

import numpy as np
import paddle
import pytest
from gpus import has_gpu

import models
import recipe
from tools import gpu_check
from tools.golden import vectors

GOLDEN = "r3d_resnet10_B_conv1t3_cls400"
FALLING = [2.0, 1.6, 1.2, 0.8, 0.4, 0.2, 0.1]


def read_rows(text):
    """The rows of all Markdown tables in a text, by their first two cells; titles and rules left out."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {tuple(row[:2]): row[2:] for row in rows if not set(row[0]) <= {"-"}}


def test_every_network_has_a_small_size():
    assert set(gpu_check.SMALL) == set(models.MODELS)


@pytest.mark.long
def test_the_tables_of_a_cpu(tmp_path, capsys):
    out = tmp_path / "cpu.md"
    words = ["--device", "cpu", "--models", "resnet", "--golden", GOLDEN, "--out", str(out), "--batch-size", "3"]
    assert gpu_check.main(words) == 0
    printed = capsys.readouterr().out
    assert out.read_text(encoding="utf-8") == printed
    assert f"Paddle {paddle.__version__}" in printed and "; small networks" in printed
    assert printed.endswith("PASS 2, FAIL 0, not run 2\n")
    rows = read_rows(printed)
    golden_row = next(row for key, row in rows.items() if key[0] == GOLDEN)
    assert golden_row[-1] == "PASS" and all(0 <= float(cell) < 1e-2 for cell in golden_row[:-1])
    first, last, speed, memory, megabytes, kernels, verdict = rows["resnet", "float32"]
    assert float(last) < float(first) / 2 and float(speed) > 0 and 0.1 < float(memory) < 4 and verdict == "PASS"
    assert megabytes == "0.15"  # 3 clips x 16 x 32 x 32 x 3 bytes, and 3 labels of 8 bytes
    assert re.fullmatch(r"\d{2,} operators", kernels)
    for precision in ("AMP O1", "AMP O2"):
        assert rows["resnet", precision] == [*[""] * 6, "not run: AMP needs a GPU"]


@pytest.mark.long
@pytest.mark.parametrize("name", list(models.MODELS))
def test_every_small_network_passes_on_a_cpu(name):
    args = gpu_check.parse_arguments(["--device", "cpu"])
    found = gpu_check.measure_training(name, "O0", args)
    assert len(found["losses"]) == 20 and gpu_check.judge_training(found["losses"], None) == []


@pytest.fixture
def answer(monkeypatch):
    """Act as a machine with a GPU whose processes answer what `answers` says; give (exit status, what is printed)."""
    started = []

    def answer(capsys, answers, *words):
        def start(script, *said, environment=None):
            what = said[said.index("--measure") + 1]
            started.append((what, environment))
            if isinstance(answers[what], OSError):
                raise answers[what]
            return f"a note of Paddle's\n{gpu_check.json.dumps(answers[what])}\n"

        monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
        monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(recipe, "choose_device", lambda use_gpu: None)
        monkeypatch.setattr(gpu_check, "run_script", start)
        status = gpu_check.main(["--models", "resnet", "--golden", GOLDEN, *words])
        return status, read_rows(capsys.readouterr().out), started

    return answer


def training(losses, kernels="812"):
    """What a process that trained says."""
    sizes = {"memory_gib": 3.456, "batch_size": 8, "num_bytes": 4_816_960, "kernels": kernels}
    return {"losses": losses, "seconds": [0.2, 0.1, 0.4], **sizes}


SOUND = {
    f"golden/{GOLDEN}": {"logits": 2e-6, "loss": 1e-7, "gradient norms": 3e-3},
    "resnet/O0": training(FALLING),
    "resnet/O1": training([1.01 * loss for loss in FALLING]),
    "resnet/O2": training([0.99 * loss for loss in FALLING], kernels=None),
}


def test_a_sound_gpu_passes(answer, capsys):
    status, rows, started = answer(capsys, SOUND)
    assert status == 0
    assert rows[GOLDEN, "2.0e-06"] == ["1.0e-07", "3.0e-03", "PASS"]
    assert rows["resnet", "float32"] == ["2.000", "0.100", "40.0", "3.46", "4.82", "812", "PASS"]
    assert rows["resnet", "AMP O1"][0] == "2.020" and rows["resnet", "AMP O1"][-1] == "PASS"
    assert rows["resnet", "AMP O2"][-2:] == ["not available", "PASS"]
    # Golden vectors are computed without TF32, training as it comes.
    assert started == [
        (f"golden/{GOLDEN}", {"NVIDIA_TF32_OVERRIDE": "0"}),
        *((f"resnet/{level}", None) for level in ("O0", "O1", "O2")),
    ]


@pytest.mark.parametrize(
    "what, found, verdict",
    [
        ("golden", {"logits": 2e-4, "loss": 1e-7, "gradient norms": 2e-2}, "FAIL: logits, gradient norms"),
        ("golden", {"logits": float("nan"), "loss": 1e-7, "gradient norms": 1e-5}, "FAIL: logits"),
        ("golden", OSError("out of memory"), "FAIL: out of memory"),
        (
            "O2",
            training([2.0, 0.5, 0.5, 0.5, 0.5, 1.1, 1.0]),
            "FAIL: 55 % of the first loss left, expected less than 50 %",
        ),
        ("O1", training([2.0, 1.0, float("nan"), 0.1]), "FAIL: loss nan in update 2"),
        ("O1", training([2.1, 1.5, 1.2, 0.8, 0.4, 0.2, 0.1]), "FAIL: first loss 2.100, in float32 2.000"),
        ("O2", training([2.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]), "FAIL: mean loss 0.371, in float32 0.900"),
        ("O2", OSError("cuDNN is missing"), "FAIL: cuDNN is missing"),
    ],
)
def test_one_fault_fails_its_row_and_the_whole(answer, capsys, what, found, verdict):
    place = f"golden/{GOLDEN}" if what == "golden" else f"resnet/{what}"
    status, rows, _ = answer(capsys, {**SOUND, place: found})
    assert status == 1
    assert [row[-1] for row in rows.values() if row[-1].startswith("FAIL")] == [verdict]
    assert sum(row[-1] == "PASS" for row in rows.values()) == 3


def test_mixed_precision_without_float32_does_not_pass(answer, capsys):
    status, rows, _ = answer(capsys, {**SOUND, "resnet/O0": OSError("killed")})
    assert status == 1 and rows["resnet", "float32"] == [*[""] * 6, "FAIL: killed"]
    for precision in ("AMP O1", "AMP O2"):
        assert rows["resnet", precision][-1] == "FAIL: no float32 training to compare it with"


def test_golden_vectors_are_compared_with_ours(monkeypatch):
    build = vectors.build

    def build_other(reference, gain):
        model = build(reference, gain)
        model.fc.weight.set_value(model.fc.weight * 1.1)
        return model

    monkeypatch.setattr(vectors, "build", build_other)
    errors = gpu_check.measure_golden(GOLDEN)
    assert all(errors[figure] > limit for figure, limit in gpu_check.MAX_ERRORS.items())


# A file of each kind that a default run reads: authors, and what is special about it.
KINDS = {
    "stgcn_ntu_spatial_hop2_noimp_T16": "quick",
    "pbgcn_ntu_DAD_nomask_T16": "quick",  # weights that have no part in the loss
    "pbgcn_ntu_4part_e2e_T32": "quick",  # an input that is made of joints
    "pyskl_stgcn_ntu_offset_post_MVC_T16": "quick",  # weights of several subsets in one of ours
    GOLDEN: "long",
    "r3d_resnet18_A": "long",  # a shortcut that the authors detach
    "mm_tsm_r50": "long",
    "orig_tsm_r50_sthv1_baseline": "long",
    "ctrgcn_ntu60_T32": "long",
    "infogcn_ntu60_k0_T16": "quick",
    "protogcn_ntu120_k_T20": "long",  # weights that only the losses of training need
    "hdgcn_ucla_com2_T26": "long",  # a convolution whose channels are split by layers of a hierarchy
    "degcn_ucla_1stream_T64": "long",  # an output for each stream in training
    "skateformer_ucla_T64": "quick",  # two inputs
    "msg3d_ntu60_T32": "long",
}


def test_every_kind_of_golden_file_is_checked():
    kinds = [{vectors.find_source(vectors.load(name)) for name in names} for names in (vectors.list_names(), KINDS)]
    assert kinds[0] - kinds[1] == {"pcan"} and len(gpu_check.list_golden("*")) == 65


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if pace == "long" else ()) for name, pace in KINDS.items()]
)
def test_a_golden_file_of_each_kind_passes_on_a_cpu(name):
    errors = gpu_check.measure_golden(name)
    assert all(0 <= errors[figure] < limit for figure, limit in gpu_check.MAX_ERRORS.items())


def test_a_golden_file_without_gradients_is_compared_without(monkeypatch):
    errors = gpu_check.measure_golden("msg3d_ntu60_T300_logits")
    assert errors.keys() == {"logits", "loss"} and max(errors.values()) < 1e-5
    monkeypatch.setattr(gpu_check, "list_golden", lambda pattern: ["msg3d_ntu60_T300_logits"])
    for found, verdict in ((errors, "PASS"), ({**errors, "loss": 1.0}, "FAIL: loss")):
        monkeypatch.setattr(gpu_check, "measure_in_process", lambda *_, found=found, **__: found)
        (row,) = gpu_check.compare_golden(gpu_check.parse_arguments(["--device", "cpu"]), [])
        assert row[-2:] == ["not in the file", verdict]


@pytest.mark.parametrize(
    "losses, faults",
    [
        ([2.0, 1.9, 2.4, 1.8], []),
        ([2.0, 1.9, 1.8, 2.0], ["100 % of the first loss left, expected less than 100 %"]),
        ([2.0, 1.0, 0.5, float("inf")], ["loss inf in update 3"]),
    ],
)
def test_a_short_training_need_only_learn(losses, faults):
    assert gpu_check.judge_training(losses, None, is_short=True) == faults


def test_a_network_learns_in_four_steps(capsys, monkeypatch):
    answers = {
        f"golden/{GOLDEN}": dict.fromkeys(gpu_check.MAX_ERRORS, 0.0),
        "stgcn/O0": training([1.4, 1.36, 1.3, 1.2]),
    }
    monkeypatch.setattr(gpu_check, "run_script", lambda *words, **_: gpu_check.json.dumps(answers[words[-1]]))
    words = ["--device", "cpu", "--golden", GOLDEN, "--models", "stgcn"]
    assert gpu_check.main([*words, "--steps", "4"]) == 0 and gpu_check.main(words) == 1
    assert "97 % of the first loss left, expected less than 50 %" in capsys.readouterr().out


def test_a_profile_counts_operators():
    x = paddle.ones([3])
    assert gpu_check.count_kernels(lambda: paddle.tanh(paddle.tanh(x))) == 2
    assert gpu_check.name_kernels(2) == "2 operators" and gpu_check.name_kernels(0) is None


def test_sizes_are_those_of_the_command_line():
    args = gpu_check.parse_arguments(["--device", "gpu", "--batch_size", "5"])
    config = gpu_check.make_config("resnet", "O1", args)
    assert config["RUN"]["amp_level"] == "O1" and config["MODEL"]["depth"] == 50
    assert recipe.device_batch_size(config) == 5 and config["READER"]["crop_size"] == 112
    args = gpu_check.parse_arguments(["--device", "gpu", "--small"])
    assert gpu_check.make_config("resnet", "O0", args)["MODEL"]["depth"] == 10


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_to_do():
    with pytest.raises(ValueError, match="--device gpu: Paddle .* has no GPU here; install .* --device cpu"):
        gpu_check.main([])


@pytest.mark.parametrize(
    "words, message",
    [
        (["--steps", "3"], "--steps is 3, expected at least 4"),
        (["--golden", "nothing*"], "--golden nothing*: no file of tests/golden that can be checked here has such"),
        (["--models", "resent"], "invalid choice: 'resent'"),
    ],
)
def test_words_that_mean_nothing_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(words)
    assert message in capsys.readouterr().err


def test_a_network_of_other_weights_is_told(monkeypatch):
    reference = vectors.load(GOLDEN)
    reference["grad_norms"] = {name: norm for name, norm in reference["grad_norms"].items() if name != "fc.bias"}
    monkeypatch.setattr(vectors, "load", lambda name: reference)
    with pytest.raises(ValueError, match=f"'{GOLDEN}': our network has other weights than the file"):
        gpu_check.measure_golden(GOLDEN)


def test_losses_that_are_not_finite_name_the_first(capsys):
    assert gpu_check.judge_training([1.0, np.inf, np.nan], None) == ["loss inf in update 1"]
