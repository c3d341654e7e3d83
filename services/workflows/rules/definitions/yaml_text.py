"""YAML as far as JSON goes: what a person can write by hand, without what makes YAML dangerous or surprising.

Read from parser events, without recursion: no anchors, aliases, tags, merge keys, several documents or duplicate keys. A plain
word is a text unless it is ``null``, ``true``, ``false`` or a number as JSON writes it: ``18:00`` and ``no`` mean what they say.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

MAX_CHARACTERS = 250_000
MAX_DEPTH = 32
MAX_NODES = 10_000
MAX_INTEGER = 2**53 - 1

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,16})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,30})\.[0-9]+(?:[eE][+-]?[0-9]{1,3})?")
_WORDS = {"null": None, "~": None, "": None, "true": True, "false": False}
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_RARE_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KEY = object()


class YamlRefused(ValueError):
    """Not YAML, or more of it than is taken here. ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, mark: Any = None) -> None:
        super().__init__(message)
        self.line: int | None = mark.line + 1 if mark is not None else None
        self.column: int | None = mark.column + 1 if mark is not None else None


def read_yaml(text: str) -> Any:
    """The value of the one document. Raises ``YamlRefused``, nothing else."""
    if len(text) > MAX_CHARACTERS:
        message = f"a document has at most {MAX_CHARACTERS} characters"
        raise YamlRefused(message)
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        raise YamlRefused("this is not YAML", error.problem_mark) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, YamlRefused):
            raise
        raise YamlRefused("this is not YAML") from None
    return reader.document


class _Reader:
    """Builds values from events. ``open``: the lists and maps around, each map with the key whose value is awaited."""

    def __init__(self) -> None:
        self.document: Any = None
        self._open: list[tuple[Any, list[Any]]] = []
        self._nodes = self._documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise YamlRefused("one document is taken, not several", event.start_mark)
        elif isinstance(event, yaml.AliasEvent):
            raise YamlRefused("anchors and aliases are not taken here", event.start_mark)
        elif isinstance(event, yaml.ScalarEvent):
            self._node(event)
            self._put(self._scalar(event), event)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._node(event)
            self._begin([] if isinstance(event, yaml.SequenceStartEvent) else {}, event)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._open.pop()

    def _node(self, event: Any) -> None:
        self._nodes += 1
        if event.anchor is not None:
            raise YamlRefused("anchors and aliases are not taken here", event.start_mark)
        if event.tag not in {None, "!"}:
            raise YamlRefused("tags are not taken here", event.start_mark)
        if self._nodes > MAX_NODES:
            raise YamlRefused("the document has too many parts", event.start_mark)

    def _begin(self, value: Any, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise YamlRefused("the document is nested too deeply", event.start_mark)
        self._put(value, event)
        self._open.append((value, [_KEY]))

    def _put(self, value: Any, event: Any) -> None:
        if not self._open:
            self.document = value
            return
        around, awaited = self._open[-1]
        if isinstance(around, list):
            around.append(value)
        elif awaited[0] is _KEY:
            if not isinstance(value, str):
                raise YamlRefused("a key is a text", event.start_mark)
            if value in around:
                raise YamlRefused("this key stands here twice", event.start_mark)
            awaited[0] = value
        else:
            around[awaited[0]] = value
            awaited[0] = _KEY

    @staticmethod
    def _scalar(event: Any) -> Any:
        text: str = event.value
        if _NO_TEXT.search(text):
            raise YamlRefused("a text holds NUL or half of a character", event.start_mark)
        if not event.implicit[0]:  # in quotes, or a block
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            if abs(int(text)) > MAX_INTEGER:
                raise YamlRefused("this number is too large", event.start_mark)
            return int(text)
        if _FLOAT.fullmatch(text):
            if not math.isfinite(float(text)):
                raise YamlRefused("this number is too large", event.start_mark)
            return float(text)
        return text


class _Dumper(yaml.SafeDumper):
    """Indents lists, and writes no anchors: what stands twice is written twice."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002 - the signature is PyYAML's
        return super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Several lines as a block; line breaks nobody sees as escapes."""
    style = '"' if _RARE_BREAKS.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def write_yaml(value: Any) -> str:
    """What ``read_yaml`` reads as the same value, and so does every other reader of YAML 1.1 or 1.2."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
