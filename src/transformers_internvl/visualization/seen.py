# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The images and frames of a conversation as its prompt has them: pixels, grid and tiles."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..processing.media import Media
from .tiles import as_seen, frames_as_seen

SEEN_OPTIONS = {"return_grid": True, "return_num_patches": True, "return_metadata": True}
"""`processor_kwargs` with which `apply_chat_template` returns what `images_seen` reads."""


@dataclass(frozen=True)
class SeenImage:
    """An image, or a frame of a video.

    Attributes:
        image: RGB, before it is resized.
        grid: `(columns, rows)` of the tiles.
        tiles: their number, the thumbnail included.
        padded: whether it was padded to a square.
        frame: its label, such as `"12: 0.50 s"`, if it is a frame of a video.
    """

    image: Image.Image
    grid: tuple[int, int]
    tiles: int
    padded: bool
    frame: str | None = None

    @property
    def has_thumbnail(self) -> bool:
        """Whether a thumbnail follows the tiles."""
        return self.tiles > self.grid[0] * self.grid[1]


def images_seen(processor: Any, chat: list[dict[str, Any]], inputs: Any) -> list[SeenImage]:
    """The images and frames of a conversation, in the order of the prompt.

    Args:
        processor: that of a chat model whose images are tiles.
        chat: the messages; contents are lists of items (`processing.text.messages.normalized`).
        inputs: what `apply_chat_template` returned for it with `SEEN_OPTIONS`. The entries that are read here are
            taken out, so that the rest are inputs of the model.
    """
    media = Media.of([chat])
    images = zip(media.image[0], inputs.pop("grids", []), inputs.pop("num_patches", []), strict=True)
    videos = zip(media.video[0], inputs.pop("video_metadata", []), strict=True)
    settings = processor.image_processor
    found = []
    for item in (item for message in chat for item in message["content"] if isinstance(item, dict)):
        if item.get("type") == "image":
            source, grid, count = next(images)
            padded = settings.pad2square and int(count) == 1
            found.append(SeenImage(as_seen(settings.fetch_images(source)), tuple(grid), int(count), padded))
        elif item.get("type") == "video":
            source, metadata = next(videos)
            indices = [int(index) for index in metadata.frames_indices]
            frames = frames_as_seen(source, indices, processor.video_processor.max_image_pixels)
            labels = frame_labels(metadata)
            found += [SeenImage(frame, (1, 1), 1, False, label) for frame, label in zip(frames, labels, strict=True)]
    return found


def frame_labels(metadata: Any) -> list[str]:
    """Number and time of each frame that is used of a video; the number alone where no rate is known."""
    labels = [str(int(index)) for index in metadata.frames_indices]
    times = metadata.timestamps if metadata.fps else []
    return [f"{label}: {time:.2f} s" for label, time in zip(labels, times, strict=True)] if times else labels


__all__ = ["SEEN_OPTIONS", "SeenImage", "frame_labels", "images_seen"]
