# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The words of a caption, as the Penn Treebank tokenizer of the COCO caption tools gives them.

The tools run a Java program; this file holds its rules as patterns. At each place the longest match wins, what must
follow it included; of equally long ones the first rule. Words are in lower case, `don't` is `do n't`, `dog's` is
`dog 's`, punctuation is dropped, symbols such as `&` are words, and so are brackets (`-lrb-`: the tools mean to drop
them, and miss). Chinese and Japanese have no spaces and should come with their words set apart.

Source: `pycocoevalcap` `tokenizer/ptbtokenizer.py`, which runs the PTBTokenizer of Stanford CoreNLP 3.4.1.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache

# Other numerals count as letters for Python.
_NUMERALS = (
    "\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u218b\u2460-\u24ff\u2776-\u2793\u2cfd\u3007\u3021-\u3029\u3038-\u303a"
)
_NUMERALS += "\u3192-\u3195\u3220-\u3289\u32b1-\u32bf"
# Combining marks and further signs that are parts of words.
_MARKS = (
    "\u00ad\u02c2-\u02ff\u0300-\u0375\u0384\u0385\u03f6\u0483-\u0487\u055a-\u055f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4"
)
_MARKS += "\u05c5\u05c7\u0615-\u061a\u064b-\u065e\u0670\u06d6-\u06dc\u06de-\u06e8\u06ea-\u06ed\u06fd\u06fe\u070f\u0711"
_MARKS += (
    "\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0903\u093c-\u094e\u0951-\u0955\u0962\u0963\u0981-\u0983\u09bc-"
)
_MARKS += (
    "\u09cd\u09d7\u09e2\u09e3\u0a01-\u0a03\u0a3c-\u0a4d\u0a81-\u0a83\u0abc-\u0acd\u0b82\u0bbe-\u0bcd\u0c01-\u0c03"
)
_MARKS += "\u0c3e-\u0c56\u0d3e-\u0d48\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u1885\u1886"
# Signs that are words of their own; what is neither here nor elsewhere is dropped.
_SYMBOLS = (
    "\u00a1\u00a5-\u00a9\u00ac-\u00b9\u00bf\u00d7\u00f7\u0387\u037e\u0589\u05be-\u0603\u0606-\u060c\u0614-\u061b"
)
_SYMBOLS += "\u061e\u061f\u066a\u066d-\u07f8\u0964\u0965\u0e3f\u0e4f\u1fbd\u2016\u2017\u2020-\u2023\u2030-\u2038\u203b"
_SYMBOLS += (
    "\u203e-\u2042\u2044\u2070-\u208e\u20a4\u2100-\u214f\u2155-\u215e\u2190-\u2bff\u3001\u3002\u3012\u30fb\uff01-"
)
_SYMBOLS += "\uffe1\uffe5\uffe6"

_LETTER = rf"(?:(?![{_NUMERALS}])[^\W\d_]|[{_MARKS}])"
_LETTER_OR_DIGIT = rf"(?:{_LETTER}|\d)"
_WORD = rf"{_LETTER}{_LETTER_OR_DIGIT}*(?:[.!?]{_LETTER}{_LETTER_OR_DIGIT}*)*"
_APOSTROPHE = "(?:['\u0092\u2019]|&apos;)"
_HYPHEN = "[-_\u058a\u2010\u2011]"
_NUM = r"(?:\d*(?:[.:,\u00ad\u066b\u066c]\d+)+|\d+)"
_ELISION = rf"(?:[dDoOlL]{_APOSTROPHE}{_LETTER_OR_DIGIT})?"
_THING = rf"{_ELISION}{_LETTER_OR_DIGIT}+(?:{_HYPHEN}{_ELISION}{_LETTER_OR_DIGIT}+)*"
_ACRONYM = r"[A-Za-z](?:\.[A-Za-z])*"
_CLITIC = rf"{_APOSTROPHE}(?i:[msd]|re|ve|ll)"
_NOT = rf"(?i:n){_APOSTROPHE}(?i:t)"
_SPACE = "[ \\t\\n\u00a0\u2000-\u200a\u3000]"

