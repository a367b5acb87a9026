# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""VLMEvalKit's `InternVLChat` on the classes of this package, on any device.

```bash
python -m transformers_internvl.evaluation.harnesses.vlmevalkit run.py --data MMStar --model InternVL2_5-8B
```

On a GPU, `import transformers_internvl` before VLMEvalKit is enough: its `AutoModel` then gives this package's class,
which has the `chat` that it calls. Prompts, tiles and scores are the kit's own. This module imports VLMEvalKit.
"""

import functools
import runpy
import sys
from typing import Any

from vlmeval.vlm.internvl.internvl_chat import InternVLChat


def use_in_vlmevalkit() -> None:
    """Put pixels where the model is, in the place of `cuda`, and say what to do with checkpoints that have no `chat`.

    Changes `InternVLChat` of the kit. A second call changes nothing.
    """
    former = InternVLChat.__init__
    if hasattr(former, "__wrapped__"):
        return

    @functools.wraps(former)
    def load(self: Any, *arguments: Any, **options: Any) -> None:
        former(self, *arguments, **options)
        if not hasattr(self.model, "chat") and not self.use_lmdeploy:
            raise ValueError(
                f"{self.model_path} is in the layout of upstream transformers, whose models have no `chat`: convert "
                f"it with `internvl convert {self.model_path} FOLDER --to original`, and give FOLDER."
            )
        if not self.use_lmdeploy:
            self.device = self.model.device

    InternVLChat.__init__ = load


def main() -> None:
    """Run a script of the kit, the first argument, with the others."""
    if len(sys.argv) < 2:
        sys.exit("Give a script of VLMEvalKit and its arguments, such as: run.py --data MMStar --model InternVL2_5-8B")
    use_in_vlmevalkit()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

__all__ = ["main", "use_in_vlmevalkit"]
