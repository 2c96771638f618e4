"""The page of app.py in a real browser; tests/inference/page/test_answers.py tests what it stands on without one.

pip install -r requirements-app.txt playwright && apt-get install chromium
"""

import contextlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest
from paths import ROOT
from saved_models import CLASSES, save_model
from small_videos import make_frames, write_avi

from engine import flags
from inference.page.gradio_page import INSTALL

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HAS_GRADIO = importlib.util.find_spec("gradio") is not None
MISSING = [
    *([] if HAS_GRADIO else ["gradio (requirements-app.txt)"]),
    *([] if importlib.util.find_spec("playwright") else ["playwright (pip install playwright)"]),
    *([] if CHROMIUM else ["chromium (apt-get install chromium)"]),
]
in_a_browser = pytest.mark.skipif(bool(MISSING), reason=f"not here: {', '.join(MISSING)}")
WAIT_MS = 60_000
IS_IDLE = "!/processing [|]|queue: /.test(document.body.innerText)"
ANSWERED = "{} === document.querySelector('#message').innerText.match(/[^ \\n]+[.]avi/)?.[0]"  # a file's name


def start(folder, *words):
    """Start app.py in a folder of its own, whose temporary files lie in `tmp`; return the process and the address."""
    os.makedirs(folder / "tmp")
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "app.py"), *words, "--use_gpu", "False"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        found = re.search(r"open in a browser: (\S+)", line)
        if found:
            return process, found[1]
    raise AssertionError(f"app.py ended with status {process.wait()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A page with two networks; its folder and its address. When it ends, nothing is left of what was uploaded."""
    folder = tmp_path_factory.mktemp("page")
    weights = [save_model(folder / name) for name in ("first_model", "second_model")]
    write_avi(folder / "examples" / "Walk" / "example.avi", make_frames(12))
    words = ["--examples", str(folder / "examples"), "--max_seconds", "2", "--max_mb", "1"]
    process, address = start(folder, *weights, *words)
    yield folder, address
    assert os.listdir(folder / "tmp")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert os.listdir(folder / "tmp") == []


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    with importlib.import_module("playwright.sync_api").sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def open_pages(server, browser, *locales):
    """Open the page in a window for each language; every request must go to the page's own server."""
    requests, pages = [], []
    for locale in locales:
        pages.append(browser.new_context(locale=locale).new_page())
        pages[-1].on("request", lambda request: requests.append(request.url))
        pages[-1].goto(server[1], wait_until="domcontentloaded")
    for page in pages:
        page.wait_for_selector("#run", timeout=WAIT_MS)
    yield pages
    assert len(requests) > 10
    assert [url for url in requests if not url.startswith((server[1], "data:", "blob:"))] == []


def upload(page, path):
    """Give a file, in place of one that is there."""
    if not page.locator("#upload input[type=file]").count():
        page.locator("#upload button[aria-label=Clear]").click()
    page.set_input_files("#upload input[type=file]", str(path))
    page.wait_for_selector(f"#upload :text('{os.path.splitext(path.name)[0]}')", timeout=WAIT_MS)


def read_answer(page, name):
    """Press the button and return the message about the file of that name."""
    page.click("#run")
    return wait_for_answer(page, name)


def wait_for_answer(page, name):
    """Return the message, once it is about the file of that name."""
    page.wait_for_function(ANSWERED.format(json.dumps(name)), timeout=WAIT_MS)
    page.wait_for_function(IS_IDLE, timeout=WAIT_MS)
    return page.inner_text("#message")


def download(page, server, suffix):
    """Return the text of the file of that suffix that the page offers."""
    link = page.locator(f"#files a[href*='{suffix}']").first.get_attribute("href")
    with urllib.request.urlopen(urllib.request.Request(link)) as answer:
        return answer.read().decode("utf-8-sig")


@in_a_browser
@pytest.mark.long
def test_the_page_in_two_browsers(server, browser):
    """One session for all: most of the time goes into starting the networks, the page and Chromium."""
    with open_pages(server, browser, "en-US", "zh-CN") as (page, other):
        assert [each.inner_text("#run") for each in (page, other)] == ["Recognize", "识别"]
        check_limits(server[0], page)
        check_answer(server, page)
        check_broken(server[0], page)
        check_two_at_once(server[0], page, other)
        check_example(server, page)


def check_limits(folder, page):
    """A video that is too long gets a sentence."""
    page.wait_for_selector("#notes :text('up to 1 MB and 2 s')", timeout=WAIT_MS)
    upload(page, write_avi(folder / "long.avi", make_frames(60)))
    assert "it is 2 s long, up to 2 s are taken here" in read_answer(page, "long.avi")


def check_answer(server, page):
    """A video is answered: message, bars, a video that plays, a json with the explanation that was asked for."""
    upload(page, write_avi(server[0] / "one.avi", make_frames(12)))
    page.check("#explain input")
    message = read_answer(page, "one.avi")
    page.uncheck("#explain input")
    assert re.fullmatch(r"(.+) \d+\.\d%\n\s*one\.avi: 0\.5 s, 12 frames", message)
    result = json.loads(download(page, server, ".json"))
    assert (result["input"], result["num_frames"]) == ("one.avi", 12)
    assert message.startswith(result["top_k"][0]["class"])
    assert result["explain"]["class"] == result["top_k"][0]["class"] and len(result["explain"]["frames"]["rgb"]) == 12
    page.wait_for_function("document.querySelector('#drawn video').videoWidth === 640", timeout=WAIT_MS)  # it plays
    assert set(page.locator("#bars").inner_text().split("\n")) & set(CLASSES)


def check_broken(folder, page):
    """A broken file after a good one gets a sentence, and the answer of that one is gone."""
    (folder / "broken.avi").write_bytes((folder / "one.avi").read_bytes()[:700])
    upload(page, folder / "broken.avi")
    assert re.match(r"No answer for broken\.avi: broken\.avi: .+ FFmpeg cannot read", read_answer(page, "broken.avi"))
    assert page.locator("#drawn video").count() == 0 and page.locator("#files a").count() == 0


def check_two_at_once(folder, *pages):
    """Each of two browsers gets its own answer, also after a broken file."""
    for page, (name, number) in zip(pages, (("a.avi", 14), ("b.avi", 15)), strict=True):
        upload(page, write_avi(folder / name, make_frames(number)))
    for page in pages:
        page.click("#run")
    assert "a.avi: 0.6 s, 14 frames" in wait_for_answer(pages[0], "a.avi")
    assert "b.avi：0.6 秒，15 帧" in wait_for_answer(pages[1], "b.avi")


def check_example(server, page):
    """An example is answered by the network that was chosen."""
    page.click("#network input")
    page.get_by_role("option", name="second_model").click()
    page.get_by_role("button", name="example.avi").click()
    page.wait_for_selector("#upload :text('example')", timeout=WAIT_MS)
    assert "12 frames" in read_answer(page, "example.avi")
    result = json.loads(download(page, server, ".json"))
    assert result["weights"].endswith("second_model") and "explain" not in result


@pytest.mark.skipif(HAS_GRADIO, reason="Gradio is installed here")
def test_without_gradio_a_sentence_says_what_to_install(tmp_path):
    command = [sys.executable, str(ROOT / "app.py"), "x"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stdout == ""
    assert re.fullmatch(rf"ValueError: app\.py needs Gradio, .+; install it: {INSTALL}\n?", ended.stderr)
    assert os.listdir(tmp_path) == []


def test_flags(capsys):
    assert flags.parse_app(["a", "b"]).weights == ["a", "b"] == flags.parse_app(["--weights", "a", "b"]).weights
    assert flags.parse_app([]).examples == "data/samples"
    for words in (["--max_mb", "0"], ["--language", "fr"], ["a", "--weights", "b"]):
        with pytest.raises(SystemExit) as ended:
            flags.parse_app(words)
        assert ended.value.code == 2 and words[0].strip("-") in capsys.readouterr().err
