"""ensemble.py on score files made by hand: what it fuses, prints, writes and searches, and what it refuses."""

import csv
import json
import pathlib
import shutil
import time

import numpy as np
import pytest
from report_pages import ReportPage

import ensemble
from common import files
from engine import report

CLASSES = ["clap", "kick", "wave"]
NAMES = ["v1", "v2", "v3", "v4"]
LABELS = [0, 1, 2, 2]
# The first file is right on v1, v3 and v4; the second one on v1 and v2, and wrong by little where the first is sure.
FIRST = [[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.1, 0.0, 0.9], [0.0, 0.2, 0.8]]
SECOND = [[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.5, 0.1, 0.4], [0.4, 0.3, 0.3]]


def write_file(path, scores, names=NAMES, labels=LABELS, class_names=CLASSES, kind="prob"):
    """Write a score file as test.py does and return its path."""
    result = {"names": names, "labels": np.array(labels), "scores": np.array(scores, np.float64)}
    report.write_scores(str(path), result, list(class_names), {"average_clips": kind, "filelist": "test.list"})
    return str(path)


@pytest.fixture
def pair(tmp_path):
    """The paths of the two files; the second one has its samples in another order."""
    order = [2, 0, 3, 1]
    second = [[rows[index] for index in order] for rows in (SECOND, NAMES, LABELS)]
    return write_file(tmp_path / "a.pkl", FIRST), write_file(tmp_path / "b.pkl", *second)


def list_lines(text, start):
    """The words of the printed lines that begin with `start`."""
    return [line[len(start) :].split() for line in text.splitlines() if line.startswith(start)]


def test_the_table_joins_by_name(pair, capsys):
    ensemble.main([*pair])
    out = capsys.readouterr().out
    # By hand: file one has 3 of 4 right, by class 1, 0, 1; file two has 2 of 4, by class 1, 1, 0; the sum has all.
    assert list_lines(out, pair[0]) == [["1", "75.00%", "100.00%", "66.67%"]]
    assert list_lines(out, pair[1]) == [["1", "50.00%", "100.00%", "66.67%"]]
    assert list_lines(out, "fused, weighted mean of probabilities") == [["100.00%", "100.00%", "100.00%"]]
    assert f"best single file, {pair[0]}: +25.00 points of top-1" in " ".join(out.split())
    assert "4 samples; chance 33.33%, always the largest class 50.00%" in out
    assert "top-3" in out and "top-5" not in out
    ensemble.main([pair[1], pair[0]])
    assert f"best single file, {pair[0]}: +25.00 points of top-1" in " ".join(capsys.readouterr().out.split())


def test_logits_are_divided_by_their_norms(tmp_path, capsys):
    loud, quiet = [[30, 40, 0], [0, 50, 0], [0, 0, 9], [0, 3, 4]], [[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1], [0, 0, 1]]
    paths = [write_file(tmp_path / f"{name}.pkl", rows, kind="score") for name, rows in (("a", loud), ("b", quiet))]
    ensemble.main([*paths, "--l2_norm", "--out", str(tmp_path / "fused.pkl")])
    fused = files.load_pickle(str(tmp_path / "fused.pkl"))
    assert fused["scores"]["v1"] == pytest.approx([0.8, 0.4, 0])  # (0.6, 0.8, 0) and (1, 0, 0): right, alone it is not
    assert fused["scores"]["v4"] == pytest.approx([0, 0.3, 0.9])
    with pytest.raises(ValueError, match="--l2_norm: '.*c.pkl' is fused as probabilities, expected logits; score"):
        ensemble.main([write_file(tmp_path / "c.pkl", FIRST), "--l2_norm"])


def test_weights_count(pair, capsys):
    ensemble.main([*pair, "--weights", "0.1", "2"])
    assert list_lines(capsys.readouterr().out, "fused, weighted mean of probabilities")[0][0] == "50.00%"


@pytest.mark.parametrize(
    "words, weights",
    [
        (["1", "2.5"], [1, 2.5]),
        (["2:2:1:1"], [2, 2, 1, 1]),
        (["equal"], [1, 1, 1]),
        (["two-stream"], [1, 1]),
        (["two_stream"], [1, 1]),
        (["four_stream"], [2, 2, 1, 1]),
        (["ctrgcn"], [0.6, 0.6, 0.4, 0.4]),
        (["three_stream"], [0.4, 0.3, 0.3]),
    ],
)
def test_weights_are_read_as_numbers_a_ratio_or_a_name(words, weights):
    assert ensemble.read_weights(words, len(weights)).tolist() == weights


@pytest.mark.parametrize(
    "words, message",
    [
        (["ctrgcn"], "--weights ctrgcn: these are 4 weights, for 2 score files"),
        (["1", "1", "1"], "--weights 1 1 1: these are 3 weights, for 2 score files"),
        (
            ["ctrgnc"],
            "--weights ctrgnc: expected numbers or a name; did you mean 'ctrgcn'\\? \\(known: equal, two_stream",
        ),
        (["2", "-1"], "--weights 2 -1: expected numbers from 0"),
        (["0:0"], "--weights 0:0: expected numbers from 0, at least one of them above 0"),
        (["nan", "1"], "expected numbers from 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        ensemble.read_weights(words, 2)


def test_a_fused_file_can_be_fused_again(pair, tmp_path, capsys):
    fused, twice = str(tmp_path / "fused.pkl"), str(tmp_path / "twice.pkl")
    ensemble.main([*pair, "--weights", "3:1", "--out", fused])
    content = files.load_pickle(fused)
    assert content["class_names"] == CLASSES and content["labels"] == dict(zip(NAMES, LABELS, strict=True))
    np.testing.assert_allclose(content["scores"]["v2"], [0.4, 0.5, 0.1], rtol=1e-6)  # (3 FIRST + SECOND) / 4
    assert content["protocol"]["average_clips"] == "prob"
    assert content["protocol"]["samples"] == "all samples of the files"
    members = content["protocol"]["fused"]
    assert [(one["file"], one["weight"], one["protocol"]["filelist"]) for one in members] == [
        (pair[0], 3.0, "test.list"),
        (pair[1], 1.0, "test.list"),
    ]
    ensemble.main([fused, pair[1], "--out", twice])
    np.testing.assert_allclose(files.load_pickle(twice)["scores"]["v2"], [0.25, 0.65, 0.1], rtol=1e-6)
    assert f"written: {twice}" in capsys.readouterr().out


def test_result_files_are_those_of_test_py(pair, tmp_path):
    ensemble.main([*pair, "--out", str(tmp_path / "r.json")])
    result = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert result["summary"]["top1"] == 1.0 and result["summary"]["files"][pair[0]]["top1"] == 0.75
    assert result["samples"][1]["video"] == "v2" and result["samples"][1]["predictions"][0] == ["kick", 0.6]
    ensemble.main([*pair, "--out", str(tmp_path / "r.csv")])
    with open(tmp_path / "r.csv", encoding="utf-8-sig") as file:
        assert list(csv.reader(file))[1][:4] == ["v1", "clap", "clap", "0.65"]
    with pytest.raises(ValueError, match="--out r.txt: expected a name that ends in"):
        ensemble.main([*pair, "--out", "r.txt"])


def test_logits_and_probabilities_are_mixed_on_demand_only(pair, tmp_path):
    # Logits whose soft-max is [0.2, 0.2, 0.6] for every sample, far from 0 so that a plain exp overflows.
    logits = write_file(tmp_path / "l.pkl", np.log([[1.0, 1.0, 3.0]] * 4) + 900, kind="score")
    with pytest.raises(ValueError, match="a.pkl' holds probabilities and '.*l.pkl' holds logits; add --softmax"):
        ensemble.main([pair[0], logits])
    out = str(tmp_path / "o.pkl")
    ensemble.main([pair[0], logits, "--softmax", "--out", out])
    content = files.load_pickle(out)
    np.testing.assert_allclose(content["scores"]["v1"], [0.5, 0.15, 0.35], rtol=1e-4)  # float32 of 900
    assert content["protocol"]["average_clips"] == "prob"


def test_logits_alone_are_summed_as_they_are(tmp_path, capsys):
    one = write_file(tmp_path / "a.pkl", np.array(FIRST) * 10, kind="score")
    two = write_file(tmp_path / "b.pkl", -np.array(FIRST), kind="score")
    out = str(tmp_path / "o.pkl")
    ensemble.main([one, two, "--out", out])
    content = files.load_pickle(out)
    np.testing.assert_allclose(content["scores"]["v3"], [0.45, 0, 4.05], rtol=1e-6)
    assert content["protocol"]["average_clips"] == "score"
    assert "weighted mean of logits" in capsys.readouterr().out


def test_the_same_scores_twice_are_warned_of(pair, tmp_path, capsys):
    copy = shutil.copy(pair[0], tmp_path / "copy.pkl")
    ensemble.main([*pair, str(copy)])
    out = capsys.readouterr().out
    assert f"WARNING: '{copy}' holds the same scores as '{pair[0]}'" in out
    ensemble.main([*pair])
    assert "WARNING" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"names": ["v1", "v2", "w3", "w4"]},
            r"hold different samples: 2 only in the first \(v3, v4\) and 2 only in the second \(w3, w4\), 2 in both",
        ),
        (
            {"names": NAMES[:3], "labels": LABELS[:3], "scores": SECOND[:3]},
            r"1 only in the first \(v4\) and 0 only in the second, 3 in both; score the same list",
        ),
        ({"names": ["V1", "v2", "V3", "v4"]}, "2 in both; they differ by the case of letters alone: give the samples"),
        ({"names": [f"{name}.avi" for name in NAMES]}, "0 in both; they differ by the suffix alone: give the samples"),
        ({"names": [f"a/{name}" for name in NAMES]}, "0 in both; they differ by the folder alone: give the samples"),
        ({"names": [f"a/V{name[1:]}.mp4" for name in NAMES]}, "they differ by case, folder or suffix alone"),
        (
            {"scores": np.log(np.array(SECOND) + 1e-9)},
            r"b.pkl': 4 of 4 samples have scores that are no probabilities, .* such as 'v1' \(from -1.609, sum -3.5",
        ),
        ({"scores": [*SECOND[:3], [4.0, 3.0, 3.0]]}, "1 of 4 samples .* such as 'v4' .from 3, sum 10.; write logits"),
        ({"labels": [0, 1, 1, 0]}, r"'v3' has label 2 in the one and 1 in the other \(2 samples differ\)"),
        ({"class_names": ["clap", "Kick", "wave"]}, "class 1 is 'kick' in the one and 'Kick' in the other"),
        (
            {"class_names": ["clap", "kick"], "scores": np.full((4, 2), 0.5), "labels": [0, 1, 1, 1]},
            "have scores for 3 and 2 classes",
        ),
        (
            {"scores": [*SECOND[:2], [np.nan, 0, 1], SECOND[3]]},
            "b.pkl': 1 of 4 samples have scores that are nan or infinite, such as 'v3'",
        ),
        ({"scores": [*SECOND[:3], [np.inf, 0, 1]]}, "nan or infinite, such as 'v4'"),
        ({"class_names": CLASSES[:2]}, r"b.pkl': scores of shape \[\(3,\)\], expected 2, one a class"),
        ({"kind": None}, "average_clips None, expected 'prob' or 'score'"),
    ],
)
def test_files_that_differ_are_refused_and_shown(pair, tmp_path, changes, message):
    write_file(tmp_path / "b.pkl", **{"scores": SECOND, **changes})
    with pytest.raises(ValueError, match=message):
        ensemble.main([*pair])


