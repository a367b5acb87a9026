# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Bodies that a stranger might send to stop a server: images, videos, JSON, each small to send and long to read.

`python -m tests.reliability.serving --second-client` sends each of them to a running server, several times at once,
and prints how long a second client waited and how much memory the server took.
"""

import json
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from io import BytesIO
from typing import Any

import av
from PIL import Image

from tests.clips import clip_bytes, sdp
from tests.reliability.serving import data_uri, png

MIB = 1 << 20


def said(*parts: Any, **options: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": list(parts)}], "max_tokens": 1} | options).encode()


def image(data: bytes, detail: str = "low") -> bytes:
    return said({"type": "image_url", "image_url": {"url": data_uri(data), "detail": detail}})


def video(data: bytes, **options: Any) -> bytes:
    part = {"type": "video_url", "video_url": {"url": data_uri(data, "video/mp4")}}
    return said(part, **({"chat_template_kwargs": options} if options else {}))


def text(content: str, **options: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 1} | options).encode()


# --- images ---


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def chunked_png(chunks: bytes, side: int = 8, header: bytes | None = None) -> bytes:
    """A PNG with other chunks between its header and its pixels."""
    whole = png(Image.new("L", (side, side), 7))
    at = whole.index(b"IDAT") - 4
    start = whole[:8] + chunk(b"IHDR", header) if header else whole[:at]
    return start + chunks + whole[at:]


def zeros(size: int) -> bytes:
    """`size` zeros, as zlib writes them."""
    packer = zlib.compressobj(9)
    pieces = [packer.compress(b"\0" * min(MIB, size - done)) for done in range(0, size, MIB)]
    return b"".join([*pieces, packer.flush()])


def flat_png(width: int, height: int, depth: int, colour: int, interlaced: bool = False) -> bytes:
    """A PNG of one colour, whose pixels are written without an array of them."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = 1 + (width * channels * depth + 7) // 8
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", zeros(row * height))
        + chunk(b"IEND", b"")
    )


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def segmented_jpeg(segments: bytes) -> bytes:
    """A JPEG with other segments in front of its own."""
    whole = saved(Image.new("L", (8, 8), 7), "JPEG")
    return whole[:2] + segments + whole[2:]


