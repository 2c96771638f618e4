"""The page of app.py in a real browser; tests/inference/test_page_answers.py tests what it stands on without one.

pip install -r requirements-app.txt playwright && apt-get install chromium
"""

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
from inference.page import INSTALL

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


@pytest.fixture
def open_page(server, browser):
    """A function that opens the page in a window of its own; every request must go to the page's own server."""
    contexts, requests = [], []

    def open_in(locale="en-US"):
        contexts.append(browser.new_context(locale=locale))
        page = contexts[-1].new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.goto(server[1])
        page.wait_for_selector("#run", timeout=WAIT_MS)
        return page

    yield open_in
    assert len(requests) > 10
    assert [url for url in requests if not url.startswith((server[1], "data:", "blob:"))] == []
    for context in contexts:
        context.close()


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
def test_uploads_one_after_the_other_are_answered_and_a_broken_one_gets_a_sentence(server, open_page):
    folder, page = server[0], open_page()
    one, two = (write_avi(folder / name, make_frames(number)) for name, number in (("one.avi", 12), ("two.avi", 24)))
    broken = folder / "broken.avi"
    broken.write_bytes(one.read_bytes()[:700])
    upload(page, one)
    message = read_answer(page, "one.avi")
    assert re.fullmatch(r"(.+) \d+\.\d%\n\s*one\.avi: 0\.5 s, 12 frames", message)
    result = json.loads(download(page, server, ".json"))
    assert (result["input"], result["num_frames"]) == ("one.avi", 12)
    assert message.startswith(result["top_k"][0]["class"])
    assert download(page, server, ".csv").splitlines()[1].split(",")[4] == result["top_k"][0]["class"]
    page.wait_for_function("document.querySelector('#drawn video').videoWidth === 640", timeout=WAIT_MS)  # it plays
    assert set(page.locator("#bars").inner_text().split("\n")) & set(CLASSES)

    upload(page, broken)
    assert re.match(r"No answer for broken\.avi: broken\.avi: .+ FFmpeg cannot read", read_answer(page, "broken.avi"))
    assert page.locator("#drawn video").count() == 0 and page.locator("#files a").count() == 0
    upload(page, two)
    assert "24 frames" in read_answer(page, "two.avi")


@in_a_browser
@pytest.mark.long
def test_two_at_once_each_get_their_own_answer(server, open_page):
    folder, pages = server[0], [open_page(), open_page("zh-CN")]
    assert [page.inner_text("#run") for page in pages] == ["Recognize", "识别"]
    for page, (name, number) in zip(pages, (("a.avi", 14), ("b.avi", 15)), strict=True):
        upload(page, write_avi(folder / name, make_frames(number)))
    for page in pages:
        page.click("#run")
    assert "a.avi: 0.6 s, 14 frames" in wait_for_answer(pages[0], "a.avi")
    assert "b.avi：0.6 秒，15 帧" in wait_for_answer(pages[1], "b.avi")


@in_a_browser
@pytest.mark.long
def test_limits_are_said_and_an_example_is_answered_by_the_network_that_was_chosen(server, open_page):
    folder, page = server[0], open_page()
    assert "up to 1 MB and 2 s" in page.inner_text("#notes")
    upload(page, write_avi(folder / "long.avi", make_frames(60)))
    assert "it is 2 s long, up to 2 s are taken here" in read_answer(page, "long.avi")
    page.click("#network input")
    page.get_by_role("option", name="second_model").click()
    page.get_by_role("button", name="example.avi").click()
    page.wait_for_selector("#upload :text('example')", timeout=WAIT_MS)
    assert "12 frames" in read_answer(page, "example.avi")
    assert json.loads(download(page, server, ".json"))["weights"].endswith("second_model")


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