# Abbreviations that keep their full stop: before two further characters...
_BEFORE_ANY = (
    "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Mon|Tues?|Wed|Thu(?:rs)?|Fri|Ala|Ariz|Calif|Colo|Conn|Ct|Dak|Fla|Ga|"
    "Ind|Kans?|Ky|Md|Mich|Minn|Mo|Mont|Neb|Nev|Okla|Penn|Tenn|Va|Vt|Wisc?|Wyo|Inc|Cos?|Corp|Pt[ye]|Ltd|Plc|Rt|Bancorp|"
    r"Bhd|Assn|Univ|Intl|Sys|tel|est|ext|sq|Jr|Sr|Bros|(?:Ed|Ph)\.D|Esq|etc|al|seq|Bldg|Blvd|Rd"
)
_STATES = "[A]z|[A]rk|[D]el|[I]ll|[L]a|[M]ass|[M]iss|[O]re|[P]a|[T]ex|[W]ash"  # capital, as they are other words, too
# ...anywhere...
_ANYWHERE = (
    "Mr|Mrs|Ms|Drs?|Profs?|Sens?|Reps?|Attys?|Lt|Col|Gen|Messrs|Govs?|Adm|Rev|Maj|Sgt|Cpl|Pvt|Capt|Ste?|Ave|Pres|Lieut|"
    "Hon|Brig|Co?mdr|Pfc|Spc|Supts?|Det|Mt|Ft|Adj|Adv|Asst|Assoc|Ens|Insp|Mlle|Mme|Msgr|Sfc|Invt|Elec|Natl|M[ft]g|Dept|"
    "Wm|Jos|Cie|cf|TREAS|Ph|vs|Alex"
)
# ...or before a number.
_BEFORE_NUMBER = "ca|figs?|prop|nos?|art|pp|op"
# Words that begin a sentence: a single letter in front of its full stop is a word then.
_SENTENCE_STARTS = (
    "A|About|According|Additionally|After|An|As|At|But|Earlier|He|Her|Here|However|If|In|It|Last|Many|More|Mr\\.|Ms\\.|"
    "Now|Once|One|Other|Our|She|Since|So|Some|Such|That|The|Their|Then|There|These|They|This|We|When|While|What|Yet|You"
)
_DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_WRITTEN = {
    "€": "$", "¤": "$", "₠": "$", "\u0080": "$", "£": "#", "¢": "cents", "¼": "1/4", "½": "1/2", "¾": "3/4",
    "⅓": "1/3", "⅔": "2/3", "&amp;": "&", "&lt;": "<", "&gt;": ">",
}  # fmt: skip

_QUOTES = str.maketrans(
    {
        '"': "''",
        "\u2018": "`",
        "\u2019": "'",
        "\u201b": "`",
        "\u201c": "``",
        "\u201d": "''",
        "\u2039": "`",
        "\u203a": "'",
    }
    | {"\u00ab": "``", "\u00bb": "''", "\u0091": "`", "\u0092": "'", "\u0093": "``", "\u0094": "''"}
)

Write = Callable[[str], list[str]]


def _whole(token: str) -> list[str]:
    return [token]


def _straight(token: str) -> list[str]:
    """One word with plain apostrophes."""
    return [token.replace("&apos;", "'").replace("\u2019", "'").replace("\u0092", "'")]


def _without_soft_hyphens(token: str) -> list[str]:
    return [token.replace("\u00ad", "")]


def _split_before(last: int) -> Write:
    return lambda token: [token[:-last], token[-last:]]


def _unspaced(token: str) -> list[str]:
    """One word, its spaces unbreakable, its round brackets spelled."""
    return [token.replace(" ", "\u00a0").replace("(", "-lrb-").replace(")", "-rrb-")]


def _quotes(token: str) -> list[str]:
    """Quotation marks as TeX has them; alone, they are dropped later."""
    return [token.translate(_QUOTES)]


