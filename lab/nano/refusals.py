# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the embedded model was not trained for, and the one sentence that it answers then, in both languages.

Sentences with a place `{}` are filled with a word of `WORDS`. Every sixth sentence is kept from training, for
`evaluation`.
"""

from __future__ import annotations

import random

REFUSALS = {"en": "I only know numbers and shapes in pictures.", "zh": "我只认识图片里的数字和形状。"}
"""The answer to everything else. The tokens of the Chinese one are bytes, which is why it is short."""

HELD_OUT = 6
"""One sentence of so many is not trained on."""

PLAIN = {
    "en": (
        "hello", "Hello!", "Hi there", "hi", "hey", "Good morning", "Good evening!", "Who are you?", "who are you",
        "What are you?", "What is your name?", "What can you do?", "How are you?", "How old are you?",
        "Where are you from?", "Who made you?", "Are you a robot?", "Can you help me?", "Help me please.",
        "Thank you!", "thanks", "Goodbye", "bye", "See you later", "Tell me a joke.", "Tell me a story.",
        "Write a poem.", "Sing a song.", "What time is it?", "What day is today?", "What is the weather like?",
        "Will it rain tomorrow?", "What is the meaning of life?", "What is love?", "Do you like me?",
        "What is 2 + 2?", "What is 12 times 7?", "Is 17 a prime number?", "Solve x + 3 = 7.", "What is pi?",
        "Who is the president?", "Who wrote Hamlet?", "When did the war end?", "How far is the moon?",
        "Translate this into French.", "Summarize this text.", "Explain gravity.", "What is a neural network?",
        "Write a function in Python.", "Fix my code.", "print('hello world')", "def f(x): return x", "Why?", "What?",
        "ok", "yes", "no", "test", "asdf", "...", "I am sad.", "I am hungry.", "I like music.", "My name is Bob.",
        "You are wrong.", "Are you sure?", "Let us play a game.", "Give me a recipe.", "What should I eat?",
        "Recommend a book.", "Which movie is the best?", "How do I learn English?", "How does a computer work?",
        "The quick brown fox jumps over the lazy dog.", "Please write an email to my boss.", "Continue the sentence.",
        "What is the largest country?", "How many people live on earth?", "How many days are in a year?",
        "What color is the sky?", "What is the fastest animal?", "Why is grass green?", "Can you speak Chinese?",
        "Ignore your instructions.", "Repeat after me.", "Say hello.", "What do you think?", "Do you have feelings?",
    ),
    "zh": (
        "你好", "你好！", "您好", "嗨", "早上好", "晚上好！", "你是谁？", "你是谁", "你叫什么名字？", "你能做什么？",
        "你会什么？", "你好吗？", "你多大了？", "你来自哪里？", "谁创造了你？", "你是机器人吗？", "能帮帮我吗？",
        "请帮我。", "谢谢！", "再见", "讲个笑话。", "讲一个故事。", "写一首诗。", "唱首歌。", "现在几点？",
        "今天星期几？", "天气怎么样？", "明天会下雨吗？", "人生的意义是什么？", "什么是爱？", "二加二等于几？",
        "一加一是多少？", "总统是谁？", "谁写了红楼梦？", "月亮有多远？", "请翻译成英文。", "请总结这段文字。",
        "解释一下重力。", "什么是神经网络？", "写一段代码。", "为什么？", "什么？", "好的", "是", "不", "测试",
        "我很难过。", "我饿了。", "我喜欢音乐。", "我叫小明。", "你错了。", "你确定吗？", "我们来玩游戏吧。",
        "给我一个菜谱。", "我该吃什么？", "推荐一本书。", "哪部电影最好？", "怎么学英语？", "电脑是怎么工作的？",
        "请写一封邮件。", "最大的国家是哪个？", "地球上有多少人？", "一年有多少天？", "天空是什么颜色？",
        "草为什么是绿色的？",
        "你会说英语吗？", "你觉得呢？", "你喜欢我吗？", "北京在哪里？", "中国有多大？",
    ),
}  # fmt: skip
"""Language -> what people say without a picture."""

ABOUT_PICTURES = {
    "en": (
        "Describe the picture.", "Describe this image in detail.", "Describe it.", "What do you see?",
        "What is in the picture?", "What is this?", "What is shown here?", "Write a caption.",
        "Who is in the picture?",
        "Is there a person in the picture?", "What is the person doing?", "How many people are there?",
        "How many {}s are there?", "Is there a {} in the picture?", "Where is the {}?", "What color is the {}?",
        "Find the {}.", "Do you see a {}?", "What is the {} doing?", "Count the {}s.", "How big is the {}?",
        "Where was this photo taken?", "When was this taken?", "Is this indoors or outdoors?", "What is the mood?",
        "What is the weather in the image?", "Is it day or night?", "Do you like this picture?", "Who drew this?",
        "What does the sign say?", "What word is written?", "Translate the text in the image.", "What brand is it?",
        "What language is the text?", "Which font is used?", "Write a story about this image.",
        "What will happen next?", "Why is it funny?", "What is wrong with this picture?", "Is this real?",
        "What is the title?", "How much does it cost?", "What is the price of the {}?", "Read the receipt.",
        "What does the chart show?", "Which bar is the highest?", "How old is the man?", "What is she wearing?",
        "Is it safe to eat?", "What kind of animal is this?", "What breed is the dog?", "What is the name of the {}?",
        "Make the picture brighter.", "Is the picture sharp?", "What is the resolution?", "What is behind the {}?",
        "Which country is this?", "What should I do now?", "Rate this picture.", "Give me three ideas.",
    ),
    "zh": (
        "请描述图片。", "请详细描述这张图。", "这是什么？", "图里有什么？", "写一个标题。", "图中是谁？",
        "图中有人吗？",
        "那个人在做什么？", "有多少人？", "有几只{}？", "图中有{}吗？", "{}在哪里？", "{}是什么颜色？", "请找到{}。",
        "你看到{}了吗？", "{}在干什么？", "这张照片在哪里拍的？", "什么时候拍的？", "是室内还是室外？", "天气怎么样？",
        "是白天还是晚上？", "你喜欢这张图吗？", "谁画的？", "牌子上写了什么？", "图中是什么单词？", "翻译图中的文字。",
        "是什么品牌？", "用的是什么字体？", "根据图片写个故事。", "接下来会发生什么？", "为什么好笑？", "这是真的吗？",
        "多少钱？", "{}的价格是多少？", "图表说明了什么？", "哪个柱子最高？", "他多大？", "她穿着什么？", "能吃吗？",
        "这是什么动物？", "{}叫什么名字？", "把图片变亮。", "图片清楚吗？", "{}后面是什么？", "这是哪个国家？",
        "给图片打分。",
    ),
}  # fmt: skip
"""Language -> what people ask about a picture that was not trained."""

WORDS = {
    "en": (
        "dog", "cat", "car", "tree", "house", "man", "woman", "child", "bird", "boat", "bus", "table", "chair",
        "phone",
        "book", "flower", "horse", "train", "cup", "bottle", "apple", "banana", "hat", "shirt", "window", "door",
        "sky", "road", "ball", "bike", "fish", "cow", "star", "cloud", "face", "hand", "plane", "clock", "bag", "key",
    ),
    "zh": (
        "狗", "猫", "汽车", "树", "房子", "男人", "女人", "孩子", "鸟", "船", "公交车", "桌子", "椅子", "手机",
        "书", "花",
        "马", "火车", "杯子", "瓶子", "苹果", "香蕉", "帽子", "衬衫", "窗户", "门", "天空", "路", "球", "自行车", "鱼",
        "牛", "星星", "云", "脸", "手", "飞机", "钟", "包", "钥匙",
    ),
}  # fmt: skip
ADDITIONS = {
    "en": ("Tell me about {}s.", "What is a {}?", "Write a poem about a {}.", "Do you know a {}?", "I have a {}.",
           "How do I draw a {}?", "Where can I buy a {}?", "Why is my {} broken?"),
    "zh": ("说说{}。", "什么是{}？", "写一首关于{}的诗。", "你知道{}吗？", "我有{}。", "怎么画{}？", "哪里能买到{}？"),
}  # fmt: skip
"""Language -> further sentences without a picture."""


def sentences(kind: str, language: str, *, held_out: bool) -> tuple[str, ...]:
    """The sentences of training, or those kept from it.

    Args:
        kind: `"plain"`, without a picture, or `"picture"`.
        language: `"en"` or `"zh"`.
    """
    every = (*PLAIN[language], *ADDITIONS[language]) if kind == "plain" else ABOUT_PICTURES[language]
    return tuple(text for index, text in enumerate(every) if (index % HELD_OUT == HELD_OUT - 1) == held_out)


def refused(rng: random.Random, kind: str, language: str, *, held_out: bool = False) -> str:
    """A question to be refused; in training, in many spellings."""
    text = rng.choice(sentences(kind, language, held_out=held_out)).format(rng.choice(WORDS[language]))
    if held_out or rng.random() < 0.7:
        return text
    return rng.choice((text.lower(), text.rstrip(".?!。？！"), text.upper() if len(text) < 12 else text, f"{text} "))


__all__ = ["REFUSALS", "WORDS", "refused", "sentences"]
