# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The short form of `tests.reliability.fuzz`, and the requests that must be refused before memory is taken."""

import io
import json
import struct
import tracemalloc
import zlib
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tests.parity.golden import golden_root
from tests.reliability.fuzz import attempt, end_of
from tests.reliability.targets import TARGETS, encoded_clip
from tests.tiny import tiny_config
from transformers_internvl import InternVisionConfig, InternVLChatConfig, InternVLChatModel, InternVLDualEncoderConfig
from transformers_internvl.conversion.files.weight_streams import WeightStream
from transformers_internvl.conversion.lora.adapters import Adapter
from transformers_internvl.modeling.pretrained.loading import weight_places
from transformers_internvl.processing import sources
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.sources import open_image
from transformers_internvl.processing.text.placeholders import checked_length
from transformers_internvl.processing.tokenizers.loading import added_token_ids, load_tokenizer
from transformers_internvl.processing.videos import video_processing
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor

NO_SHRINKING = (Phase.explicit, Phase.generate)
SMALL = Image.new("RGB", (30, 30))
FRAMES = np.zeros((3, 30, 30, 3), np.uint8)


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_inputs(target):
    for number in range(15):
        attempt(target, number, seed=0)


@pytest.mark.parametrize("target", TARGETS)
@seed(0)
@settings(max_examples=10, database=None, suppress_health_check=list(HealthCheck), phases=NO_SHRINKING)
@given(rng=st.randoms(use_true_random=False))
def test_drawn_inputs(target, rng):
    """The same targets with hypothesis' choices, which prefers the ends of every range."""
    end_of(target, rng)


@pytest.mark.parametrize(
    "options",
    [
        {"max_patches": 10**9},
        {"max_patches": 10_000, "min_patches": 9_000},
        {"size": {"height": 10**7, "width": 10**7}},
        {"size": {"height": -1, "width": -1}},
        {"size": []},
        {"max_image_pixels": 100},
    ],
)
def test_absurd_images(options):
    with pytest.raises(ValueError, match=r"supported|values|size|allowed"):
        InternVLImageProcessor()(SMALL, **options)


def test_a_long_thin_image_is_not_padded_to_its_square():
    for side, message in ((2 * 10**5, "200000 x 200000 values|the square around it"), (10**6, "a side longer than")):
        with pytest.raises(ValueError, match=message):
            InternVLImageProcessor(pad2square=True, crop_to_patches=False)(Image.new("L", (side, 2)))


@pytest.mark.parametrize("rate", [1.0, 1e-300, float("nan")])
@pytest.mark.parametrize(
    "options",
    [
        {"num_frames": 10**7},
        {"num_frames": 10**12, "sampling": "rand"},
        {"fps": 1e12},
        {"fps": float("nan")},
        {"bound": (0, float("inf"))},
        {"size": {"height": 10**6, "width": 10**6}, "num_frames": 2},
    ],
)
def test_absurd_videos(options, rate):
    metadata = [{"fps": rate, "total_num_frames": 3}]
    with pytest.raises(ValueError, match=r"supported|positive|asks for more|seconds|cannot be|values"):
        InternVLVideoProcessor()(FRAMES, video_metadata=metadata, **options)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("text", "num_hidden_layers", 10**9),
        ("vision", "num_hidden_layers", 10**9),
        ("vision", "hidden_size", 10**9),
        ("vision", "image_size", 10**7),
        ("vision", "patch_size", []),
        ("text", "vocab_size", "many"),
        ("text", "dtype", "evil"),
        ("text", "id2label", 1),
        ("vision", "id2label", [1]),
        ("vision", "num_labels", 10**9),
        ("text", "rms_norm_eps", float("nan")),
        ("vision", "layer_norm_eps", -1e-6),
        ("text", "rms_norm_eps", "small"),
        ("vision", "layer_scale_init_value", float("inf")),
    ],
)
def test_absurd_configurations(part, name, value):
    with pytest.raises(ValueError, match=f"{part}_config.{name}` must"):
        tiny_config(**{part: {name: value}})


@pytest.mark.parametrize("theta", [0, -1.0, float("nan"), "10000"])
def test_rotary_bases_that_leave_no_numbers(theta):
    rope = {"rope_type": "default", "rope_theta": theta}
    with pytest.raises(ValueError, match=r"rope_theta` must be"):
        tiny_config(text={"rope_parameters": rope})
    authors = json.loads((golden_root() / "chat_qwen2/config.json").read_text())
    authors["llm_config"]["rope_theta"] = theta
    with pytest.raises(ValueError, match=r"rope_theta` must be"):
        InternVLChatConfig.from_dict(authors)


def test_lists_without_end():
    many = [1.0] * 10**6
    rope = {"rope_type": "longrope", "short_factor": many, "long_factor": many, "rope_theta": 1e4}
    cases = [
        ("text_config.rope_parameters.short_factor", {"text": {"rope_parameters": rope}}),
        ("vision_feature_layer", {"vision_feature_layer": [1] * 10**6}),
        ("text_config.eos_token_id", {"text": {"eos_token_id": [1] * 10**6}}),
    ]
    for name, fields in cases:
        with pytest.raises(ValueError, match=f"{name}` has 1000000 entries"):
            tiny_config(**fields)
    with pytest.raises(ValueError, match="num_labels` must"):
        InternVisionConfig(num_labels=10**9)
    dual = json.loads((golden_root() / "internvl_14b/config.json").read_text())
    with pytest.raises(ValueError, match="qllama_config.rms_norm_eps` must"):
        InternVLDualEncoderConfig.from_dict({**dual, "qllama_config": {**dual["qllama_config"], "rms_norm_eps": "x"}})


