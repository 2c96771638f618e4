"""The page of app.py, built of Gradio's parts: what is given on the left, the answer on the right.

Nothing is asked of the network: no telemetry, no fonts or scripts of other servers, no link to share unless wanted.
"""

import argparse
import functools
import importlib
import os
from types import ModuleType

from inference.page.answers import Answerer, PageNetwork, find_examples
from inference.page.texts import LANGUAGES, TEXTS, choose_language, translate

INSTALL = "pip install -r requirements-app.txt"
CLEAN_EVERY_S, MAX_AGE_S = 600, 3600  # of files in Gradio's cache
TABLE = ("from", "to", "class", "probability")  # keys of its headers
MAX_WAITING = 20  # uploads in the queue
LOCALES = ("en", "zh", "zh-CN", "zh-TW", "zh-HK")
FONTS = (["system-ui", "sans-serif"], ["ui-monospace", "monospace"])  # of the system: none is fetched
AT_ONCE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}  # of an event
CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}, "audio": False}
OWN_SERVER_ONLY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' data: blob:; object-src 'none'"
)
SET_BROWSER_LANGUAGE = """<script>
for (const [name, value] of [["language", "LOCALE"], ["languages", ["LOCALE"]]])
    Object.defineProperty(navigator, name, {get: () => value});
</script>"""