def _nothing(token: str) -> list[str]:
    return []


# Pattern, what must follow (it counts for the length), and how the token is written.
_RULES: tuple[tuple[str, str, Write], ...] = (
    (r"(?i:c\+\+|[cf]#)", "", _whole),
    (r"(?i:cannot|'twas)", "", _split_before(3)),
    (r"(?i:'tis|gonna|gotta|lemme|gimme|wanna)", "", _split_before(2)),
    (
        r"</?[A-Za-z][A-Za-z0-9:.-]*"
        r"(?: +(?:[A-Za-z][A-Za-z0-9_:.-]*(?: *= *['\"][^\n'\"]*['\"])?|['\"][^\n'\"]*['\"]))* */?>"
        r"|<[!?][A-Za-z-][^>\n]*>",
        "",
        _unspaced,
    ),
    (r"&(?:MD|mdash|ndash);|[\u0096\u0097\u2013-\u2015]", "", _nothing),
    (r"&(?:amp|lt|gt);", "", lambda token: [_WRITTEN[token]]),
    (r"&(?:HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);", "", _whole),
    (_WORD, _CLITIC, _without_soft_hyphens),
    (rf"{_LETTER}*[A-MO-Za-mo-z]", _NOT, _without_soft_hyphens),
    (_WORD, "", _without_soft_hyphens),
    (rf"{_APOSTROPHE}(?i:n){_APOSTROPHE}?|(?:[lLdDjJ]|(?i:dunkin|somethin|ol)){_APOSTROPHE}", "", _straight),
    (rf"{_APOSTROPHE}(?i:em|till?|cause|twixt|[2-9]0s)", "", _straight),
    (rf"[yY]{_APOSTROPHE}", _LETTER, _whole),
    (r"(?i:https?)://[^ \t\n\"<>|()]+[^ \t\n\"<>|.!?(){},-]", "", _whole),
    (
        r"(?:(?i:www)\.(?:[^ \t\n\"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}"
        r"|(?:[^ \t\n\"`'<>|.!?(){},-_$]+\.)+(?i:com|net|org|edu))"
        r"(?:/[^ \t\n\"<>|()]+[^ \t\n\"<>|.!?(){},-])?",
        r"(?:[^A-Za-z]|$)",
        _whole,
    ),
    (
        r"<?[a-zA-Z0-9][^ \t\n\"<>|(){}\u00a0]*@(?:[^ \t\n\"<>|(){}.\u00a0]+\.)*[^ \t\n\"<>|(){}.\u00a0]+>?",
        "",
        _whole,
    ),
    (rf"@[A-Za-z_][A-Za-z_0-9]*|#{_LETTER}+", "", _whole),
    (_CLITIC, r"(?:[^A-Za-z]|$)", _straight),
    (_NOT, r"(?:[^A-Za-z]|$)", _straight),
    (r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}", "", _whole),
    (rf"[-+]?{_NUM}", "", _without_soft_hyphens),
    (r"(?:\d{1,4}[- \u00a0])?\d{1,4}(?:\\?/|\u2044)\d{1,4}", "", _unspaced),
    (
        "[\u207a\u207b\u208a\u208b]?(?:[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+)",
        "",
        _whole,
    ),
    ("[\u00bc-\u00be\u2153\u2154]", "", lambda token: [_WRITTEN[token]]),
    (rf"(?i:c\.d\.s|pro-|anti-|s&p-500|s&ls|cap{_APOSTROPHE}n|c{_APOSTROPHE}est)", "", _whole),
    (r"(?i:e|yahoo|jeopardy)!", "", _whole),
    (_THING, "", _whole),
    (r"[A-Z]+(?:[+&][A-Z]+)+", "", _whole),
    (r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}", "", _whole),
    (r"[A-Z]*\$|#", "", _whole),
    ("[\u00a2\u00a3\u00a4\u0080\u20a0\u20ac]", "", lambda token: [_WRITTEN[token]]),
    (r"[A-Za-z]\.", rf"{_SPACE}+(?:{_SENTENCE_STARTS}|</?[A-Za-z][^<>\n]*>){_SPACE}", lambda token: [token[0]]),
    (rf"(?i:{_BEFORE_NUMBER})\.", rf"{_SPACE}?\d", _whole),
    (rf"(?:(?i:{_BEFORE_ANY})|{_STATES})\.s?", r"[\s\S]{0,2}", _whole),
    (rf"(?:{_ACRONYM}|(?i:{_ANYWHERE}))\.s?", "", _whole),
    (rf"{_APOSTROPHE}[0-9][0-9]", _SPACE + "|$", _whole),
    (rf"(?:{_WORD}|{_THING})\.", "[,;:\u3001]", _whole),
    (
        r"(?:\([0-9]{2,3}\)[ \u00a0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \u00a0])?[0-9]{2,4}[- \u00a0])"
        r"[0-9]{3,4}[- \u00a0]?[0-9]{3,5}|(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}",
        "",
        _unspaced,
    ),
    (r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]", r"(?:[^A-Za-z0-9]|$)", _unspaced),
    (r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)", "", _unspaced),
    (r"[A-Za-z0-9][A-Za-z0-9.,]*(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|[A-Za-z0-9]+))+", "", _whole),
    (r"<<|>>|[<>]", "", _whole),
    (r"[()\[\]{}]", "", lambda token: [_BRACKETS[token]]),
    (r"-+", "", lambda token: [token] if len(token) > 4 else []),
    (r"\.{3,}|\u2026", "", _nothing),
    (r"@+|#+|_+|\*+|(?:\\\*){1,3}|[?!]+|[.,;:=/%+&~^|\\`]", "", _whole),
    ("['`\u2018\u2019\u0091\u0092]'", "", _nothing),
    (
        "[\"']|[`\u2018-\u201f\u0082\u0084\u0091-\u0094\u2039\u203a\u00ab\u00bb]{1,2}",
        "",
        _quotes,
    ),
    (rf"[{_SYMBOLS}]", "", _whole),
)