@pytest.mark.parametrize("value", [[], 3, {"rope_scaling": 3}, {"architectures": [["x"]]}])
def test_misshapen_language_model(value):
    with pytest.raises(ValueError, match="llm_config"):
        InternVLChatConfig(llm_config=value)


def test_the_dual_encoder_has_no_second_text_half():
    with pytest.raises(ValueError, match="qllama_config"):
        InternVLDualEncoderConfig(text_config={})


def test_a_configuration_that_nests_without_end():
    fields: dict = {}
    for _ in range(100):
        fields = {"text_config": fields}
    with pytest.raises(ValueError, match="levels deep"):
        tiny_config(text=fields)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../b", "..", "", "..\\x", 3, None])
def test_an_index_stays_in_its_folder(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": name}}))
    (tmp_path / "config.json").write_bytes((golden_root() / "chat_qwen2/config.json").read_bytes())
    for read in (weight_places, lambda path: WeightStream(path.parent)):
        with pytest.raises(ValueError, match="not opened"):
            read(index)
    for place in ({}, {"subfolder": tmp_path.name}):
        with pytest.raises(ValueError, match="not opened"):
            InternVLChatModel.from_pretrained(tmp_path.parent if place else tmp_path, **place)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', "[" * 100_000])
def test_what_is_no_index(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ValueError, match="is not an index"):
        weight_places(tmp_path / "index.json")


def test_an_index_without_metadata(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "w.safetensors"}}')
    (tmp_path / "config.json").write_bytes((golden_root() / "chat_qwen2/config.json").read_bytes())
    with pytest.raises(ValueError, match="no `metadata`"):
        InternVLChatModel.from_pretrained(tmp_path)


# --- bombs -----------------------------------------------------------------------------------------------------------


def declared(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes that says it is that large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(2**16))), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("size", [(20_000, 10_000), (10**6, 10**6), (2**31 - 1, 1), (0, 5)])
def test_declared_sizes_are_refused_before_decoding(size):
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"pixels|Cannot open|decoded"):
        InternVLImageProcessor()(open_image(declared(*size)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_compressed_texts_in_an_image_are_bounded():
    notes = PngImagePlugin.PngInfo()
    for number in range(3):
        notes.add_text(f"note{number}", "x" * 2**26, zip=True)  # 64 MiB each, some kB in the file
    file = io.BytesIO()
    SMALL.save(file, "PNG", pnginfo=notes)
    with pytest.raises(ValueError, match="too large|Decompressed"):
        InternVLImageProcessor()(open_image(file.getvalue()))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_many_frames_the_first_is_seen(kind):
    frames = [Image.new("RGB", (30, 30), (number, 0, 0)) for number in range(50)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    assert InternVLImageProcessor()(open_image(file.getvalue()))["num_patches"] == [1]


def test_videos_declare_their_size(monkeypatch):
    with pytest.raises(ValueError, match="32 x 32 pixels, more than the 1000 allowed"):
        InternVLVideoProcessor(max_image_pixels=1000)(encoded_clip())
    monkeypatch.setattr(video_processing, "check_room", lambda *shape: pytest.fail(str(shape)))
    with pytest.raises(pytest.fail.Exception, match="6, 32, 32, 3"):
        InternVLVideoProcessor().fetch_videos(encoded_clip())


def test_a_url_without_end_is_left(monkeypatch):
    class Endless(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(bytes(2**16))

        def log_message(self, *_):
            pass

    monkeypatch.setattr(sources, "MAX_DOWNLOAD", 2**20)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ValueError, match="more than 1048576 bytes"):
            open_image(f"http://127.0.0.1:{server.server_port}/a.png")
        server.shutdown()


def test_base64_with_spaces_takes_no_more_than_its_length():
    tracemalloc.start()
    with pytest.raises(ValueError, match="Cannot open"):
        open_image("data:image/png;base64," + "A " * 2**19 + "AA==")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 2**20


# --- files of the wrong shape ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", [1]),
        ("added_tokens.json", {"<x>": "1"}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": {}}}),
        ("tokenizer.json", 3),
        ("tokenizer.json", {"added_tokens": [{"id": 3}]}),
    ],
)
def test_added_tokens_of_the_wrong_shape(tmp_path, name, content):
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=name):
        added_token_ids(tmp_path)


def test_errors_of_the_tokenizers_library_have_a_type(tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"type": "none"}}))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(ValueError, match="cannot be read"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("length", [0, 10**30, "4", None, True])
def test_tokens_of_a_tile(length):
    with pytest.raises(ValueError, match="image_seq_length"):
        checked_length(length)


@pytest.mark.parametrize("content", [3, {"image_processor": 3}])
def test_misshapen_processor_config(tmp_path, content):
    (tmp_path / "processor_config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"processor_config\.json"):
        InternVLProcessor.get_processor_dict(tmp_path)


@pytest.mark.parametrize("fields", [{"peft_type": "NONE"}, {"peft_type": "LORA", "alpha_pattern": 3}])
def test_misshapen_adapter_config(tmp_path, fields):
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(ValueError, match=r"adapter_config\.json"):
        Adapter.from_pretrained(tmp_path)