def blocks_gif(size: int, kind: int = 0xFE) -> bytes:
    """A GIF with empty extension blocks in front of its image."""
    whole = saved(Image.new("P", (8, 8)), "GIF")
    at = whole.index(b"\x2c", 13 + 3 * (2 << (whole[10] & 7)) * (whole[10] >> 7))
    return whole[:at] + bytes([0x21, kind, 0]) * (size // 3) + whole[at:]


def frames_gif(side: int, frames: int) -> bytes:
    """A GIF of many frames of one pixel on a large canvas."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x21\xf9\4\0\1\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return head + frame * frames + b";"


def tiff(
    width: int, height: int, tags: dict[int, tuple[int, int, int]], rest: bytes = b"", following: int = 0
) -> bytes:
    """A TIFF of one directory. Tag -> type, count, value (or where it lies: `rest` begins at 8)."""
    rows = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)} | tags
    entries = b"".join(struct.pack("<HHII", tag, *row) for tag, row in sorted(rows.items()))
    directory = struct.pack("<H", len(rows)) + entries + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", 8 + len(rest)) + rest + directory


def tiled_tiff(count: int) -> bytes:
    """As many tiles of one pixel, all in one place."""
    side = int(count**0.5)
    offsets = b"\0\0\0\0" * side * side
    tags = {259: (3, 1, 1), 322: (4, 1, 1), 323: (4, 1, 1), 324: (4, side * side, 8), 325: (4, side * side, 8)}
    return tiff(side, side, tags, offsets)


def striped_tiff(rows: int) -> bytes:
    """A row a strip."""
    tags = {259: (3, 1, 1), 278: (4, 1, 1), 273: (4, rows, 8), 279: (4, rows, 8)}
    return tiff(1, rows, tags, b"\1\0\0\0" * rows)


def packed_tiff(side: int, compression: int = 8) -> bytes:
    """A flat image in one strip."""
    data = zeros(side * side)
    return tiff(
        side, side, {259: (3, 1, compression), 278: (4, 1, side), 273: (4, 1, 8), 279: (4, 1, len(data))}, data
    )


def animated_webp(side: int, frames: int) -> bytes:
    pictures = [Image.new("RGB", (side, side), (k % 256, 0, 0)) for k in range(2)]
    return saved(
        pictures[0],
        "WEBP",
        save_all=True,
        append_images=[pictures[k % 2] for k in range(1, frames)],
        lossless=True,
        method=0,
    )


def scans(side: int, repeated: int) -> bytes:
    """A progressive JPEG whose last scan is there many times."""
    data = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * repeated + data[-2:]


def runs_bmp(side: int) -> bytes:
    """A BMP in runs of one pixel, which Pillow decodes in Python."""
    head = b"BM" + b"\0" * 8 + (54 + 1024).to_bytes(4, "little") + (40).to_bytes(4, "little")
    head += side.to_bytes(4, "little") * 2 + b"\1\0\x08\0" + (1).to_bytes(4, "little") + b"\0" * 20
    return head + b"\0" * 1024 + (b"\1\x07" * side + b"\0\0") * side


def mpo(pictures: int) -> bytes:
    first = Image.new("RGB", (64, 64), (1, 2, 3))
    return saved(first, "MPO", save_all=True, append_images=[first] * (pictures - 1))


IMAGES: dict[str, Callable[[], bytes]] = {
    "PNG, 64,000,000 x 1": lambda: png(Image.new("L", (64_000_000, 1))),
    "PNG, 1 x 4,000,000": lambda: png(Image.new("L", (1, 4_000_000))),
    "PNG, 65,536 x 1,000": lambda: flat_png(65_536, 1000, 8, 0),
    "PNG, 8,000 x 8,000, 16 bits, RGBA": lambda: flat_png(8000, 8000, 16, 6),
    "PNG, 8,000 x 8,000, palette": lambda: flat_png(8000, 8000, 8, 3),
    "PNG, 8,000 x 8,000, interlaced": lambda: flat_png(8000, 8000, 8, 2, interlaced=True),
    "PNG, 4,000,000 chunks": lambda: chunked_png(chunk(b"teXt", b"") * 4_000_000),
    "PNG, texts of 60 MB": lambda: chunked_png(b"".join(chunk(b"tEXt", b"a\0" + b"x" * 999_990) for _ in range(60))),
    "PNG, a text that unpacks to 1 GB": lambda: chunked_png(chunk(b"zTXt", b"a\0\0" + zeros(1 << 30))),
    "PNG, 60 texts that unpack to 1 MB": lambda: chunked_png(chunk(b"zTXt", b"a\0\0" + zeros(1_000_000)) * 60),
    "PNG, a profile that unpacks to 1 GB": lambda: chunked_png(chunk(b"iCCP", b"a\0\0" + zeros(1 << 30))),
    "PNG, pixels that unpack to 1 GB": lambda: chunked_png(chunk(b"IDAT", zeros(1 << 30))),
    "APNG, 100,000 frames": lambda: chunked_png(
        chunk(b"acTL", struct.pack(">II", 100_000, 0))
        + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)) * 100_000
    ),
    "JPEG, 200 scans of 25 megapixels": lambda: scans(5000, 200),
    "JPEG, 15,000,000 segments": lambda: segmented_jpeg(b"\xff\xfe\0\2" * 15_000_000),
    "JPEG, 60 MB of filling": lambda: segmented_jpeg(b"\xff" * 60_000_000),
    "JPEG, 1,000 segments of EXIF": lambda: segmented_jpeg(
        (b"\xff\xe1\xff\xff" + b"Exif\0\0II*\0\x08\0\0\0" + b"\x10\x27" + b"\0" * 65_519) * 900
    ),
    "JPEG, 60 MB behind its end": lambda: segmented_jpeg(b"") + b"\0" * 60_000_000,
    "MPO, 1,000 images": lambda: mpo(1000),
    "GIF, 65,535 x 65,535": lambda: frames_gif(65_535, 1),
    "GIF, 2,000,000 frames": lambda: frames_gif(4000, 2_000_000),
    "GIF, 20,000,000 blocks": lambda: blocks_gif(60_000_000),
    "GIF, 20,000,000 applications": lambda: blocks_gif(60_000_000, 0xFF),
    "WebP, 16,383 x 16,383": lambda: saved(Image.new("RGB", (16_383, 16_383)), "WEBP", lossless=True, method=0),
    "WebP, 7,900 x 8,000": lambda: saved(Image.new("RGB", (7900, 8000)), "WEBP", lossless=True, method=0),
    "WebP, 20 frames of 16 megapixels": lambda: animated_webp(4000, 20),
    "TIFF, 4,000,000 x 4,000,000": lambda: tiff(4_000_000, 4_000_000, {259: (3, 1, 1), 273: (4, 1, 8)}, b"\0" * 9),
    "TIFF, 7,900 x 7,900, deflate": lambda: packed_tiff(7900),
    "TIFF, 7,000,000 tiles": lambda: tiled_tiff(7_000_000),
    "TIFF, 200,000 strips": lambda: striped_tiff(200_000),
    "TIFF, directories in a circle": lambda: tiff(
        1, 1, {259: (3, 1, 1), 278: (4, 1, 1), 273: (4, 1, 8), 279: (4, 1, 1)}, b"\0" * 8, following=16
    ),
    "TIFF, a tag of 15,000,000 numbers": lambda: tiff(
        1,
        1,
        {259: (3, 1, 1), 278: (4, 1, 1), 273: (4, 1, 8), 279: (4, 1, 1), 33000: (4, 15_000_000, 8)},
        b"\0" * 60_000_000,
    ),
    "BMP, 2,000 x 2,000 in runs": lambda: runs_bmp(2000),
    "BMP, 2^31 x 2^31": lambda: runs_bmp(8)[:18] + b"\xff\xff\xff\x7f" * 2 + runs_bmp(8)[26:],
    "PPM, a comment of 60 MB": lambda: b"P5 #" + b"x" * 60_000_000 + b"\n1 1 255\n1",
    "PPM, 20,000,000 comments": lambda: b"P5\n" + b"#\n" * 20_000_000 + b"1 1 255\n1",
    "PPM, decimal, 9 megapixels": lambda: b"P3 3000 3000 255\n" + b"1 " * 27_000_000,
    "PPM, 60 MB of spaces": lambda: b"P5" + b" " * 60_000_000 + b"1 1 255\n1",
    "PPM, a number of 60 MB": lambda: b"P5 " + b"1" * 60_000_000 + b" 1 255\n1",
    "PFM": lambda: b"Pf\n4000 4000\n-1.0\n" + struct.pack("<f", float("nan")) * 100,
    "ICO": lambda: saved(Image.new("RGBA", (256, 256)), "ICO"),
    "AVIF": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 5000,
    "EPS": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\n",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/hostname"/></svg>',
}


# --- videos ---


def box(name: bytes, data: bytes, size: int | None = None) -> bytes:
    return struct.pack(">I", len(data) + 8 if size is None else size) + name + data


def stretched_mp4(name: bytes, at: int, value: int) -> bytes:
    """A short MP4 with another number in one of its boxes."""
    file = bytearray(clip_bytes([0, 99, 200]))
    struct.pack_into(">I", file, file.index(name) + 4 + at, value)
    return bytes(file)


def large_boxes(size: int) -> bytes:
    """An MP4 of boxes that say they are larger than they are."""
    return box(b"ftyp", b"isom\0\0\0\0isom") + box(b"free", b"", 8) * (size // 8)


def nested_boxes(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = box(b"moov", data)
    return box(b"ftyp", b"isom\0\0\0\0isom") + data


def many_tracks(count: int) -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="matroska") as container:
        tracks = [container.add_stream("mjpeg", rate=5) for _ in range(count)]
        picture = saved(Image.new("L", (16, 16), 9), "JPEG")
        for track in tracks:
            track.width, track.height, track.pix_fmt = 16, 16, "yuvj420p"
        for track in tracks:
            packet = av.Packet(picture)
            packet.pts = packet.dts = 0
            packet.is_keyframe, packet.stream = True, track
            container.mux(packet)
    return file.getvalue()


def many_frames(count: int, format: str, rate: int = 5) -> bytes:
    """Frames of 16 pixels."""
    file = BytesIO()
    with av.open(file, "w", format=format) as container:
        track = container.add_stream("mjpeg", rate=rate)
        track.width, track.height, track.pix_fmt = 4, 4, "yuvj420p"
        picture = saved(Image.new("L", (4, 4), 9), "JPEG", quality=1)
        for number in range(count):
            packet = av.Packet(picture)
            packet.pts = packet.dts = number
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, rate), True, track
            container.mux(packet)
    return file.getvalue()


def attached(size: int) -> bytes:
    """Matroska with an attachment: an EBML element of the segment, in front of the clusters."""
    file = bytearray(many_frames(3, "matroska"))
    at = file.index(b"\x1f\x43\xb6\x75")  # the first cluster
    data = b"\x46\x5c" + b"\x08" + size.to_bytes(7, "big") + b"\0" * size
    inner = b"\x61\xa7" + b"\x08" + len(data).to_bytes(7, "big") + data
    return bytes(file[:at]) + b"\x19\x41\xa4\x69" + b"\x08" + len(inner).to_bytes(7, "big") + inner + bytes(file[at:])


def nested_ebml(depth: int) -> bytes:
    """Elements of unknown size in each other."""
    head = many_frames(3, "matroska")
    return (
        head[: head.index(b"\x18\x53\x80\x67")] + b"\x18\x53\x80\x67\xff" + b"\x12\x54\xc3\x67\xff\x73\x73\xff" * depth
    )


VIDEOS: dict[str, Callable[[], bytes]] = {
    "MP4, 2^32 - 1 samples": lambda: stretched_mp4(b"stsz", 8, 2**32 - 1),
    "MP4, 2^32 - 1 chunks": lambda: stretched_mp4(b"stco", 4, 2**32 - 1),
    "MP4, 2^32 - 1 times": lambda: stretched_mp4(b"stts", 4, 2**32 - 1),
    "MP4, 10^9 samples of one time": lambda: stretched_mp4(b"stts", 8, 10**9),
    "MP4, 2^32 - 1 edits": lambda: stretched_mp4(b"elst", 4, 2**32 - 1),
    "MP4, no time between frames": lambda: stretched_mp4(b"stts", 12, 0),
    "MP4, 8,000,000 boxes": lambda: large_boxes(60_000_000),
    "MP4, boxes in boxes": lambda: nested_boxes(20_000),
    "MP4, frames of 7,680 x 4,320": lambda: clip_bytes([0, 99, 200], size=(7680, 4320)),
    "Matroska, 200 tracks": lambda: many_tracks(200),
    "Matroska, an attachment of 60 MB": lambda: attached(60_000_000),
    "Matroska, elements in elements": lambda: nested_ebml(100_000),
    "Matroska, 50,000 frames": lambda: many_frames(50_000, "matroska", rate=1000),
    "AVI, 5,000 frames": lambda: many_frames(5_000, "avi", rate=1000),
    "SDP": lambda: sdp(9),
    "ffconcat": lambda: b"ffconcat version 1.0\nfile /etc/hostname\n",
    "HLS behind the mark of MP4": lambda: b"\0\0\0\x18ftypmp42\n#EXTM3U\n#EXTINF:1\n/etc/hostname\n",
    "GIF as a video": lambda: frames_gif(4000, 100_000),
}


# --- bodies ---

BODIES: dict[str, Callable[[], bytes]] = {
    "lists": lambda: b'{"messages": [' + b"[]," * 7_000_000 + b"[]]}",
    "escapes": lambda: b'{"messages": "' + b"\\n" * 10_000_000 + b'"}',
    "deep lists": lambda: b'{"messages": ' + b"[" * 400_000,
    "deep objects": lambda: b'{"messages": ' + b'{"a":' * 90_000 + b"1" + b"}" * 90_000 + b"}",
    "one key many times": lambda: b'{"messages": 1' + b',"messages": 1' * 300_000 + b"}",
    "400,000 fields": lambda: b"{" + b",".join(b'"%d":0' % i for i in range(400_000)) + b"}",
    "150,000 parts": lambda: (
        b'{"messages": [{"role": "user", "content": [' + b'{"type":"text","text":""},' * 150_000 + b"0]}]}"
    ),
    "100,000 messages": lambda: json.dumps({"messages": [{"role": "user", "content": "a"}] * 100_000}).encode(),
    "a text of 30 MB": lambda: text("word " * 6_000_000),
    "a text of 90 MB with an emoji": lambda: text("a" * 90_000_000 + "\U0001f600"),
    "a word of 200,000 letters": lambda: text("a" * 200_000),
    "a name of 30 MB": lambda: json.dumps(
        {"messages": [{"role": "user", "content": "", "x" * 30_000_000: 1}]}
    ).encode(),
    "an option of 30 MB": lambda: text("", user="x" * 30_000_000),
    "a model's name of 60,000 letters": lambda: text("Hi", model="x" * 60_000),
    "a data URI of 40 MB": lambda: image(b"\0" * (40 << 20)),
    "parameters of a data URI of 60 MB": lambda: said(
        {"type": "image_url", "image_url": {"url": "data:image/png;" + "a=b;" * 15_000_000 + "base64,AAAA"}}
    ),
    "a data URI of white space": lambda: said(
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + " " * 80_000_000}}
    ),
    "a number of 60 MB": lambda: b'{"max_tokens": ' + b"1" * 60_000_000 + b', "messages": []}',
    "a number of 4,000 digits": lambda: (
        b'{"seed": ' + b"1" * 4000 + b', "messages": [{"role":"user","content":"Hi"}]}'
    ),
    "NaN": lambda: b'{"temperature": NaN, "messages": [{"role":"user","content":"Hi"}]}',
    "Infinity": lambda: b'{"top_p": Infinity, "messages": [{"role":"user","content":"Hi"}]}',
    "-Infinity as a bias": lambda: b'{"logit_bias": {"1": -Infinity}, "messages": [{"role":"user","content":"Hi"}]}',
    "1e400": lambda: b'{"temperature": 1e400, "messages": [{"role":"user","content":"Hi"}]}',
    "16 stop texts of 4,000 letters": lambda: text("Hi", stop=["x" * 4000 + str(k) for k in range(16)]),
    "17 stop texts": lambda: text("Hi", stop=["x"] * 17),
    "500 biases": lambda: text("Hi", logit_bias={str(k): 1 for k in range(500)}),
    "1,001 biases": lambda: text("Hi", logit_bias={str(k): 1 for k in range(1001)}),
    "a billion answers": lambda: text("Hi", n=10**9),
    "a billion tokens": lambda: text("Hi", max_tokens=10**9),
    "a generation config of 60,000 lists": lambda: text("Hi", generation_config="[" * 60_000),
    "variables of the template": lambda: text("Hi", chat_template_kwargs={"messages": [], "tools": ["x"] * 9}),
    "10,000,000 frames": lambda: video(clip_bytes([0, 99]), num_frames=10_000_000),
    "10,000 tiles": lambda: said(
        {"type": "image_url", "image_url": {"url": data_uri(png(Image.new("L", (640, 480))))}},
        chat_template_kwargs={"max_patches": 10_000},
    ),
    "UTF-16": lambda: '{"messages": [{"role": "user", "content": "Hi"}]}'.encode("utf-16"),
    "zeros": lambda: b"\0" * 50_000_000,
}


def requests() -> dict[str, Callable[[], bytes]]:
    """Name -> the body of a request."""
    images = {f"image: {name}": partial(lambda make: image(make()), make) for name, make in IMAGES.items()}
    videos = {f"video: {name}": partial(lambda make: video(make()), make) for name, make in VIDEOS.items()}
    return images | videos | {f"body: {name}": make for name, make in BODIES.items()}


__all__ = ["BODIES", "IMAGES", "VIDEOS", "image", "requests", "said", "video"]
