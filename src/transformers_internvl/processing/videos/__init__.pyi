# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .frame_sampling import fps_indices, frame_indices, middle_indices, random_indices, segment_indices
from .video_decoding import VideoReader, open_container
from .video_frames import EncodedFrames, FolderFrames, GivenFrames, VideoFrames, frame_files, is_frame, open_video
from .video_processing import InternVLVideoProcessor, InternVLVideoProcessorKwargs, make_list_of_videos
from .video_timing import TimedVideoMetadata, describe_timing, seconds_of, upright

__all__ = [
    "EncodedFrames",
    "FolderFrames",
    "GivenFrames",
    "InternVLVideoProcessor",
    "InternVLVideoProcessorKwargs",
    "TimedVideoMetadata",
    "VideoFrames",
    "VideoReader",
    "describe_timing",
    "fps_indices",
    "frame_files",
    "frame_indices",
    "is_frame",
    "make_list_of_videos",
    "middle_indices",
    "open_container",
    "open_video",
    "random_indices",
    "seconds_of",
    "segment_indices",
    "upright",
]
