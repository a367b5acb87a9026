# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Chat templates of unknown origin: rendered as transformers renders them, within bounds of time and memory."""

import time
import tracemalloc

import pytest
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from tests.parity.golden import golden_root
from transformers_internvl import InternVLProcessor
from transformers_internvl.processing.chat_templates import TEMPLATES, get_chat_template
from transformers_internvl.processing.text import template_meter
from transformers_internvl.processing.text.bounded_templates import LONGEST, renderer_of
from transformers_internvl.processing.text.template_meter import Meter

CHAT = [
    {"role": "system", "content": "be\tbrief"},
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "  what?\n"}]},
    {"role": "assistant", "content": "<think>a</think> b"},
    {"role": "user", "content": "and now"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"enum": ["b"]}}}}}]
FOREIGN = """
{%- macro describe(value, depth=0) -%}
  {%- if value is mapping -%}{{ '{' }}
  {%- for key, one in value|dictsort %}{{ key }}: {{ describe(one, depth + 1) }};{% endfor %}{{ '}' }}
  {%- elif value is iterable and value is not string -%}[{{ value|map('string')|join(', ') }}]{%- else -%}
  {{- value|string|indent(2) ~ '%03d|%s' % (depth, 'é') -}}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(seen=[], text='', last=messages|length - 1, pairs={'a': [1, 2]}) -%}
{%- for message in messages[::-1] if message.role in ('user', 'assistant', 'system') -%}
  {%- set ns.seen = ns.seen + [message.role] -%}{%- set ns.text = ns.text ~ loop.index ~ '/' ~ loop.length -%}
  {%- if loop.first and loop.nextitem.role == 'assistant' %}!{% endif -%}{{ loop.cycle('odd', 'even') }}
  {%- if message.content is string -%}{{ message.content.split('</think>')[-1].strip().replace('b', 'cc') }}
  {%- else -%}{%- for item in message.content -%}{{ item.text|default('<image>')|trim }}{%- endfor -%}{%- endif -%}
  {%- if message.role == 'assistant' %}{% generation %}{{ message['content'][:5] }}{% endgeneration %}{% endif -%}
{%- endfor -%}
{%- for node in [[1, [2, 3]], 4] recursive -%}
  {{- loop.depth }}{% if node is iterable %}({{ loop(node) }}){% else %}{{ node }}{% endif -%}
{%- endfor -%}
{{ ns.seen|unique|sort(reverse=true)|join('+') }} {{ ns.text }} {{ [3, 1, 2]|sum }}
{{ 7 // 2 * 3 ** 2 % 5 }} {{ 'ab' * 3 }}
{%- set block %}{{ 'x{0}{b!r}y'.format(1, b='q') }}{% endset %}{{ block|upper|replace('X', 'zz') }}
{{ ['p', 'q'] == ns.seen }}
{%- macro around(x) %}<{{ caller(x) }}>{% endmacro %}
{%- call(x) around(describe(tools)) %}{{ x }}{% endcall -%}{{ tools|tojson(indent=2) }}
{{ dict(a=1, b=[2]).items()|list }}
{%- for key, group in [{'k': 1, 'v': 2}, {'k': 1, 'v': 3}]|groupby('k') %}{{ key }}={{ group|map(attribute='v')|list }}
{%- endfor -%}
{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ {'z': 1}|tojson }}
{{ 'a,b'.split(',', 1)|last|center(5) }}
{%- if add_generation_prompt %}assistant:{% endif %}{% block end %}{{ 2.5|round|int }}{% endblock %}
{{ joiner('-')() }}"""


def double(expression, end="{{ ns.x|length }}"):
    """A value that grows twofold, or more, forty times."""
    loop = "{% for i in range(40) %}{% set ns.x = " + expression + " %}{% endfor %}"
    return "{% set ns = namespace(x='ab') %}" + loop + end


