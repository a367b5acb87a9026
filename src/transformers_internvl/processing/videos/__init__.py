# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Videos: which frames are read, how they are decoded, and the video processor."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "frame_sampling": ["fps_indices", "frame_indices", "middle_indices", "random_indices", "segment_indices"],
        "video_decoding": ["VideoReader", "open_container"],
        "video_frames": [
            "EncodedFrames",
            "FolderFrames",
            "GivenFrames",
            "VideoFrames",
            "frame_files",
            "is_frame",
            "open_video",
        ],
        "video_processing": ["InternVLVideoProcessor", "InternVLVideoProcessorKwargs", "make_list_of_videos"],
        "video_timing": ["TimedVideoMetadata", "describe_timing", "seconds_of", "upright"],
    },
)
