# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl serve`, which says what it holds when it gets SIGUSR1: `python -m tests.reliability.watched serve ...`."""

import asyncio
import gc
import json
import signal
import sys
from typing import Any

from transformers_internvl.cli import main
from transformers_internvl.serving.guard import Guard
from transformers_internvl.serving.slots import FairSlots


def held() -> dict[str, Any]:
    """Slots that are free, those who wait for one, requests, bodies and tasks that are not done."""
    gc.collect()
    everything = gc.get_objects()
    slots = [one for one in everything if isinstance(one, FairSlots)]
    guards = [one for one in everything if isinstance(one, Guard)]
    return {
        "free": sorted(one.free for one in slots),
        "waiting": sum(len(turns) for one in slots for turns in one.waiting.values()),
        "requests": sum(one.waiting.total() for one in guards),
        "bodies": sum(len(one.bodies) for one in guards),
        "tasks": sum(isinstance(one, asyncio.Task) and not one.done() for one in everything),
    }


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(held()), flush=True))
    sys.exit(main(sys.argv[1:]))