GROWING = [
    *map(
        double,
        (
            *("ns.x + ns.x", "ns.x ~ ns.x", "ns.x * 2", "2 * ns.x", "[ns.x, ns.x]", "(ns.x, ns.x)", "[ns.x] + [ns.x]"),
            *("{'a': ns.x, 'b': ns.x}", "dict(a=ns.x, b=ns.x)", "(ns.x, ns.x)|string", "ns.x|tojson|tojson"),
            *(
                "ns.x.replace('a', ns.x)",
                "ns.x|replace('a', ns.x)",
                "ns.x.join([ns.x, ns.x])",
                "[ns.x, ns.x]|join(ns.x)",
            ),
            *("'%s%s' % (ns.x, ns.x)", "'%s%s'|format(ns.x, ns.x)", "'{0}{0}'.format(ns.x)", "(ns.x|list) * 2"),
            *("'{a}{a}'.format_map({'a': ns.x})", "ns.x|center(ns.x|length * 2)", "ns.x.ljust(ns.x|length * 2)"),
            *("[ns.x]|map('replace', 'a', ns.x)|first", "ns.x|join('ab')", "'ab'.join(ns.x)"),
        ),
    ),
    double("[ns.x, ns.x]", "{{ ns.x }}"),
    "{{ 'a' * 10**9 }}",
    "{{ 'a' * 1000000000 }}",  # a constant, which jinja computes when it compiles
    "{{ ['a'] * 1000000000 }}",
    "{{ '%1000000000d' % 1 }}{{ '%.1000000000f' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%(a)1000000000s' % {'a': 1} }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ ('{:1000000000}'|attr('format'))(1) }}",
    "{% for g in ['{:1000000000}']|groupby('format') %}{{ g[0](1) }}{% endfor %}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ '1'.zfill(1000000000) }}",
    "{{ '\t'.expandtabs(1000000000) }}",
    "{{ ('\t' * 10000).expandtabs(100000) }}",
    "{{ ('\n' * 10000)|indent('a' * 100000) }}",
    "{{ ('\n' * 10000)|indent(100000) }}",
    "{{ ([1] * 10000)|tojson(indent=100000) }}",
    "{{ [1]|tojson(separators=('a' * 10000000, 'b')) }}{{ ([1] * 1000)|tojson(separators=('a' * 1000000, 'b')) }}",
    "{{ [1]|batch(1000000000, 'x')|list }}",
    "{{ lipsum(n=10000000) }}",
    "{{ 10 ** 1000000 }}",
    "{% set ns = namespace(x=9) %}{% for i in range(40) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{{ (1).to_bytes(1000000000, 'big') }}",
    "{{ 'a'.encode('utf-32') }}",
    "{{ ('<!--' * 1000000)|striptags }}",
    "{{ [[1]]|sum(start=[]) }}",
    "{% set ns = namespace(x=1) %}{% set ns.y = [ns, ns] %}{{ ns.y }}",
    "{% set x %}{% for a in range(100000) %}{{ 'a' * 10000 }}{% endfor %}{% endset %}{{ x|length }}",
    "{% macro f() %}{% for a in range(100000) %}" + "a" * 10000 + "{% endfor %}{% endmacro %}{{ f() }}",
    "{% for a in range(100000) %}" + "a" * 10000 + "{% endfor %}",
    "{% set x = 'a' * 100000 %}{% for a in range(100000) %}{{ x }}{% endfor %}",
    "{% set x = 'a' * 1000000 %}{% for a in range(100000) %}{% set y = x[1:] %}{% endfor %}",
    "{{ dict.fromkeys(range(10000), 'a' * 10000)|string }}",
    "{{ messages|map(attribute='role')|join('a' * 100000000) }}",
    "{{ range(100000)|map('center', 1000000)|list|length }}",
    "{% autoescape true %}{{ '<' * 100000000 }}{% endautoescape %}",
]
LONG = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in range(100000)|map('abs') %}{% for b in range(100000)|map('abs') %}{% endfor %}{% endfor %}",
    "{% for a in range(100000) %}{% for b in range(100000) if b == a %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for x in [[1]] recursive %}{{ loop(range(100000)) }}{% endfor %}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    double("[ns.x, ns.x]", "{% set y = namespace(x='ab') %}{{ ns.x == y.x }}"),
    "{% set x = range(100000)|list %}{% for a in x %}{% if x == x[:] %}{% endif %}{% endfor %}",
    "{% set x = range(100000)|list %}{% for a in x %}{{ [x]|select('eq', x)|list|length }}{% endfor %}",
    "{% set x = range(100000)|list %}{% for a in x %}{{ x|max }}{% endfor %}",
    "{% set x = range(100000)|list %}{% for a in x %}{{ x.index(99999) }}{% endfor %}",
    "{% set x = 'a' * 10000000 %}{{ x.strip('b' * 1000000 ~ 'a') }}",
    "{% set x = 'a' * 10000000 %}{{ x|trim('b' * 1000000 ~ 'a') }}",
    "{% set x = 'a' * 10000000 %}{{ x.rfind('b' ~ x[:5000000]) }}",
    "{% for a in range(100000) %}{% set z = range(100000)|sum %}{% endfor %}",
    "{% set c = joiner() %}{% for a in range(100000) %}{% for b in range(100) %}{{ c() }}{% endfor %}{% endfor %}",
    "{% for a in range(9) %}" * 30 + "{% endfor %}" * 30,
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ 1 / 0 }}",
    "{% include 'x' %}",
]


@pytest.fixture(scope="module")
def processor():
    return InternVLProcessor.from_pretrained(golden_root() / "chat_qwen2")


