# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A corpus in two languages with planted faults: every row says in `planted` what is wrong with it, "" for nothing."""

import base64
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

ENGLISH = {
    "subjects": (
        "the old lighthouse|a narrow bridge|her younger brother|this small museum|the morning train|our neighbour|"
        "a retired teacher|the northern valley|his first novel|an orange cat|the city council|a team of engineers"
    ),
    "verbs": (
        "was repaired after the storm|attracts visitors from many countries|needs more attention than expected|"
        "has changed little since the war|stands close to the river|was described in several letters|"
        "cost far less than people believe|became a symbol of the region|closes early on Sundays|"
        "surprised everybody at the meeting|was painted in a warm shade of red|depends on the weather"
    ),
    "links": "Nevertheless|In the same year|According to the records|As a result|For this reason|Two weeks later",
    "question": "Tell me something about {}.",
    "image": "What do you see in this picture?",
    "joint": ", ",
    "end": ". ",
}
KOREAN = {
    "subjects": (
        "오래된 등대는|좁은 다리는|그녀의 남동생은|이 작은 박물관은|아침 기차는|우리 이웃은|"
        "은퇴한 교사는|북쪽 계곡은|그의 첫 소설은|주황색 고양이는|시 의회는|기술자들은"
    ),
    "verbs": (
        "폭풍이 지나간 뒤에 수리되었다|여러 나라의 방문객을 끌어들인다|예상보다 더 많은 관심이 필요하다|"
        "전쟁 이후로 거의 변하지 않았다|"
        "강 가까이에 서 있다|여러 편지에 묘사되어 있다|사람들이 생각하는 것보다 훨씬 저렴했다|지역의 상징이 되었다|"
        "일요일에는 일찍 문을 닫는다|"
        "회의에서 모두를 놀라게 했다|따뜻한 붉은색으로 칠해졌다|날씨에 따라 달라진다"
    ),
    "links": "그럼에도 불구하고|같은 해에|기록에 따르면|그 결과|이러한 이유로|두 주 뒤에",
    "question": "{} 이야기를 들려주세요.",
    "image": "이 사진에서 무엇이 보입니까?",
    "joint": " ",
    "end": ". ",
}
FAULTS = ("loop", "zero run", "timestamps", "senseless", "duplicate lines", "text copy", "image copy", "broken image")


def sentence(words: dict[str, str], draw: random.Random) -> str:
    subject, verb, link = (draw.choice(words[name].split("|")) for name in ("subjects", "verbs", "links"))
    number = draw.randint(2, 990)
    start = f"{link}{words['joint']}" if draw.random() < 0.7 else ""
    return f"{start}{subject} {verb} ({number}){words['end']}"


def answer(words: dict[str, str], draw: random.Random, sentences: int = 6) -> str:
    return "".join(sentence(words, draw) for _ in range(sentences)).strip()


def spoiled(fault: str, text: str, words: dict[str, str], draw: random.Random) -> str:
    """A text with a fault."""
    if fault == "loop":
        return text + " " + sentence(words, draw) * 30
    if fault == "zero run":
        return f"{text} 3.{'0' * 400}"
    if fault == "timestamps":
        lines = [f"00:{i:02d}:{draw.randint(0, 59):02d},000 --> {sentence(words, draw)[:24]}" for i in range(20)]
        return "\n".join(lines)
    if fault == "senseless":
        data = base64.b64encode(draw.randbytes(600)).decode()
        return draw.choice([data, "".join(draw.choices("\ufffd�#@%^&*~|<>", k=300)), f"{text[:40]}\n{data}"])
    if fault == "duplicate lines":
        return "\n".join([*(sentence(words, draw) for _ in range(4)), *[sentence(words, draw)] * 7])
    return text


def picture(draw: random.Random, size: int = 96) -> Image.Image:
    """Shapes that no other picture has."""
    image = Image.new("RGB", (size, size), tuple(draw.randint(0, 255) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(7):
        x, y, w, h = draw.randint(0, 70), draw.randint(0, 70), draw.randint(12, 60), draw.randint(12, 60)
        shape = draw.choice([pen.rectangle, pen.ellipse])
        shape([x, y, x + w, y + h], fill=tuple(draw.randint(0, 255) for _ in range(3)))
    return image


def slightly_changed(image: Image.Image, draw: random.Random) -> Image.Image:
    """Another size, a little blur."""
    side = draw.choice([80, 128, 160])
    return image.resize((side, side)).filter(ImageFilter.GaussianBlur(0.7))


def write_corpus(folder: Path, rows: int = 200, faults_each: int = 3, seed: int = 0) -> dict[str, int]:
    """`meta.json`, two sets in `en.jsonl` and `ko.jsonl`, and images. Gives the number of rows of each fault."""
    (folder / "images").mkdir(parents=True)
    meta, planted = {}, dict.fromkeys([*FAULTS, "broken row", ""], 0)
    for name, words in (("en", ENGLISH), ("ko", KOREAN)):
        draw = random.Random(f"{name}{seed}")
        kinds = [fault for fault in FAULTS for _ in range(faults_each)] + [""] * rows
        draw.shuffle(kinds)
        kinds.sort(key=lambda kind: kind.endswith("copy"))  # stable: copies come last, and keep what they copy
        lines = [_row(kind, name, number, words, draw, folder) for number, kind in enumerate(kinds)]
        written = [row for row, _ in lines if row["planted"] not in ("text copy", "image copy")]
        lines = [_copied(row, picture, written, draw, folder) for row, picture in lines]
        for row in lines:
            planted[row["planted"]] += 1
        texts = [json.dumps(row, ensure_ascii=False) for row in lines]
        broken = ['{"id": 1, "conversations": [', '{"conversations": []}', '{"image": "x.png", "question": "?"}']
        planted["broken row"] += len(broken)
        for text in broken:
            texts.insert(draw.randint(1, len(texts)), text)
        (folder / f"{name}.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
        meta[name] = {
            "root": str(folder / "images"),
            "annotation": str(folder / f"{name}.jsonl"),
            "data_augment": True,
            "repeat_time": 1,
            "max_dynamic_patch": 6,
            "length": len(texts),
        }
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return planted


def _row(kind, name, number, words, draw, folder):
    subject = draw.choice(words["subjects"].split("|"))
    text = spoiled(kind, answer(words, draw), words, draw)
    with_image = kind in ("image copy", "broken image") or (kind != "text copy" and number % 3 == 0)
    question = f"<image>\n{words['image']}" if with_image else words["question"].format(subject)
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": text}]
    row = {"id": f"{name}-{number}", "planted": kind, "conversations": turns}
    if with_image:
        row["image"] = f"{name}-{number}.png"
        drawn = picture(draw)
        drawn.save(folder / "images" / row["image"])
        if kind == "broken image":
            path = folder / "images" / row["image"]
            path.write_bytes(path.read_bytes()[: draw.choice([0, 60, 200])])
    return row, with_image


def _copied(row, with_image, written, draw, folder):
    """A row that copies one before it, where that is its fault: it comes behind all others."""
    if row["planted"] not in ("text copy", "image copy"):
        return row
    wanted = row["planted"] == "image copy"
    source = draw.choice([other for other in written if not other["planted"] and ("image" in other) == wanted])
    turns = [dict(turn) for turn in source["conversations"]]
    turns[1]["value"] = turns[1]["value"].replace(". ", " .  ", 1) + "!"
    row = {**row, "conversations": turns, "copy_of": source["id"]}
    if wanted:
        image = Image.open(folder / "images" / source["image"])
        slightly_changed(image, draw).save(folder / "images" / row["image"])
    return row
