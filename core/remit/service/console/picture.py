"""The delegation graph as a picture: what was issued on the left, what was derived from it to the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from remit.service.console.forest import Node
from remit.service.console.registry import State

__all__ = ["MOST", "Box", "Line", "Picture", "chosen"]

MOST: Final = 120
"""How many tokens a picture has."""

_WIDTH: Final = 232
_HEIGHT: Final = 74
_ACROSS: Final = 44
_DOWN: Final = 14
_MARGIN: Final = 8
_COLUMNS: Final = 4
"""How many tokens that were not passed on stand side by side, where no chain is longer."""


@dataclass(frozen=True, slots=True)
class Box:
    """A token in the picture."""

    node: Node
    x: int
    y: int
    is_focus: bool = False
    """Whether the page is about this one."""


@dataclass(frozen=True, slots=True)
class Line:
    """From a token to one that was derived from it."""

    path: str
    """As the `d` of SVG's `path`."""
    state: State
    """How the derived one stands."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes and lines, with their places in pixels."""

    boxes: list[Box] = field(default_factory=list[Box])
    lines: list[Line] = field(default_factory=list[Line])
    width: int = 0
    height: int = 0
    box_width: int = _WIDTH
    box_height: int = _HEIGHT

    @property
    def roots(self) -> list[Node]:
        """The tokens that are derived from none in the picture."""
        here = {box.node for box in self.boxes}
        return [box.node for box in self.boxes if box.node.parent not in here]

    def children(self, node: Node) -> list[Node]:
        """Return the tokens in the picture that were derived from one."""
        here = {box.node for box in self.boxes}
        return [child for child in node.children if child in here]

    @classmethod
    def of(cls, nodes: Sequence[Node], focus: str | None = None) -> Picture:
        """Return a picture of tokens.

        Args:
            nodes: the tokens, each after the one that it was derived from.
            focus: the token that the page is about.
        """
        rows, used = _rows(nodes)
        columns = {node: node.depth for node in rows}
        width = max([column + 1 for column in columns.values()], default=_COLUMNS)
        alone = dict.fromkeys(node for node in nodes if node not in rows)
        across = max(width, _COLUMNS) if len(alone) > 1 else width
        for i, node in enumerate(alone):
            rows[node], columns[node] = used + i // across, i % across
        boxes = {
            node: Box(node, _x(columns[node]), _y(rows[node]), is_focus=node.token_id == focus)
            for node in [*(node for node in nodes if node not in alone), *alone]
        }
        lines = [
            Line(_path(boxes[node.parent], box), node.state)
            for node, box in boxes.items()
            if node.parent is not None and node.parent in boxes
        ]
        right = max([box.x for box in boxes.values()], default=0) + _WIDTH + _MARGIN
        bottom = max([box.y for box in boxes.values()], default=0) + _HEIGHT + _MARGIN
        return cls(list(boxes.values()), lines, right, bottom)


def chosen(roots: Iterable[Node], most: int = MOST) -> tuple[list[Node], int]:
    """Return as many tokens as a picture has, family by family, and how many there are besides."""
    everyone = [node for root in roots for node in root.family()]
    return everyone[:most], len(everyone[most:])


def _rows(nodes: Sequence[Node]) -> tuple[dict[Node, float], int]:
    """Return the rows of tokens that have a relative here, and how many rows they take.

    What was not passed on has a row of its own; what was, stands in the middle of what it became.
    """
    here = set(nodes)
    rows: dict[Node, float] = {}
    used = 0
    for node in nodes:
        has_children = any(child in here for child in node.children)
        if not has_children and node.parent in here:
            rows[node] = used
            used += 1
    for node in reversed(nodes):
        places = [rows[child] for child in node.children if child in here]
        if places:
            rows[node] = (min(places) + max(places)) / 2
    return rows, used


def _x(column: int) -> int:
    return _MARGIN + column * (_WIDTH + _ACROSS)


def _y(row: float) -> int:
    return _MARGIN + round(row * (_HEIGHT + _DOWN))


def _path(parent: Box, child: Box) -> str:
    left, right = parent.x + _WIDTH, child.x
    start, end, middle = parent.y + _HEIGHT // 2, child.y + _HEIGHT // 2, (left + right) // 2
    return f"M{left} {start}C{middle} {start} {middle} {end} {right} {end}"
