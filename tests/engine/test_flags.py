"""Flags that name one thing in two ways, and paths without a flag."""

import pytest

import train_streams
from engine import flags


@pytest.mark.parametrize(
    "words, config, weights",
    [
        ([], None, "checkpoints_models/resnet_model"),
        (["a"], None, "a"),
        (["--weights", "a"], None, "a"),
        (["c.txt", "a"], "c.txt", "a"),
        (["c.txt", "--weights", "a"], "c.txt", "a"),
        (["c.yaml", "--weights", "a"], "c.yaml", "a"),
        (["a", "--config", "c.txt"], "c.txt", "a"),
        (["c.txt"], "c.txt", "checkpoints_models/resnet_model"),
    ],
)
def test_a_path_without_a_flag_is_the_config_or_the_weights(words, config, weights):
    args = flags.parse_test(words)
    assert (args.config, args.weights) == (config, weights)


@pytest.mark.parametrize(
    "parse, words, message",
    [
        (flags.parse_train, ["a.txt", "--config", "b.txt"], "not allowed with argument"),
        (flags.parse_train, ["--resume", "a", "--pretrain", "b"], "--resume a goes on with the weights of that run"),
        (flags.parse_predict, ["a", "--weights", "b", "--input", "x"], "not allowed with argument"),
        (train_streams.parse_arguments, ["a.txt", "-o", "reader.stream=bone"], "the streams are those of --streams"),
    ],
)
def test_one_thing_said_in_two_ways_is_refused(parse, words, message, capsys):
    """One of the two was once dropped in silence."""
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_start_from_weights_may_be_resumed_by_the_same_command():
    args = flags.parse_train(["c.txt", "--resume", "--pretrain", "b"])
    assert (args.config, args.resume, args.pretrain) == ("c.txt", "auto", "b")
    assert flags.parse_train(["--config", "d.txt"]).config == "d.txt"
    assert flags.parse_train([]).config == "configs/resnet.txt"