_PLAIN = re.compile(r"[A-Za-z]+(?=[ \n])")
_FUSED = frozenset(["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"])


@cache
def _compiled() -> list[tuple[re.Pattern, Write]]:
    return [(re.compile(f"({token})(?=({after}))"), write) for token, after, write in _RULES]


def caption_words(caption: str) -> list[str]:
    """The words of a caption, as the metrics of captions see them.

    >>> caption_words("A man's T-shirt, it doesn't fit!")
    ['a', 'man', "'s", 't-shirt', 'it', 'does', "n't", 'fit']
    """
    return words_of_captions([caption])[0]


def words_of_captions(captions: Sequence[str]) -> list[list[str]]:
    """The words of captions that follow each other, as lines of one text: nearly [`caption_words`] of each.

    Where a caption ends in a single letter, its full stop is part of the word, unless the next caption begins with a
    word such as `The`: the tools tokenize all captions of a set at once.
    """
    text = "\n".join(caption.replace("\n", " ").replace("\r", " ") for caption in captions)
    lines: list[list[str]] = [[]]
    for word in _tokens(text):
        if word == "\n":
            lines.append([])
        elif word not in _DROPPED:
            lines[-1].append(word.lower())
    return lines


def _tokens(text: str) -> Iterator[str]:
    """The tokens of a text, and its line breaks."""
    rules = _compiled()
    place, length = 0, len(text)
    text += "\n"
    while place < length:
        plain = _PLAIN.match(text, place)  # no rule but that of words fits it
        longest, end = 0, place + 1
        write: Write = _nothing
        if plain and plain[0].lower() not in _FUSED:
            end, write = plain.end(), _whole
        elif text[place] == "\n":
            write = _whole
        elif not text[place].isspace():
            for pattern, how in rules:
                found = pattern.match(text, place)
                if found and found.end(2) - place > longest:
                    longest, end, write = found.end(2) - place, found.end(1), how
        yield from write(text[place:end])
        place = end


__all__ = ["caption_words", "words_of_captions"]
