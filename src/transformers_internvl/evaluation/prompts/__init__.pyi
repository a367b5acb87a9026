# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .original_scripts import SCRIPTS, Script, script_request
from .requests import ChatRequest, ImageRule
from .settings import GENERATIONS, AskingStyle, Generation, asking_style, default_system_message, generation_of
from .vlmevalkit import builds_prompt, chat_request, lay_out, question_text
from .vlmevalkit_sets import is_video, max_tiles, set_type
from .vlmevalkit_videos import VIDEO_SETS, frame_prompt, kit_frames, video_mme

__all__ = [
    "AskingStyle",
    "ChatRequest",
    "GENERATIONS",
    "Generation",
    "ImageRule",
    "SCRIPTS",
    "Script",
    "VIDEO_SETS",
    "asking_style",
    "builds_prompt",
    "chat_request",
    "default_system_message",
    "frame_prompt",
    "generation_of",
    "is_video",
    "kit_frames",
    "lay_out",
    "max_tiles",
    "question_text",
    "script_request",
    "set_type",
    "video_mme",
]
