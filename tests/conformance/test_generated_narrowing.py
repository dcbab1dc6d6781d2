"""Capability monotonicity: every pair of types, every rule about keys, on the wire."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import pytest

from .forge import Story, details, story
from .judge import STRUCTURE, denies, permits

WIDER: Final = (*STRUCTURE, "capability_missing", "argument_denied")


def _c(kind: str, **members: Any) -> dict[str, Any]:
    return {"constraint_type": kind, **members}


ANY: Final = _c("wildcard")


def chain(parent: Any, child: Any, args: dict[str, Any] | None = None) -> Story:
    """A root with the map `parent` and a leaf with the map `child` for `t`; `u` is granted by both and called."""
    made = story(1, tool="u", args={} if args is None else args)
    made.root.tools = {"t": parent, "u": {}}
    made.leaf.tools = {"t": child, "u": {}}
    return made


PLAIN: Final[dict[str, dict[str, Any]]] = {
    "exact": _c("exact", value=5),
    "range": _c("range", min=0, max=10),
    "one_of": _c("one_of", values=[5, 6]),
    "not_one_of": _c("not_one_of", excluded=[7]),
    "contains": _c("contains", required=[5]),
    "subset": _c("subset", allowed=[5]),
    "wildcard": ANY,
    "all": _c("all", constraints=[_c("range", min=0, max=10)]),
    "any": _c("any", constraints=[_c("exact", value=5)]),
}
VALID: Final = {
    *((kind, kind) for kind in PLAIN),
    *(("wildcard", kind) for kind in PLAIN),
    ("range", "exact"),
    ("one_of", "exact"),
}


@pytest.mark.parametrize(("parent", "child"), list(product(PLAIN, repeat=2)))
def test_every_pair_of_types(parent: str, child: str) -> None:
    """Every other pair is invalid and MUST be rejected, even where the meaning would be narrower."""
    made = chain({"v": PLAIN[parent]}, {"v": PLAIN[child]})
    if (parent, child) in VALID:
        permits(made)
    else:
        denies(made, STRUCTURE)


PAIRS: Final[list[tuple[dict[str, Any], dict[str, Any], bool]]] = [
    (_c("exact", value=5), _c("exact", value=6), False),
    (_c("exact", value=1), _c("exact", value=True), False),
    (_c("exact", value=1), _c("exact", value=1.0), True),
    (_c("exact", value="a"), _c("exact", value="A"), False),
    (_c("exact", value=None), _c("exact", value=False), False),
    (_c("range", min=0, max=10), _c("range", min=1, max=9), True),
    (_c("range", min=0, max=10), _c("range", min=0, max=11), False),
    (_c("range", min=0, max=10), _c("range", min=-1, max=10), False),
    (_c("range", min=0, max=10), _c("range", min=0), False),
    (_c("range", min=0, max=10), _c("range", max=10), False),
    (_c("range", min=0, max=10), _c("range"), False),
    (_c("range"), _c("range", min=0), True),
    (_c("range"), _c("exact", value=5), True),
    (_c("range"), _c("exact", value="5"), False),
    (_c("range"), _c("exact", value=True), False),
    (_c("range"), _c("exact", value=None), False),
    (_c("range", min=0, max=10), _c("exact", value=10), True),
    (_c("range", min=0, max=10, max_inclusive=False), _c("exact", value=10), False),
    (_c("range", min=0, max=10), _c("exact", value=11), False),
    (_c("range", min=0, max=10), _c("one_of", values=[5]), False),
    (_c("range", max=10), _c("range", max=10, max_inclusive=False), True),
    (_c("range", max=10, max_inclusive=False), _c("range", max=10), False),
    (_c("range", max=10, max_inclusive=False), _c("range", max=9.5), True),
    (_c("range", min=0, min_inclusive=False), _c("range", min=0), False),
    (_c("range", min=0, min_inclusive=False), _c("range", min=1), True),
    (_c("range", min=0), _c("range", min=0, min_inclusive=False), True),
    (_c("one_of", values=[1, 2]), _c("one_of", values=[2, 1]), True),
    (_c("one_of", values=[1, 2]), _c("one_of", values=[1, 1]), True),
    (_c("one_of", values=[1, 2]), _c("one_of", values=[1, 3]), False),
    (_c("one_of", values=[1, 2]), _c("one_of", values=[True]), False),
    (_c("one_of", values=[1, 2]), _c("one_of", values=[1.0]), True),
    (_c("one_of", values=[1, 2]), _c("exact", value=3), False),
    (_c("one_of", values=[1, "a"]), _c("not_one_of", excluded=[2]), False),
    (_c("one_of", values=[True]), _c("exact", value=1), False),
    (_c("not_one_of", excluded=[1]), _c("not_one_of", excluded=[1, 2]), True),
    (_c("not_one_of", excluded=[1, 2]), _c("not_one_of", excluded=[1]), False),
    (_c("not_one_of", excluded=[1]), _c("not_one_of", excluded=[True]), False),
    (_c("not_one_of", excluded=[1]), _c("exact", value=2), False),
    (_c("not_one_of", excluded=[]), _c("not_one_of", excluded=[]), True),
    (_c("contains", required=[1]), _c("contains", required=[1, 2]), True),
    (_c("contains", required=[1, 2]), _c("contains", required=[1]), False),
    (_c("contains", required=[]), _c("contains", required=[]), True),
    (_c("contains", required=[1]), _c("contains", required=[True]), False),
    (_c("subset", allowed=[1, 2]), _c("subset", allowed=[1]), True),
    (_c("subset", allowed=[1]), _c("subset", allowed=[1, 2]), False),
    (_c("subset", allowed=[1]), _c("subset", allowed=[]), True),
    (_c("subset", allowed=[1]), _c("subset", allowed=[True]), False),
    (_c("subset", allowed=[1]), _c("each", constraint=_c("exact", value=1)), False),
    (ANY, ANY, True),
    (ANY, _c("range"), True),
    (_c("range"), ANY, False),
    (_c("all", constraints=[ANY]), ANY, False),
    (_c("all", constraints=[_c("range", max=5)]), _c("range", max=4), False),
    (_c("any", constraints=[_c("exact", value=5)]), _c("exact", value=5), False),
    (_c("any", constraints=[_c("exact", value=5)]), _c("all", constraints=[_c("exact", value=5)]), False),
    (_c("all", constraints=[_c("range", max=5), ANY]), _c("all", constraints=[_c("exact", value=5)]), True),
    (_c("all", constraints=[_c("range", max=5), _c("range", min=0)]), _c("all", constraints=[_c("range", max=5)]), False),
    (_c("all", constraints=[_c("range", max=5)]), _c("all", constraints=[_c("range", max=6), _c("range", max=5)]), True),
    (_c("all", constraints=[_c("range", max=5)]), _c("all", constraints=[_c("range", max=6)]), False),
    (_c("any", constraints=[_c("range", max=5), _c("exact", value=9)]), _c("any", constraints=[_c("exact", value=9)]), True),
    (_c("any", constraints=[_c("range", max=5)]), _c("any", constraints=[_c("exact", value=4), _c("exact", value=6)]), False),
    (_c("any", constraints=[_c("one_of", values=[1, 2])]), _c("any", constraints=[_c("exact", value=1)]), True),
    (_c("any", constraints=[ANY]), _c("any", constraints=[_c("path", root="/x")]), True),
    (_c("path", root="/data"), _c("path", root="/data/x"), True),
    (_c("path", root="/data"), _c("path", root="/data2"), False),
    (_c("path", root="/data/x"), _c("path", root="/data"), False),
    (_c("path", root="/data"), ANY, False),
    (_c("path", root="/data"), _c("prefix", prefix="/data/"), False),
    (_c("path", root="/data"), _c("exact", value="/data2"), False),
    (_c("path", root="/data"), _c("exact", value="/data/../etc"), False),
    (_c("url", base="https://h.example/a"), _c("url", base="https://h.example/a/b"), True),
    (_c("url", base="https://h.example/a"), _c("url", base="https://h.example/ab"), False),
    (_c("url", base="https://h.example/a"), _c("url", base="https://h.example"), False),
    (_c("url", base="https://h.example/a"), _c("url", base="http://h.example/a"), False),
    (_c("url", base="https://h.example/a"), _c("url", base="https://h.example:8443/a"), False),
    (_c("url", base="https://h.example"), _c("url", base="https://x.h.example"), False),
    (_c("url", base="https://h.example"), _c("prefix", prefix="https://h.example/"), False),
    (_c("email", domain="a.example"), _c("email", domain="a.example"), True),
    (_c("email", domain="a.example"), _c("email", domain="b.a.example"), False),
    (_c("email", domain="a.example"), _c("exact", value="x@b.example"), False),
    (_c("cidr", network="10.0.0.0/8"), _c("cidr", network="10.1.0.0/16"), True),
    (_c("cidr", network="10.0.0.0/8"), _c("cidr", network="11.0.0.0/8"), False),
    (_c("cidr", network="10.1.0.0/16"), _c("cidr", network="10.0.0.0/8"), False),
    (_c("cidr", network="0.0.0.0/0"), _c("cidr", network="::/0"), False),
    (_c("cidr", network="10.0.0.0/8"), _c("exact", value="::ffff:10.0.0.1"), False),
    (_c("prefix", prefix="ab"), _c("prefix", prefix="abc"), True),
    (_c("prefix", prefix="ab"), _c("prefix", prefix="a"), False),
    (_c("prefix", prefix="ab"), _c("exact", value="xab"), False),
    (_c("max_length", max=5), _c("max_length", max=5), True),
    (_c("max_length", max=5), _c("max_length", max=6), False),
    (_c("max_length", max=5), _c("max_length", max=0), True),
    (_c("max_length", max=5), _c("exact", value="abcdef"), False),
    (_c("each", constraint=_c("range", max=5)), _c("each", constraint=_c("range", max=4)), True),
    (_c("each", constraint=_c("range", max=5)), _c("each", constraint=_c("range", max=6)), False),
    (_c("each", constraint=_c("range", max=5)), _c("range", max=5), False),
    (_c("fields", fields={"a": _c("range", max=5)}), _c("fields", fields={"a": _c("exact", value=5)}), True),
    (_c("fields", fields={"a": ANY}), _c("fields", fields={"a": ANY, "b": ANY}), False),
    (_c("fields", fields={"a": ANY}), _c("fields", fields={"b": ANY}), False),
    (_c("fields", fields={"a": ANY}), _c("fields", fields={"a": ANY}, may_omit=["a"]), False),
    (_c("fields", fields={"a": ANY}, may_omit=["a"]), _c("fields", fields={"a": ANY}), True),
    (_c("fields", fields={"a": ANY, "b": ANY}), _c("fields", fields={"a": ANY}), False),
    (_c("fields", fields={"a": _c("exact", value=5)}), _c("fields", fields={"a": ANY}), False),
]  # fmt: skip


@pytest.mark.parametrize(("parent", "child", "narrower"), PAIRS, ids=lambda item: str(item)[:60])
def test_pairs_of_constraints(parent: dict[str, Any], child: dict[str, Any], narrower: bool) -> None:
    """Verify that the parent's constraint for that key subsumes the child's."""
    made = chain({"v": parent}, {"v": child})
    if narrower:
        permits(made)
    else:
        denies(made, STRUCTURE)


OPT: Final = {**_c("range", max=5), "optional": True}
REQ: Final = _c("range", max=5)
MAPS: Final[list[tuple[dict[str, Any], dict[str, Any], bool]]] = [
    ({}, {}, True),
    ({}, {"*": ANY}, True),
    ({"*": ANY}, {}, True),
    ({}, {"v": REQ}, True),
    ({}, {"v": OPT, "*": ANY}, True),
    ({"v": REQ}, {}, False),
    ({"v": REQ}, {"*": ANY}, False),
    ({"v": OPT}, {}, False),
    ({"v": OPT}, {"*": ANY}, False),
    ({"v": REQ}, {"v": REQ, "*": ANY}, False),
    ({"v": REQ, "*": ANY}, {"v": REQ}, True),
    ({"v": REQ, "*": ANY}, {"v": REQ, "w": REQ}, True),
    ({"v": REQ, "*": ANY}, {}, False),
    ({"v": REQ, "*": ANY}, {"*": ANY}, False),
    ({"v": REQ, "*": ANY}, {"w": REQ}, False),
    ({"v": OPT, "*": ANY}, {"w": REQ}, True),
    ({"v": OPT, "*": ANY}, {"w": REQ, "*": ANY}, False),
    ({"v": OPT, "*": ANY}, {"*": ANY}, False),
    ({"v": OPT}, {"v": REQ}, True),
    ({"v": REQ}, {"v": OPT}, False),
    ({"v": {**REQ, "optional": False}}, {"v": REQ}, True),
    ({"v": REQ}, {"v": {**REQ, "optional": False}}, True),
    ({"v": REQ}, {"w": REQ}, False),
    ({"v": REQ}, {"V": REQ}, False),
    ({"v": REQ}, {"v": REQ, "w": OPT}, False),
    ({"v": OPT, "w": OPT}, {"v": OPT}, True),
    ({"v": OPT, "w": REQ}, {"v": OPT}, False),
]


@pytest.mark.parametrize(("parent", "child", "narrower"), MAPS, ids=lambda item: str(item)[:60])
def test_rules_about_argument_names(parent: dict[str, Any], child: dict[str, Any], narrower: bool) -> None:
    """Verify the key rules of Section 4.5."""
    made = chain(parent, child)
    if narrower:
        permits(made)
    else:
        denies(made, STRUCTURE)


def test_a_tool_the_parent_does_not_grant_is_refused_even_when_another_is_called() -> None:
    """If any child tool is absent from the parent, DENY."""
    made = chain({}, {})
    permits(made)
    made.leaf.tools = {"t": {}, "u": {}, "w": {}}
    denies(made, STRUCTURE)


def test_a_tool_the_child_leaves_out_is_gone() -> None:
    """Tool omission is valid attenuation."""
    made = chain({}, {})
    made.leaf.tools = {"u": {}}
    permits(made)
    gone = chain({}, {})
    gone.leaf.tools = {"t": {}}
    denies(gone, ("capability_missing",))


def test_what_the_middle_took_away_does_not_come_back() -> None:
    """A derived token can only authorize a subset of what its parent authorized."""
    made = story(2, tool="t", args={})
    made.links[0].tools = {"t": {}, "u": {}}
    made.links[1].tools = {"u": {}}
    made.links[2].tools = {"t": {}}
    denies(made, STRUCTURE)
    made.links[2].tools = {"u": {}}
    made.tool = "u"
    made.proof.set(aat_tool="u")
    permits(made)


def test_every_link_is_checked_not_only_the_leaf() -> None:
    """Capability present and arguments allowed on every link, not only the leaf."""
    made = story(2, tool="t", args={"v": 3})
    for link, maximum in zip(made.links, (9, 6, 3), strict=True):
        link.tools = {"t": {"v": _c("range", max=maximum)}}
    permits(made)
    made.links[1].tools = {"t": {"v": _c("range", max=2)}}
    denies(made, STRUCTURE)


def test_empty_middles_may_follow_each_other_and_grant_nothing() -> None:
    """Can only derive further empty-capability tokens."""
    made = story(2)
    permits(made)
    for empty in ([], [{"type": "other"}], details({})):
        for link in made.links[1:]:
            link.set(authorization_details=empty)
        denies(made, WIDER)
