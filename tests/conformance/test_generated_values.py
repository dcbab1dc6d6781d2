"""Constraints: what each type accepts, and what it only seems to accept."""

from __future__ import annotations

from typing import Any, Final

import pytest

from .forge import story
from .judge import ARGUMENT, denies, permits

VERDICTS: Final[list[tuple[dict[str, Any], list[Any], list[Any]]]] = [
    ({"constraint_type": "exact", "value": 1}, [1, 1.0], [True, "1", None, [1], 1.5, 0]),
    ({"constraint_type": "exact", "value": True}, [True], [1, "true", False, 1.0]),
    ({"constraint_type": "exact", "value": 0}, [0, 0.0, -0.0], [False, "", None, [], "0"]),
    ({"constraint_type": "exact", "value": None}, [None], [False, 0, "", "null", [], {}]),
    ({"constraint_type": "exact", "value": "é"}, ["é"], ["e\u0301", "É", "e"]),
    ({"constraint_type": "exact", "value": ""}, [""], [None, False, 0, [], " "]),
    ({"constraint_type": "range", "min": 0, "max": 1}, [0, 1, 0.5, -0.0], [True, False, "0", None, -1, 1.1, [0]]),
    ({"constraint_type": "range", "min": 0, "min_inclusive": False}, [1, 5e-324], [0, -0.0, -1]),
    ({"constraint_type": "range", "max": 1, "max_inclusive": False}, [0, -(2**53)], [1, 1.0, 2]),
    ({"constraint_type": "range"}, [0, -1.5, 10**15], [True, "1", None, [], {}]),
    ({"constraint_type": "one_of", "values": [1, "a", None, [1], {"k": 1}]}, [1, "a", None, [1], {"k": 1.0}],
     [True, "A", [], {}, {"k": 2}, [1, 1], "1"]),
    ({"constraint_type": "one_of", "values": [1, 1, 1]}, [1], [True, 2]),
    ({"constraint_type": "not_one_of", "excluded": [1, "a"]}, [True, 2, "A", None, []], [1, 1.0, "a"]),
    ({"constraint_type": "not_one_of", "excluded": []}, [1, None, "a"], []),
    ({"constraint_type": "contains", "required": [1, "a"]}, [[1, "a"], ["a", 2, 1.0]], [[1], ["a"], [True, "a"], "1a", {"1": 1}, None]),
    ({"constraint_type": "contains", "required": []}, [[], [1]], ["", None, {}, 1]),
    ({"constraint_type": "contains", "required": [1, 1]}, [[1]], [[]]),
    ({"constraint_type": "subset", "allowed": [1, "a"]}, [[], [1], [1, 1, "a"]], [[2], [True], [1, None], "a", {}, None, 1]),
    ({"constraint_type": "subset", "allowed": []}, [[]], [[1], [None], "", None]),
    ({"constraint_type": "one_of", "values": [45041532177988700]}, [4.50415321779887e16, 45041532177988700], [1e16]),
    ({"constraint_type": "one_of", "values": [[4.50415321779887e16]]}, [[45041532177988700]], [[1e16]]),
    ({"constraint_type": "not_one_of", "excluded": [4.50415321779887e16]}, [1e16], [4.50415321779887e16, 45041532177988700]),
    ({"constraint_type": "not_one_of", "excluded": [45041532177988700]}, [1e16], [4.50415321779887e16, 45041532177988700]),
    ({"constraint_type": "range", "min": 45041532177988700, "min_inclusive": False}, [1e17], [4.50415321779887e16, 45041532177988700]),
    ({"constraint_type": "wildcard"}, [None, 1, "a", [], {}, True, [[1]]], []),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "accepted", "refused"), VERDICTS, ids=lambda item: str(item)[:40])
def test_what_each_type_of_the_draft_accepts(
    constraint: dict[str, Any], accepted: list[Any], refused: list[Any]
) -> None:
    """Constraint values and arguments are compared by their JCS serializations."""
    for value in accepted:
        permits(story(0, tools={"t": {"v": constraint}}, tool="t", args={"v": value}))
    for value in refused:
        denies(story(0, tools={"t": {"v": constraint}}, tool="t", args={"v": value}), ARGUMENT)


