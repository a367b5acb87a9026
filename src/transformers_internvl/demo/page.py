# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The page: its parts, and which event goes to which handler.

Texts of users and answers are shown as they are, neither as Markdown nor as HTML. The page loads nothing from other
servers.
"""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from .answering import Answerer
from .examples import examples
from .handlers import Handlers, Step, Talk, bubbles

CSS = """
.gradio-container main { width: 100%; max-width: 1320px; margin: auto; }
#title h1 { margin: 0; font-size: 1.5em; }
#gets h2 { margin: 0; font-size: 1em; font-weight: 500; }
#title p { margin: 0; opacity: 0.75; }
#figures p, #about p { font-size: 0.85em; opacity: 0.8; margin: 0; }
#chat .message-buttons-right { display: none; }
#chat .placeholder-content, #chat .placeholder { text-align: center; }
"""
FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
HINT = """Ask about a picture, several pictures or a video.

Add files with the clip, drop or paste them, or take an example."""


def theme() -> gr.themes.Base:
    """A theme whose fonts are those of the system: gradio's own come from Google."""
    return gr.themes.Default(font=FONTS, font_mono=["ui-monospace", "Consolas", "monospace"])


def build_page(answerer: Answerer, name: str, scratch: Path) -> gr.Blocks:
    """The page.

    Args:
        answerer: answers.
        name: of the model, for the title.
        scratch: a folder for drawings, which the caller removes.
    """
    with gr.Blocks(title=f"{name} - internvl demo", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(f"<h1>InternVL demo</h1><p>{html.escape(name)}</p>", elem_id="title")
        with gr.Row():
            with gr.Column(scale=3, min_width=400):
                parts = _conversation()
            with gr.Column(scale=2, min_width=320):
                parts |= _drawings()
        _connect(page, parts, Handlers(answerer, scratch))
    return page


def _conversation() -> dict[str, Any]:
    """The left side: conversation, question, buttons, settings."""
    parts: dict[str, Any] = {"talk": gr.State(Talk())}
    parts["chat"] = gr.Chatbot(
        label="Conversation",
        height=520,
        render_markdown=False,
        latex_delimiters=[],
        allow_tags=True,
        placeholder=HINT,
        examples=examples(),
        buttons=["copy"],
        elem_id="chat",
    )
    parts["box"] = gr.MultimodalTextbox(
        show_label=False,
        placeholder="Your question",
        file_count="multiple",
        file_types=["image", "video"],
        sources=["upload"],
        max_plain_text_length=100_000,
        autofocus=True,
        elem_id="question",
    )
    with gr.Row():
        parts["stop"] = gr.Button("Stop", size="sm")
        parts["reset"] = gr.Button("New conversation", size="sm")
    parts["line"] = gr.Markdown(elem_id="figures")
    with gr.Accordion("Settings", open=False):
        parts["settings"] = _settings_fields()
    return parts


def _settings_fields() -> list[Any]:
    """The fields of `Settings`, in its order."""
    own = "0: as the checkpoint says"
    found = [gr.Textbox(label="System message", placeholder="the model's own", lines=1)]
    with gr.Row():
        found += [
            gr.Slider(1, 2048, value=512, step=1, label="Tokens of an answer", info="at most"),
            gr.Slider(0, 40, value=0, step=1, label="Tiles of a picture", info=f"at most; {own}"),
            gr.Slider(0, 64, value=0, step=1, label="Frames of a video", info=own),
        ]
    with gr.Row():
        found += [
            gr.Slider(0, 2, value=0, step=0.05, label="Temperature", info="0: the most likely token"),
            gr.Slider(0.05, 1, value=1, step=0.05, label="Top-p", info="if sampled; 1: all tokens"),
            gr.Slider(0, 200, value=0, step=1, label="Top-k", info="if sampled; 0: all tokens"),
        ]
    with gr.Row():
        found += [
            gr.Slider(0.5, 2, value=1, step=0.05, label="Repetition penalty", info="1: as the checkpoint says"),
            gr.Textbox(label="Seed", info="of sampling", placeholder="none: another answer each time"),
        ]
    return found


def _drawings() -> dict[str, Any]:
    """The right side: what the model gets, located and looked at."""
    gr.HTML("<h2>What the model gets</h2>", elem_id="gets")
    shown: dict[str, Any] = {"format": "png", "buttons": ["fullscreen", "download"], "visible": False}
    return {
        "tiles": gr.Gallery(
            show_label=False,
            preview=True,
            height=380,
            format="png",
            buttons=["fullscreen"],
            elem_id="tiles",
        ),
        "located": gr.Image(label="What the answer locates", type="pil", elem_id="located", **shown),
        "look": gr.Button("What did it look at?", size="sm"),
        "looks": gr.Image(show_label=False, type="filepath", elem_id="looks", **shown),
        "about": gr.Markdown(elem_id="about"),
    }


def _connect(page: gr.Blocks, parts: dict[str, Any], handlers: Handlers) -> None:
    """Connect the parts of the page with their handlers."""
    whole = [parts[name] for name in ("box", "chat", "talk", "line", "tiles", "located", "looks", "about")]

    def ask(given: Any, talk: Talk, request: gr.Request, *settings: Any) -> Iterator[Any]:
        begun = False
        try:
            for step in handlers.ask(str(request.session_hash), given, talk, *settings):
                begun = True
                yield _updates(step)
        except ValueError as error:
            _warn(error)
            # The question comes back into its box; the conversation is as it was.
            back = (given, bubbles(talk.messages), talk, "") if begun else (gr.skip(),) * 4
            yield *back, *[gr.skip()] * 4

    def example(event: gr.SelectData) -> dict[str, Any]:
        return {"text": event.value["text"], "files": [file["path"] for file in event.value.get("files") or []]}

    def stop(request: gr.Request) -> None:
        handlers.stop(str(request.session_hash))

    def reset(request: gr.Request) -> tuple[Any, ...]:
        stop(request)
        return {"text": "", "files": []}, [], Talk(), "", [], *_hidden(), ""

    def look(talk: Talk) -> tuple[Any, Any]:
        try:
            path, about = handlers.look(talk)
        except ValueError as error:
            _warn(error)
            return gr.skip(), gr.skip()
        return gr.update(value=path, visible=True), about

    model: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
    quick: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    given = [parts["box"], parts["talk"], *parts["settings"]]
    parts["box"].submit(ask, given, whole, show_progress="hidden", **model)
    chosen = parts["chat"].example_select(example, None, parts["box"], **quick)
    chosen.then(ask, given, whole, show_progress="hidden", **model)
    parts["stop"].click(stop, None, None, **quick)
    for event in (parts["reset"].click, parts["chat"].clear):
        event(reset, None, whole, **quick)
    parts["look"].click(look, parts["talk"], [parts["looks"], parts["about"]], **model)
    page.unload(stop)


def _updates(step: Step) -> tuple[Any, ...]:
    """Values of the page's parts for a step."""
    line = gr.skip() if step.line is None else step.line
    if step.first:  # earlier drawings belong to earlier questions
        tiles = gr.update(value=step.drawings, selected_index=len(step.drawings) - 1 if step.drawings else None)
        return {"text": "", "files": []}, step.bubbles, step.talk, line, tiles, *_hidden(), ""
    located = gr.skip() if step.located is None else gr.update(value=step.located, visible=True)
    return gr.skip(), step.bubbles, step.talk, line, gr.skip(), located, gr.skip(), gr.skip()


def _hidden() -> tuple[Any, Any]:
    return gr.update(value=None, visible=False), gr.update(value=None, visible=False)


def _warn(error: ValueError) -> None:
    """Show the message of an error on the page, as text."""
    gr.Warning(html.escape(str(error)), title="Not done", duration=30)


__all__ = ["CSS", "build_page", "theme"]
