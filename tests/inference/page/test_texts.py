"""The sentences of the page, and which language a browser gets."""

import re

import pytest

from inference.page.texts import TEXTS, Refusal, choose_language, translate


@pytest.mark.parametrize(
    "setting, accepted, language",
    [
        ("auto", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("auto", "en-US,en;q=0.9,zh;q=0.8", "en"),
        ("auto", "fr-FR, zh-TW;q=0.5", "zh"),
        ("auto", "ZH-HK", "zh"),
        ("auto", "fr", "en"),
        ("auto", "zha", "en"),
        ("auto", "", "en"),
        ("zh", "en", "zh"),
        ("en", "zh", "en"),
    ],
)
def test_the_language_is_the_first_of_the_two_that_the_browser_asks_for(setting, accepted, language):
    assert choose_language(setting, accepted) == language


def test_both_languages_fill_in_the_same_values():
    for key, (english, chinese) in TEXTS.items():
        names = [re.findall(r"{(\w+)", text) for text in (english, chinese)]
        assert sorted(names[0]) == sorted(names[1]), key
        assert not re.search(r"[一-鿿]", english) and re.search(r"[一-鿿]", chinese), key


def test_a_refusal_says_its_reason_in_either_language():
    error = Refusal("too_long", seconds=130.4, max_seconds=120)
    assert str(error) == "it is 130 s long, up to 120 s are taken here; cut out the part you ask about."
    assert translate(error.key, "zh", **error.values) == "时长 130 秒，上限为 120 秒；请截取需要识别的部分。"