def load_gradio(cache: str) -> ModuleType:
    """Import and return Gradio with its telemetry off.

    Args:
        cache: folder for what is uploaded and shown.

    Raises:
        ValueError: it is not installed.
    """
    os.environ.update(GRADIO_TEMP_DIR=cache, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    try:
        return importlib.import_module("gradio")
    except ImportError as error:
        raise ValueError(f"app.py needs Gradio, which cannot be imported ({error}); install it: {INSTALL}") from error


def make_translations(gr: ModuleType, language: str):
    """Return `gr.I18n` with the page's texts, `page_` before each key; a fixed language is that of every browser.

    Gradio has keys of its own, such as `video`.
    """
    tables = {
        name: {f"page_{key}": texts[index] for key, texts in TEXTS.items()} for index, name in enumerate(LANGUAGES)
    }
    return gr.I18n(**{locale: tables[language if language != "auto" else locale[:2]] for locale in LOCALES})


def build_page(gr: ModuleType, networks: dict[str, PageNetwork], answerer: Answerer, args: argparse.Namespace, text):
    """Return the `gr.Blocks`.

    Args:
        networks: {title: network}, in the order of the choice.
        args: of app.py.
        text: see `make_translations`.
    """
    cleaning = {"delete_cache": (CLEAN_EVERY_S, MAX_AGE_S)}
    with gr.Blocks(title="Action recognition", analytics_enabled=False, **cleaning) as page:
        gr.Markdown(text("page_title"), elem_id="title")
        notes = gr.Markdown(elem_id="notes")
        with gr.Row():
            with gr.Column():
                inputs = _add_inputs(gr, networks, text)
                explain = gr.Checkbox(label=text("page_explain"), info=text("page_explain_info"), elem_id="explain")
                button = gr.Button(text("page_run"), variant="primary", elem_id="run")
                examples = _add_examples(gr, networks, inputs[-3:], args.examples, text)
            with gr.Column():
                outputs = _add_outputs(gr, text)
        _connect_inputs(gr, networks, inputs, examples)
        _connect_answers(gr, page, networks, answerer, args, (inputs, explain, button, notes, outputs))
    return page


def _add_inputs(gr: ModuleType, networks: dict, text) -> list:
    """Add the choice of a network, the group of the video, its file, its recording, and the file of key points."""
    first, camera = next(iter(networks.values())), gr.WebcamOptions(mirror=False, constraints=CAMERA)
    choice = gr.Dropdown(list(networks), label=text("page_network"), visible=len(networks) > 1, elem_id="network")
    with gr.Column(visible=first.reads_videos) as videos, gr.Tabs():
        with gr.Tab(text("page_upload")):
            upload = gr.File(label=text("page_video_file"), elem_id="upload")
        with gr.Tab(text("page_record")):
            recording = gr.Video(
                label=text("page_recording"),
                sources=["webcam"],
                include_audio=True,  # as it is: leaving out what CAMERA does not record would take ffmpeg
                webcam_options=camera,
                elem_id="recording",
            )
    keypoints = gr.File(label=text("page_keypoints"), visible=first.reads_keypoints, elem_id="keypoints")
    return [choice, videos, upload, recording, keypoints]


def _add_examples(gr: ModuleType, networks: dict, inputs: list, folder: str, text) -> list:
    """Add a row of examples for each network, only the first one visible."""
    rows = []
    for number, network in enumerate(networks.values()):
        found = find_examples(folder, network)
        names = [os.path.basename(video or keypoints) for video, keypoints in found]
        with gr.Column(visible=not number) as row:
            if found:
                samples = [[video, None, keypoints] for video, keypoints in found]
                shown = gr.Examples(
                    samples, inputs, label=text("page_examples"), example_labels=names, examples_per_page=len(names)
                )
                unused = [part for part, value in zip(inputs, samples[0], strict=True) if value is None]
                shown.dataset.click(functools.partial(_clear, len(unused)), None, unused, **AT_ONCE)
        rows.append(row)
    return rows


def _clear(count: int) -> list | None:
    """Return the values that empty so many parts; Gradio takes that of a single one without a list."""
    return [None] * count if count > 1 else None


def _add_outputs(gr: ModuleType, text) -> list:
    """Add the parts that show an answer, in the order of `_show`."""
    picture = {"show_label": False, "interactive": False}  # a label would cover what is drawn in the corner
    return [
        gr.Markdown(elem_id="message"),
        gr.Video(buttons=["download"], autoplay=True, loop=True, elem_id="drawn", **picture),
        gr.Label(label=text("page_bars"), show_heading=False, elem_id="bars"),
        gr.Image(
            show_label=False, buttons=["download", "fullscreen"], interactive=False, visible=False, elem_id="sheet"
        ),
        gr.Dataframe(label=text("page_segments"), interactive=False, visible=False, elem_id="segments"),
        gr.File(label=text("page_files"), file_count="multiple", interactive=False, visible=False, elem_id="files"),
    ]


def _show(gr: ModuleType, answer, language: str) -> list:
    """Return what each part of `_add_outputs` shows of an `Answer`."""
    # Gradio translates labels in the browser, but no headers of a table.
    table = {"headers": [translate(name, language) for name in TABLE], "data": answer.segments}
    return [
        answer.message,
        answer.video,
        answer.scores or None,
        gr.update(value=answer.sheet, visible=bool(answer.sheet)),
        gr.update(value=table, visible=bool(answer.segments)),
        gr.update(value=answer.files, visible=bool(answer.files)),
    ]


def _connect_inputs(gr: ModuleType, networks: dict, inputs: list, examples: list) -> None:
    """Let the inputs follow the choice of a network, and a new video replace the other one and its key points."""
    choice, videos, upload, recording, keypoints = inputs

    def change_network(title: str) -> list:
        network = networks[title]
        shown = [gr.update(visible=network.reads_videos), gr.update(visible=network.reads_keypoints, value=None)]
        return [*shown, *(gr.update(visible=title == each) for each in networks)]

    choice.change(change_network, choice, [videos, keypoints, *examples], **AT_ONCE)
    upload.upload(functools.partial(_clear, 2), None, [recording, keypoints], **AT_ONCE)
    recording.stop_recording(functools.partial(_clear, 2), None, [upload, keypoints], **AT_ONCE)


def _connect_answers(gr: ModuleType, page, networks: dict, answerer: Answerer, args, parts: tuple) -> None:
    """Say what happens when the page is opened and when the button is pressed."""
    (choice, _, upload, recording, keypoints), explain, button, notes, outputs = parts
    one_at_a_time = {"concurrency_limit": 1, "concurrency_id": "answer", "api_visibility": "private"}

    def find_language(request: gr.Request) -> str:
        return choose_language(args.language, request.headers.get("accept-language", ""))

    def describe_limits(request: gr.Request) -> str:
        language = find_language(request)
        kept = translate("kept" if args.keep else "not_kept", language, minutes=CLEAN_EVERY_S // 60)
        return f"{translate('limits', language, max_mb=args.max_mb, max_seconds=args.max_seconds)} {kept}"

    def run(
        title: str,
        upload: str | None,
        recording: str | None,
        keypoints: str | None,
        is_explained: bool,
        request: gr.Request,
    ) -> list:
        language = find_language(request)
        answer = answerer.answer(networks[title], upload or recording, keypoints, is_explained, language)
        return _show(gr, answer, language)

    page.load(describe_limits, None, notes, **AT_ONCE)
    clicked = button.click(run, [choice, upload, recording, keypoints, explain], outputs, **one_at_a_time)
    clicked.then(answerer.clear, show_progress="hidden", **one_at_a_time)


def launch(gr: ModuleType, page, args: argparse.Namespace, text) -> None:
    """Serve the page, from other threads; `page.close` ends that."""
    middleware = importlib.import_module("starlette.middleware").Middleware
    locale = {"zh": "zh-CN", "en": "en"}.get(args.language)
    page.queue(max_size=MAX_WAITING, api_open=False)
    page.launch(
        prevent_thread_lock=True,
        server_name=args.host,
        server_port=args.port,
        share=args.share,
        max_file_size=round(args.max_mb * 1e6),
        quiet=True,
        i18n=text,
        theme=gr.themes.Default(font=FONTS[0], font_mono=FONTS[1]),
        head=SET_BROWSER_LANGUAGE.replace("LOCALE", locale) if locale else None,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        app_kwargs={"middleware": [middleware(AddHeader, name=b"content-security-policy", value=OWN_SERVER_ONLY)]},
    )


class AddHeader:
    """ASGI middleware that adds a header to every answer of the server."""

    def __init__(self, app, name: bytes, value: str):
        self.app, self.header = app, (name, value.encode())

    async def __call__(self, scope: dict, receive, send) -> None:
        """Answer a request."""

        async def send_with_header(message: dict) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), self.header]}
            await send(message)

        await self.app(scope, receive, send_with_header)
