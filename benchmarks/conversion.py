# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Memory and speed of `convert_checkpoint`, next to copying the same files.

Synthetic checkpoints of 2 GB (the tower and the layers of released ones, fewer of them) are written in shards of
several sizes, one of them a single file of 2 GB, and as `.bin` files; each is converted to the -hf layout and back in
a process of its own. Printed are the peak of its memory above what it had after importing the package, and its time
over that of copying the files.

    python benchmarks/conversion.py [--quick] [--folder DIR] [--rounds N]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from figures import record
from safetensors.torch import save_file

GIB = 2**30
VISION = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
VISION |= {
    "image_size": 448,
    "patch_size": 14,
    "model_type": "intern_vit_6b",
    "qkv_bias": True,
    "norm_type": "layer_norm",
}
VISION |= {"qk_normalization": False}
TEXT = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8}
TEXT |= {"vocab_size": 92553, "architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", "bias": False}
TEXT |= {"max_position_embeddings": 32768, "rope_theta": 1000000, "rms_norm_eps": 1e-5}
# Name -> (layers of the language model, size of a shard, kind of file).
CASES = {
    "one file": (1, None, "safetensors"),
    "shards of 1 GB": (1, GIB, "safetensors"),
    "shards of 200 MB": (1, GIB // 5, "safetensors"),
    "one .bin file": (1, None, "bin"),
}


def write_checkpoint(folder: Path, layers: int, shard: int | None, kind: str, quick: bool) -> int:
    """An InternVL2-8B with few layers, in the original layout, bfloat16; returns its size in bytes."""
    from transformers import AutoModel
    from transformers.core_model_loading import revert_weight_conversion

    import transformers_internvl as ours

    text = {**TEXT, "num_hidden_layers": layers}
    vision = dict(VISION)
    if quick:
        text, vision = {**text, "vocab_size": 9000, "hidden_size": 1024}, {**vision, "num_hidden_layers": 4}
    config = ours.InternVLChatConfig(
        llm_config=text, vision_config=vision, force_image_size=448, template="internlm2-chat", ps_version="v2"
    )
    config.dtype = torch.bfloat16
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.bfloat16)
    shapes = {key: tensor.shape for key, tensor in revert_weight_conversion(model, model.state_dict()).items()}
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    generator, places, part, size, number, total = torch.Generator().manual_seed(0), {}, {}, 0, 1, 0

    def close() -> None:
        nonlocal part, size, number
        stem = "model" if kind == "safetensors" else "pytorch_model"
        name = f"{stem}.{kind}" if shard is None else f"{stem}-{number:05}.{kind}"
        save_file(part, folder / name, metadata={"format": "pt"}) if kind == "safetensors" else torch.save(
            part, folder / name
        )
        places.update(dict.fromkeys(part, name))
        part, size, number = {}, 0, number + 1

    for key, shape in shapes.items():
        tensor = torch.randint(-30000, 30000, shape, dtype=torch.int16, generator=generator).view(torch.bfloat16)
        if shard is not None and part and size + tensor.nbytes > shard:
            close()
        part[key], size, total = tensor, size + tensor.nbytes, total + tensor.nbytes
    close()
    if shard is not None:
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": places})
        (folder / "model.safetensors.index.json").write_text(text)
    return total


def held(what: str) -> int:
    """Bytes of memory that this process holds (`VmRSS`), or the most that it has held (`VmHWM`)."""
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(rows[what].split()[0]) * 1024


def one(what: str, source: str, target: str) -> dict[str, float]:
    """Convert or copy in this process; seconds, and bytes above what the imports took."""
    from transformers_internvl.conversion.layouts.convert import convert_checkpoint

    before, start, used = held("VmRSS"), time.perf_counter(), time.process_time()
    if what == "copy":
        shutil.copytree(source, target)
    else:
        convert_checkpoint(source, target, what, max_shard_size="5GB", progress=False)
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - used,
        "memory": held("VmHWM") - before,
    }


def in_a_process(what: str, source: Path, target: Path) -> dict[str, float]:
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, __file__, "--one", what, str(source), str(target)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small checkpoints, to see whether it runs")
    parser.add_argument("--folder", type=Path, help="where 6 GB fit (default: the system's folder for such files)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(*arguments.one)))
        return
    print(
        "| checkpoint | GB | direction | peak memory, GB | time / copying | CPU time / copying |\n"
        "|---|---|---|---|---|---|"
    )
    found = {}
    for name, (layers, shard, kind) in CASES.items():
        with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
            root = Path(place)
            size = write_checkpoint(root / "original", layers, shard, kind, arguments.quick)
            for to, source in (("hf", "original"), ("original", "hf")):
                runs: dict[str, list[dict[str, float]]] = {"copy": [], to: []}
                for _ in range(arguments.rounds):
                    runs["copy"].append(in_a_process("copy", root / source, root / "copy"))
                    shutil.rmtree(root / "copy")
                    runs[to].append(in_a_process(to, root / source, root / (to if to == "hf" else "back")))
                best = {
                    what: {key: min(run[key] for run in runs[what]) for key in ("seconds", "cpu")} for what in runs
                }
                memory = max(run["memory"] for run in runs[to])
                ratios = " | ".join(f"{best[to][key] / best['copy'][key]:.2f}" for key in ("seconds", "cpu"))
                print(f"| {name} | {size / GIB:.2f} | to {to} | {memory / GIB:.2f} | {ratios} |", flush=True)
                found[f"{name}, to {to}, time / copying"] = best[to]["seconds"] / best["copy"]["seconds"]
    record(found)


if __name__ == "__main__":
    main()