def test_what_is_no_score_file_is_refused(pair, tmp_path):
    with pytest.raises(FileNotFoundError, match="none.pkl' does not exist"):
        ensemble.main([pair[0], str(tmp_path / "none.pkl")])
    other = str(tmp_path / "other.pkl")
    files.dump_pickle({"summary": {}, "scores": np.zeros(3)}, other)  # what test.py --out x.pkl writes
    with pytest.raises(ValueError, match="no score file: it holds summary, scores, expected class_names.*give the"):
        ensemble.main([pair[0], other])
    files.dump_pickle({"scores": np.zeros(3), "labels": [0], "class_names": ["a"], "protocol": {}}, other)
    with pytest.raises(ValueError, match="its scores, labels and protocol are ndarray, list, dict, its class names a "):
        ensemble.main([other, pair[0]])
    files.dump_pickle([1], other)
    with pytest.raises(ValueError, match="it holds a list, expected"):
        ensemble.main([other, pair[0]])
    path = write_file(tmp_path / "few.pkl", FIRST)
    content = files.load_pickle(path)
    files.dump_pickle({**content, "labels": {"v1": 0}}, path)
    with pytest.raises(ValueError, match="few.pkl': 4 samples have scores, 1 have labels"):
        ensemble.main([path])


def draw_streams(tmp_path, num_samples=300, seed=0):
    """Write a file that knows the label, one that is noise, and one that knows it less well; return the paths."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, num_samples)
    paths = []
    for name, strength, noise in (("good", 1, 0.8), ("noise", 0, 3.0), ("fair", 1, 1.0)):
        scores = strength * np.eye(3)[labels] + noise * rng.standard_normal((num_samples, 3))
        names = [f"s{index:03d}" for index in range(num_samples)]
        paths.append(write_file(tmp_path / f"{name}.pkl", scores, names, labels, kind="score"))
    return paths


def test_networks_of_other_training_samples_are_told(pair, tmp_path, capsys):
    content = [files.load_pickle(path) for path in pair]
    for each, digest in zip(content, ("a1", "b2"), strict=True):
        each["protocol"]["trained_on"] = {"samples": f"x.pkl split {digest}", "num_samples": 3, "digest": digest}
    files.dump_pickle(content[0], pair[0])
    ensemble.main([*pair])
    assert "trained on other samples" not in capsys.readouterr().out  # the second file does not say its samples
    files.dump_pickle(content[1], pair[1])
    ensemble.main([*pair])
    out = capsys.readouterr().out
    assert "ensemble: WARNING: trained on other samples, which may be among the scored ones: " in out
    assert "a.pkl' on x.pkl split a1 (a1), " in out and "b.pkl' on x.pkl split b2 (b2)" in out
    fused = [str(tmp_path / f"{name}.pkl") for name in "xy"]  # what is fused keeps what it is made of
    for path, out in zip(pair, fused, strict=True):
        ensemble.main([path, "--out", out])
    capsys.readouterr()
    ensemble.main([fused[0], fused[0]])
    assert "trained on other samples" not in capsys.readouterr().out
    ensemble.main([fused[0], fused[1]])
    out = capsys.readouterr().out
    assert "x.pkl' on x.pkl split a1 (a1), " in out and "y.pkl' on x.pkl split b2 (b2)" in out


def test_a_search_finds_the_useless_file_and_tells_the_honest_figure(tmp_path, capsys):
    paths, out = draw_streams(tmp_path), str(tmp_path / "o.pkl")
    ensemble.main([*paths, "--search", "--out", out])
    printed = capsys.readouterr().out
    weights = list_lines(printed, "searched on 150 samples, half of each class by seed 0: --weights")[0]
    assert float(weights[1]) <= 0.3 and min(float(weights[0]), float(weights[2])) >= 0.5
    assert "OPTIMISTIC: they chose the weights" in printed
    assert "the other 150 samples, which the search has not seen: the honest figure" in printed
    assert printed.count("150 samples") == 3  # the last line counts the samples of the table
    content = files.load_pickle(out)
    assert len(content["scores"]) == 150
    assert content["protocol"]["samples"].startswith("150 of 300 samples, those that the weight search (seed 0)")
    # The table is of the samples in the file, and of no others.
    right = sum(int(content["scores"][name].argmax()) == label for name, label in content["labels"].items())
    fused = list_lines(printed, "fused, weighted mean of logits")[0]
    assert fused[0] == f"{100 * right / 150:.2f}%"
    equal = list_lines(printed, "with equal weights the same samples have top-1")[0]
    assert float(fused[0][:-1]) > float(equal[0][:-1])
    # The same command, the same words; another seed, another half.
    ensemble.main([*paths, "--search", "--out", out])
    assert capsys.readouterr().out == printed
    ensemble.main([*paths, "--search", "--seed", "1", "--out", out])
    assert set(files.load_pickle(out)["scores"]) != set(content["scores"])


def test_the_other_half_has_no_say_in_the_weights(tmp_path):
    streams = [ensemble.read_scores(path) for path in draw_streams(tmp_path)]
    weights, other_half, _ = ensemble.search_on_half(streams, 0)
    others = [streams[0].names.index(name) for name in other_half[0].names]
    for stream in streams:
        stream.scores[others] = -stream.scores[others]  # now right where it was wrong
    assert ensemble.search_on_half(streams, 0)[0].tolist() == weights.tolist()
    assert ensemble.search_on_half(streams, 1)[0].tolist() != weights.tolist()  # others that it sees have a say


def test_the_halves_share_no_sample_and_split_every_class():
    labels = np.repeat([0, 1, 2], [10, 7, 2])
    seen, unseen = ensemble.split_in_halves(labels, 5)
    assert sorted([*seen, *unseen]) == list(range(19))
    counts = [np.bincount(labels[half], minlength=3) for half in (seen, unseen)]
    assert np.abs(counts[0] - counts[1]).max() <= 1 and abs(len(seen) - len(unseen)) == 1


def test_files_that_are_equally_good_keep_equal_weights(tmp_path):
    stream = ensemble.read_scores(write_file(tmp_path / "a.pkl", FIRST))
    weights, accuracy = ensemble.search_weights([stream, stream])
    assert weights.tolist() == [1, 1] and accuracy == 0.75


def test_a_search_needs_two_files_and_chooses_its_own_weights(pair, capsys):
    with pytest.raises(ValueError, match="--search: 1 file of 4 samples, expected at least two"):
        ensemble.main([pair[0], "--search"])
    with pytest.raises(SystemExit):
        ensemble.main([*pair, "--search", "--weights", "1", "1"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_it_runs_as_a_script_without_paddle(pair, run_script, tmp_path):
    (tmp_path / "paddle.py").write_text("raise OSError('nobody needs Paddle here')\n")
    start_s = time.monotonic()
    done = run_script("ensemble.py", *pair, "--weights", "two-stream", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "100.00%" in done.stdout
    assert time.monotonic() - start_s < 10  # under a second on an idle machine; importing Paddle takes two
    done = run_script("ensemble.py", pair[0], tmp_path / "none.pkl")
    assert done.returncode == 1 and done.stderr.startswith("FileNotFoundError: ")


def test_no_fused_file_is_lost_to_the_result(pair, tmp_path):
    before = pathlib.Path(pair[0]).read_bytes()
    with pytest.raises(ValueError, match="a.pkl is one of the files that are fused, and would be lost"):
        ensemble.main([*map(str, pair), "--out", str(tmp_path / "x" / ".." / "a.pkl")])
    assert pathlib.Path(pair[0]).read_bytes() == before


def test_the_report_has_the_table_of_the_streams(pair, tmp_path, capsys):
    ensemble.main([*pair, "--weights", "1", "2", "--out", str(tmp_path / "fused_scores.pkl")])
    page, fused = ReportPage(tmp_path / "fused_report.html"), files.load_pickle(tmp_path / "fused_scores.pkl")
    right = [int(fused["scores"][name].argmax()) == label for name, label in fused["labels"].items()]
    assert page.rows["streams"][1:3] == [
        [pair[0], "1", "75.00%", "100.00%", "66.67%"],
        [pair[1], "2", "50.00%", "100.00%", "66.67%"],
    ]
    assert page.rows["streams"][3][:3] == ["fused", "", f"{100 * sum(right) / 4:.2f}%"]
    assert page.figures["top-1"] == sum(right) / 4 and len(page.cards["least_sure"]) == 4
    (tmp_path / "other_report.html").mkdir()
    ensemble.main([*pair, "--out", str(tmp_path / "other.json")])
    assert "no report: " in capsys.readouterr().out and (tmp_path / "other.json").is_file()