EXTENSIONS: Final[list[tuple[dict[str, Any], list[Any], list[Any]]]] = [
    ({"constraint_type": "path", "root": "/data"}, ["/data", "/data/x", "/data/x/y.txt", "/data/..x", "/data/x.."],
     ["/data2", "/datax/y", "/dat", "/", "", "data", "data/x", "/data/..", "/data/../etc", "/data/./x", "/data//x",
      "//data", "/data/x/../../etc", "/data\\..\\etc", "/data/\u0000", "/data/x\n", "/DATA", "/data/%2e%2e/etc",
      "~/data", "file:///data/x", " /data", None, 1, ["/data"], {"p": "/data"}, True]),
    ({"constraint_type": "url", "base": "https://host.example/v1"},
     ["https://host.example/v1", "https://host.example/v1/x", "https://host.example/v1/x/y"],
     ["http://host.example/v1", "https://host.example/v2", "https://host.example/v10", "https://host.example/",
      "https://host.example", "https://host.example.evil/v1", "https://evil.host.example/v1",
      "https://host.example@evil/v1", "https://user:pw@host.example/v1", "https://host.example:8443/v1",
      "https://host.example/v1/../admin", "https://host.example/v1/%2e%2e/admin", "https://host.example/v1/./x",
      "https://host.example\\@evil/v1", "https://host.example/v1\\..\\x", "https:/host.example/v1",
      "https:host.example/v1", "//host.example/v1", "/v1", " https://host.example/v1", "https://host.example/v1\n",
      "https://host.example /v1", "https://host\u3002example/v1", "https://host.example#@evil/v1", "javascript:1",
      "https://host.example/v1/%2F..%2Fadmin", "https://\uff48ost.example/v1", None, 1, ["https://host.example/v1"]]),
    ({"constraint_type": "email", "domain": "acme.example"}, ["a@acme.example", "first.last@acme.example"],
     ["a@evil.example", "a@acme.example.evil", "a@sub.acme.example", "a@xacme.example", "acme.example", "@acme.example",
      "a@b@acme.example", "a@acme.example,b@evil.example", "a@evil.example;b@acme.example", "<a@acme.example>",
      "A <a@acme.example>", "a@acme.example ", " a@acme.example", "a@acme.example\n", "a@acme.example\r\nBcc: x@evil",
      "a@acme\u3002example", '"a@evil"@acme.example', "a b@acme.example", "a@acme.example.", "a@@acme.example", "", None,
      1, ["a@acme.example"], "a(x)@acme.example", "a@[127.0.0.1]"]),
    ({"constraint_type": "cidr", "network": "10.0.0.0/8"}, ["10.0.0.1", "10.255.255.255", "10.0.0.0"],
     ["11.0.0.1", "9.255.255.255", "010.0.0.1", "10.1", "10.0.0.1/32", "10.0.0.1 ", " 10.0.0.1", "::ffff:10.0.0.1",
      "::10.0.0.1", "0xa000001", "167772161", 167772161, "10.0.0.256", "10.0.0.1.", "10.0.0.1\n", "\u0661\u0660.0.0.1",
      "localhost", "", None, ["10.0.0.1"], "10.0.0.1:80", "fe80::1%eth0"]),
    ({"constraint_type": "cidr", "network": "2001:db8::/32"}, ["2001:db8::1"],
     ["2001:db9::1", "2001:db8::1%eth0", "[2001:db8::1]", "10.0.0.1", "2001:DB8::1/128", "::1"]),
    ({"constraint_type": "prefix", "prefix": "ab"}, ["ab", "abc", "ab\n"], ["a", "", "AB", "xab", " ab", None, 1, ["ab"]]),
    ({"constraint_type": "max_length", "max": 3}, ["", "abc", "äöü"], ["abcd", None, 1, True, 10**9]),
    ({"constraint_type": "each", "constraint": {"constraint_type": "range", "max": 3}}, [[], [1], [1, 2, 3]],
     [[4], [1, 4], [True], ["1"], [[1]], 1, None, "", {}, {"0": 1}]),
    ({"constraint_type": "fields", "fields": {"a": {"constraint_type": "exact", "value": 1}}}, [{"a": 1}],
     [{}, {"a": 2}, {"a": True}, {"a": 1, "b": 2}, {"A": 1}, [["a", 1]], None, "a", 1, []]),
    ({"constraint_type": "fields", "fields": {"a": {"constraint_type": "exact", "value": 1},
                                              "b": {"constraint_type": "range", "max": 2}}, "may_omit": ["b"]},
     [{"a": 1}, {"a": 1, "b": 2}], [{"b": 2}, {"a": 1, "b": 3}, {"a": 1, "c": 1}, {}]),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "accepted", "refused"), EXTENSIONS, ids=lambda item: str(item)[:60])
def test_what_each_type_of_remit_accepts(
    constraint: dict[str, Any], accepted: list[Any], refused: list[Any]
) -> None:
    """Each *rejecting* odd input rather than normalising it."""
    for value in accepted:
        permits(story(0, tools={"t": {"v": constraint}}, tool="t", args={"v": value}))
    for value in refused:
        denies(story(0, tools={"t": {"v": constraint}}, tool="t", args={"v": value}), ARGUMENT)
