"""R11: the ways out of a `Secret` that serialisers and debuggers take."""

from __future__ import annotations

import copy
import copyreg
import json
import logging
import marshal
import pickle
import pprint
import reprlib
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

import remit

CANARY = "canary-5ec4e7"

SECRET = remit.Secret(CANARY, name="KEY", backend="vault", token_id="t-1", agent="agent-a")

HOLDER: Any = [SECRET]

STATES: dict[str, Callable[[], object]] = {
    "__getstate__": SECRET.__getstate__,  # type: ignore[attr-defined,unused-ignore]
    "__reduce__": SECRET.__reduce__,
    "__reduce_ex__ 0": lambda: SECRET.__reduce_ex__(0),
    "__reduce_ex__ 4": lambda: SECRET.__reduce_ex__(4),
    "copyreg": lambda: copyreg._reduce_ex(SECRET, 0),  # type: ignore[attr-defined]
    "object.__reduce_ex__": lambda: object.__reduce_ex__(SECRET, 2),
    "pickle": lambda: pickle.dumps({"a": [SECRET]}),
    "a process": lambda: ForkingPickler.dumps(SECRET),
    "marshal": lambda: marshal.dumps(HOLDER),
    "json": lambda: json.dumps({"key": SECRET}),
    "bytes": lambda: bytes(SECRET),  # type: ignore[call-overload]
    "a number": lambda: f"{SECRET:d}",
    "percent d": lambda: "%d" % SECRET,  # type: ignore[str-format]  # noqa: UP031 - one of the ways
    "joined": lambda: ", ".join(HOLDER),
    "added": lambda: "key " + SECRET,  # type: ignore[operator]
    "compared": lambda: SECRET < HOLDER,
    "index": lambda: SECRET[0],  # type: ignore[index]
    "in": lambda: "c" in SECRET,  # type: ignore[operator]
}


@pytest.mark.parametrize("way", STATES)
def test_a_secret_gives_no_state_away(way: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        STATES[way]()
    assert CANARY not in str(caught.value)


def test_a_secret_is_masked_by_whatever_prints(caplog: pytest.LogCaptureFixture) -> None:
    holder: dict[str, Any] = {"key": [SECRET], "copy": copy.deepcopy([SECRET])}
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("app").info("%s %r", SECRET, holder, extra={"key": SECRET})
    told = [pprint.pformat(holder), reprlib.repr(holder), f"{SECRET!a} {SECRET=}", "%s" % SECRET, caplog.text]  # noqa: UP031
    told.append(json.dumps([vars(record) for record in caplog.records], default=repr))
    for text in told:
        assert "KEY" in text or "****" in text
        assert CANARY not in text