@pytest.fixture
def little(monkeypatch):
    """A sixteenth of the room, so that the tests take little time."""
    monkeypatch.setattr(template_meter, "BYTES", 1 << 23)
    monkeypatch.setattr(template_meter, "SECONDS", 1.0)


@pytest.mark.parametrize("template", GROWING, ids=lambda text: text[:60])
def test_what_grows_ends_before_it_is_made(template, processor, little):
    tracemalloc.start()
    try:
        with pytest.raises((TemplateError, ValueError)):
            processor.apply_chat_template([CHAT[3]], chat_template=template)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("template", LONG, ids=lambda text: text[:60])
def test_what_takes_long_ends(template, processor, little):
    start = time.thread_time()
    with pytest.raises((TemplateError, ValueError)):
        processor.apply_chat_template([CHAT[3]], chat_template=template)
    assert time.thread_time() - start < 3


def test_the_clock_ends_what_is_cheap_in_bytes(processor, monkeypatch):
    """Filters go through their values between two charges."""
    monkeypatch.setattr(template_meter, "SECONDS", 0.1)
    slow = "{% for a in range(1000) %}{{ range(10000)|select('none')|first }}{% endfor %}"
    with pytest.raises(TemplateError, match="takes more than 0 seconds"):
        processor.apply_chat_template([CHAT[3]], chat_template=slow)


OPTIONS = (
    {},
    {"add_generation_prompt": True, "tools": TOOLS},
    {"return_assistant_tokens_mask": True},
    {"continue_final_message": True},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_template_of_a_stranger_reads_as_in_transformers(options):
    bounded = renderer_of(FOREIGN)
    assert bounded is not render_jinja_template
    found, expected = (
        render(conversations=[CHAT], chat_template=FOREIGN, **options) for render in (bounded, render_jinja_template)
    )
    assert found == expected
    assert len(expected[0][0]) > 10 and (expected[1] != []) == ("return_assistant_tokens_mask" in options)


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_our_templates_read_the_same_within_bounds(name):
    """As they are rendered by transformers, and as a stranger's would be, who changed a letter."""
    for options in ({}, {"add_generation_prompt": True}):
        text = get_chat_template(name)
        changed = text + "{# changed #}"
        assert renderer_of(text) is render_jinja_template
        options = {**options, "conversations": [[CHAT[0], CHAT[1], CHAT[2], CHAT[3]]]}
        assert renderer_of(changed)(chat_template=changed, **options) == render_jinja_template(
            chat_template=text, **options
        )


def test_long_conversations_have_room():
    """What a rendering may make grows with what it is given."""
    chat = [{"role": "user", "content": "word " * 200_000}] * 40
    text = get_chat_template("internvl2_5") + "{# changed #}"
    prompt = renderer_of(text)(conversations=[chat], chat_template=text)[0][0]
    assert prompt.count("word ") == 8_000_000


def test_a_template_longer_than_any(processor):
    with pytest.raises(ValueError, match=f"has {LONGEST + 1} characters, at most {LONGEST} are taken"):
        processor.apply_chat_template([CHAT[3]], chat_template="x" * (LONGEST + 1))
    padded = "{#" + "x" * (LONGEST - 5) + "#}y"
    assert processor.apply_chat_template([CHAT[3]], chat_template=padded) == "y"


@pytest.mark.parametrize(
    ("value", "counted"),
    [
        ("ab", (1, 0)),
        ([], (1, 1)),
        ([1, [2, 3], {"a": (4,)}], (9, 3)),
        ({"a": {"b": "c"}}.items(), (6, 3)),
    ],
    ids=str,
)
def test_values_are_counted_by_hand(value, counted):
    assert Meter(0).count(value)[:2] == counted


@pytest.mark.parametrize(
    "value", ["é\x00" * 10, [1, 2.5, None], {"a": ["\U0001f600", "\x00"]}, 10**50, True, ("a",)], ids=str
)
def test_the_text_of_a_value_is_never_longer_than_reckoned(value):
    assert len(str(value).encode("utf-8", "surrogatepass")) <= Meter(0).text(value)


@pytest.mark.parametrize("printed", ["{{ ns }}", "{{ [ns] }}", "{{ ns | tojson }}", "{{ {'a': [ns]} | tojson }}"])
def test_a_namespace_is_not_printed(printed, processor):
    """Nor looked for in what is compared or measured."""
    with pytest.raises((TemplateError, ValueError), match="cannot print a namespace"):
        processor.apply_chat_template([CHAT[3]], chat_template="{% set ns = namespace(x=1) %}" + printed)
    kept = "{% set ns = namespace(x=1) %}{{ [ns, ns] | length }}{{ [ns] == [ns] }}"
    assert processor.apply_chat_template([CHAT[3]], chat_template=kept) == "2True"
