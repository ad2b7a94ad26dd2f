"""YAML with places: every value knows its line and column, so that an error can name them.

A page is read as a tree of nodes; nothing is constructed, so tags have no power. Texts that look
like numbers are numbers where a number is asked for; "on" and "no" are words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NoReturn

import yaml

from fabrika._errors import UnknownNameError, UsageError

_MOST = 200_000
"""Longest page [characters]."""


class Value:
    """One value of a page, with its place."""

    def __init__(self, node: yaml.Node, source: str) -> None:
        self._node, self._source = node, source

    @classmethod
    def parse(cls, text: str, source: str) -> Value:
        """The page as a tree. Raises `UsageError` with the place of what is not YAML."""
        if len(text) > _MOST:
            raise UsageError(f"{source}: a page of {len(text)} characters; at most {_MOST}.")
        try:
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
                raise UsageError(f"{source}: anchors and aliases are not for pages.")
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            raise UsageError(f"{source}{place}: {error.problem or 'not YAML'}.") from error
        except yaml.YAMLError as error:
            raise UsageError(f"{source}: not YAML: {error}.") from error
        if node is None:
            raise UsageError(f"{source}: the page is empty.")
        return cls(node, source)

    @property
    def place(self) -> str:
        """File, line and column."""
        mark = self._node.start_mark
        return f"{self._source}:{mark.line + 1}:{mark.column + 1}"

    def wrong(self, message: str) -> NoReturn:
        """Raise `UsageError` with this value's file, line and column."""
        raise UsageError(f"{self.place}: {message}")

    def text(self) -> str:
        """A word or a text."""
        if not isinstance(self._node, yaml.ScalarNode):
            self.wrong("a text is expected here.")
        return str(self._node.value).strip()

    def number(self, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        try:
            value = float(self.text())
        except ValueError:
            self.wrong(f"{self.text()!r} is not a number.")
        if not low <= value <= high:
            self.wrong(f"{value:g} is not between {low:g} and {high:g}.")
        return value

    def choice(self, known: Collection[str], kind: str) -> str:
        """One of the known names."""
        name = self.text()
        if name not in known:
            self.wrong(str(UnknownNameError(kind, name, known)))
        return name

    def items(self) -> list[Value]:
        """A list, of one or more; a single value is a list of one."""
        if isinstance(self._node, yaml.SequenceNode):
            if not self._node.value:
                self.wrong("this list is empty.")
            return [Value(node, self._source) for node in self._node.value]
        return [self]

    def pairs(self, known: Collection[str] | None = None) -> dict[str, Value]:
        """A map; with ``known``, its keys are among them. No key comes twice."""
        return {key.text(): value for key, value in self._pairs(known)}

    def _pairs(self, known: Collection[str] | None) -> Iterator[tuple[Value, Value]]:
        if not isinstance(self._node, yaml.MappingNode):
            self.wrong("a map is expected here, as in `name: value`.")
        seen: set[str] = set()
        for key_node, node in self._node.value:
            key = Value(key_node, self._source)
            name = key.text()
            if known is not None:
                key.choice(known, "key")
            if name in seen:
                key.wrong(f"{name!r} stands here a second time.")
            seen.add(name)
            yield key, Value(node, self._source)

    @property
    def is_map(self) -> bool:
        """Whether it is a map."""
        return isinstance(self._node, yaml.MappingNode)
