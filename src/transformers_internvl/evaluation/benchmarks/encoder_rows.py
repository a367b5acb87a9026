# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows of `BENCHMARKS` for InternVL-C, InternVL-G and InternViT (arXiv:2312.14238, 4.2 and 4.3; arXiv:2412.05271, 7).

Sources: `clip_benchmark`, `classification`, `segmentation` and `internvl_g` of OpenGVLab/InternVL 2410d1db.
"""

from .benchmark import Benchmark

_DUAL = ("InternVL-C", "InternVL-G")
_BOTH = ("InternVL-G", "InternVL-C")
_PROBES = ("linear", "attention_pooling")
_TUNED = ("linear", "head", "full")
_KINETICS = "the paper uses other sentences, which are not in the repository; `score` is the mean of top-1 and top-5"
_COMPLETE = "the published number is that of the whole set; the split is not fixed"

# Task, name, folder below the data, and which published sentences and class names.
_OTHERS = (
    ("cifar10", "CIFAR-10", "cifar10/test", "cifar10", None),
    ("cifar100", "CIFAR-100", "cifar100/test", "cifar100", None),
    ("mnist", "MNIST", "mnist/test", "mnist", None),
    ("caltech101", "Caltech-101", "caltech101", "caltech101", _COMPLETE),
    ("sun397", "SUN397", "sun397", "sun397", _COMPLETE),
    ("fgvc_aircraft", "FGVC Aircraft", "fgvc_aircraft/test", "fgvc_aircraft", None),
    ("country211", "Country-211", "country211/test", "country211", None),
    ("cars", "Stanford Cars", "cars/test", "cars", None),
    ("birdsnap", "Birdsnap", "birdsnap/test", "birdsnap", None),
    ("dtd", "DTD", "dtd/test", "dtd", None),
    ("eurosat", "EuroSAT", "eurosat", "eurosat", _COMPLETE),
    ("fer2013", "FER2013", "fer2013/test", "fer2013", None),
    ("flowers", "Flowers-102", "flowers/test", "flowers", None),
    ("food101", "Food-101", "food101/test", "food101", None),
    ("gtsrb", "GTSRB", "gtsrb/test", "gtsrb", None),
    ("pets", "Pets", "pets/test", "pets", None),
    ("renderedsst2", "Rendered SST2", "renderedsst2/test", "renderedsst2", None),
    ("resisc45", "Resisc45", "resisc45/test", "resisc45", None),
    ("stl10", "STL10", "stl10/test", "stl10", None),
    ("voc2007", "VOC2007", "voc2007/test", "voc2007", "objects cut out of their images"),
)
_IMAGENETS = (
    ("imagenet_v2", "ImageNet-V2", "imagenet_v2"),
    ("imagenet_sketch", "ImageNet-Sketch", "imagenet_sketch"),
    ("imagenet_a", "ImageNet-A", "imagenet_a"),
    ("imagenet_r", "ImageNet-R", "imagenet_r"),
)
_LANGUAGES = (("zh", "Chinese"), ("ja", "Japanese"), ("ar", "Arabic"), ("it", "Italian"))
_XTD = (
    ("en", "English"), ("es", "Spanish"), ("fr", "French"), ("zh", "Chinese"), ("it", "Italian"), ("ko", "Korean"),
    ("ru", "Russian"), ("jp", "Japanese"),
)  # fmt: skip


def _zero_shot(task: str, name: str, folder: str, prompts: str, **more: object) -> Benchmark:
    fields = {"ability": "classify", "metric": "accuracy", "figure": "top1", "modes": _DUAL, **more}
    return Benchmark(f"{task}_zero_shot", name, "zero-shot", folder=folder, prompt_set=prompts, **fields)  # type: ignore[arg-type]


def _retrieval(task: str, name: str, folder: str, former: bool = True, **more: object) -> Benchmark:
    fields = {"ability": "retrieve", "metric": "recall", "figure": "mean_recall", "modes": _DUAL, **more}
    return Benchmark(f"{task}_retrieval", name, "retrieval", folder=folder, former_captions=former, **fields)  # type: ignore[arg-type]


def _captions(task: str, name: str, folder: str) -> Benchmark:
    return Benchmark(
        f"{task}_caption", name, "captions", ability="caption", metric="caption", modes=("InternVL-G",), folder=folder,
        unit="CIDEr x 100",
    )  # fmt: skip


def _probe(task: str, name: str, folder: str) -> Benchmark:
    return Benchmark(
        task, name, "probe of a frozen tower", ability="probe", metric="accuracy", figure="top1", modes=_PROBES,
        folder=folder,
    )  # fmt: skip


def _segmentation(task: str, name: str) -> Benchmark:
    return Benchmark(
        task, name, "val", ability="segment", metric="miou", modes=_TUNED, folder=task, unit="mIoU in percent",
        note="the mode says with which published number the trained model is compared",
    )  # fmt: skip


ENCODER_ROWS: tuple[Benchmark, ...] = (
    _zero_shot("imagenet1k", "ImageNet-1K", "imagenet1k/val", "imagenet1k"),
    *(
        _zero_shot(f"imagenet1k_{code}", f"ImageNet-1K {name}", "imagenet1k/val", "imagenet1k", language=code)
        for code, name in _LANGUAGES
    ),
    *(_zero_shot(task, name, folder, "imagenet1k") for task, name, folder in _IMAGENETS),
    *(_zero_shot(task, name, folder, prompts, note=note) for task, name, folder, prompts, note in _OTHERS),
    *(
        _zero_shot(
            f"kinetics{size}", f"Kinetics-{size}", f"kinetics{size}/val", "kinetics", frames=(8, 1), note=_KINETICS,
            figure="mean_of_top1_and_top5",
        )
        for size in (400, 600, 700)
    ),
    _retrieval("flickr30k", "Flickr30K", "flickr30k/flickr30k_test_karpathy.txt", modes=_BOTH),
    _retrieval("coco", "COCO", "mscoco_captions/coco_test_karpathy.json", modes=_BOTH),
    _retrieval("flickr30k_cn", "Flickr30K-CN", "flickr30k/flickr30k_cn_test.txt", modes=_BOTH, language="zh"),
    _retrieval("coco_cn", "COCO-CN", "mscoco_captions/coco-cn_test.json", modes=_BOTH, language="zh"),
    *(
        _retrieval(
            f"xtd_{code}", f"XTD {name}", f"mscoco_captions/multilingual_mscoco_captions-{code}.json", former=False,
            figure="text_to_image_recall@10", modes=_BOTH, language=code,
        )
        for code, name in _XTD
    ),
    _retrieval("msrvtt", "MSR-VTT 1K", "msrvtt/test.jsonl", former=False, modes=_BOTH, frames=(8, 1)),
    _captions("coco", "COCO, Karpathy test", "mscoco_captions/coco_test_karpathy.json"),
    _captions("flickr30k", "Flickr30K, Karpathy test", "flickr30k/flickr30k_test_karpathy.txt"),
    _captions("nocaps", "NoCaps, val", "nocaps/nocaps_val_4500_captions.json"),
    _probe("linear_probe", "ImageNet-1K", "imagenet1k/val"),
    *(_probe(f"linear_probe_{task}", name, folder) for task, name, folder in _IMAGENETS),
    _segmentation("ade20k", "ADE20K"),
    _segmentation("coco_stuff164k", "COCO-Stuff 164K"),
)  # fmt: skip

__all__ = ["ENCODER_ROWS"]
