"""The text of a spec → a plain tree, and the line of each of its dotted paths.

The reader is PyYAML's safe loader with three changes: `1e-3` is a number, a key given twice is a
mistake, and so are aliases of aliases that stand for more than anybody wants to read.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from sweeps.errors import Mistake, SpecError

Lines = dict[str, int]
_MOST_BY_ALIASES = 100_000
"""Characters that aliases may add to a spec."""
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's own, except that 1e-3 and 5E4 are floats as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def loaded(text: str, source: str) -> tuple[Any, Lines]:
    """What the text stands for, and the line of every dotted path in it.

    Raises:
        SpecError: what PyYAML refuses, what Python does (dates and numbers that are none), what
            aliases blow up, and keys given twice.
    """
    lines: Lines = {}
    twice: list[Mistake] = []
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, lines
        if mistake := _swelling(node, len(text) + _MOST_BY_ALIASES):
            raise SpecError([mistake], source)
        _collect(node, "", lines, twice, set())  # before the loader puts in what `<<` merges
        tree = loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        line = mark.line + 1 if mark else None
        raise SpecError([Mistake("YAML", f"not readable: {problem}", line=line)], source) from None
    if twice:
        raise SpecError(twice, source)
    return tree, lines


def _swelling(root: yaml.Node, most: int) -> Mistake | None:
    """The first part that stands for more than `most` characters, its aliases written out."""
    sizes: dict[int, int] = {}

    def found(node: yaml.Node) -> Mistake | None:
        sizes[id(node)] = 1  # where it repeats itself
        for part in _parts(node):
            if id(part) not in sizes and (mistake := found(part)):
                return mistake
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        sizes[id(node)] = size = 1 + own + sum(sizes[id(part)] for part in _parts(node))
        if size <= most:
            return None
        rule = f"not readable: aliases may add {_MOST_BY_ALIASES:,} characters"
        line, remedy = node.start_mark.line + 1, "Write it out, with fewer aliases of aliases"
        return Mistake("YAML", rule, f"{size:,} in all up to here", remedy, line)

    return found(root)


def _collect(
    node: yaml.Node, prefix: str, lines: Lines, twice: list[Mistake], seen_nodes: set[int]
) -> None:
    """Note the line of every dotted path below `node`, and the keys given twice.

    What an alias repeats, and it may repeat itself, is looked at once.
    """
    if id(node) in seen_nodes:
        return
    seen_nodes.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            path = _below(prefix, key)
            line = key.start_mark.line + 1
            if path in seen:
                twice.append(Mistake(path, "the key stands twice", line=line))
            seen.add(path)
            if key.tag == _MERGE:
                _note_merged(value, prefix, lines)
                continue
            lines[path] = line
            _collect(value, path, lines, twice, seen_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[f"{prefix}.{index}"] = item.start_mark.line + 1
            _collect(item, f"{prefix}.{index}", lines, twice, seen_nodes)


def _note_merged(value: yaml.Node, prefix: str, lines: Lines) -> None:
    """The lines of the keys that `<<` brings in, a mapping's or those of several."""
    for mapping in [value] if isinstance(value, yaml.MappingNode) else _parts(value):
        for key in _parts(mapping)[::2]:
            lines.setdefault(_below(prefix, key), key.start_mark.line + 1)


def _below(prefix: str, key: yaml.Node) -> str:
    return f"{prefix}.{key.value}" if prefix else str(key.value)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    """The nodes right below `node`; of a mapping keys and values in turn."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []
