"""Names and lifetimes: a grammar with one reading, and nothing blank."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any, Final

import pytest

import remit

URI: Final = "https://auth.acme.example"
NOW: Final = 1_704_067_500
ISSUER: Final = remit.Issuer.generate(URI, clock=lambda: NOW)
BLANK: Final = (
    "",
    " ",
    "\t",
    "\n",
    "  \r\n ",
    "\u00a0",
    "\u3000",
    "\u2003",
    "\u200b",
    "\x00",
    "\x1f",
    "\ufeff",
)

Call = Callable[[Any], object]


def _issue(**options: Any) -> remit.Credential:
    asked: dict[str, Any] = {"agent": "a", "capabilities": ["t", "u"], **options}
    return ISSUER.issue(**asked)


NAMES: Final[dict[str, Call]] = {
    "agent": lambda x: _issue(agent=x),
    "session": lambda x: _issue(session=x),
    "task": lambda x: _issue(task=x),
    "secret": lambda x: _issue(secrets=[x]),
    "secret for": lambda x: _issue(secrets={x: ["t"]}),
    "capability": lambda x: _issue(capabilities=[x]),
    "Capability": remit.Capability,
    "delegate_only": lambda x: _issue(delegate_only=[x]),
    "delegate agent": lambda x: _issue(max_depth=1).delegate(agent=x, capabilities=["t"]),
    "delegate session": lambda x: _issue(max_depth=1).delegate(agent="b", capabilities=["t"], session=x),
    "delegate task": lambda x: _issue(max_depth=1).delegate(agent="b", capabilities=["t"], task=x),
    "remit.secret": remit.secret,
    "requires_capability": lambda x: remit.requires_capability(x),  # noqa: PLW0108  # one shape for all rows
}


@pytest.mark.parametrize("blank", BLANK, ids=ascii)
@pytest.mark.parametrize("name", NAMES)
def test_a_blank_name_is_refused(name: str, blank: str) -> None:
    """Arguments that make no sense when something is built (a blank name, …) raise `ConfigError`."""
    good = {"delegate_only": "t"}.get(name, "name")
    assert NAMES[name](good) is not None
    with pytest.raises(remit.ConfigError):
        NAMES[name](blank)


def test_none_is_a_name_nowhere() -> None:
    """A token names one agent."""
    for name in ("agent", "secret", "capability", "Capability", "delegate agent"):
        with pytest.raises(remit.ConfigError):
            NAMES[name](None)


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u3000"], ids=ascii)
@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("word", ["session", "task"])
def test_a_blank_session_or_task_is_denied_never_taken_for_none(word: str, bound: bool, blank: str) -> None:
    """Session binding where set; blank never means unbound."""
    guard = remit.Guard(trust=[ISSUER.anchor], clock=lambda: NOW)
    holder = _issue(**({word: "s-1"} if bound else {}))
    right: dict[str, Any] = {word: "s-1"} if bound else {}
    assert guard.check(holder, "t", {}, **right).agent == "a"
    assert guard.validate(holder.chain, **right).agent == "a"
    for call in (
        lambda: guard.check(holder, "t", {}, **{word: blank}),
        lambda: guard.validate(holder.chain, **{word: blank}),
        lambda: guard.verify(holder.present("t", {}), "t", {}, **{word: blank}),
    ):
        with pytest.raises(remit.Denied) as refusal:
            call()
        assert refusal.value.code == f"{word}_mismatch"


@pytest.mark.parametrize(("missing", "right", "wrong"), [(None, "s-1", "s-2")])
@pytest.mark.parametrize("word", ["session", "task"])
def test_missing_wrong_and_right(word: str, missing: None, right: str, wrong: str) -> None:
    """Missing, wrong, right, blank."""
    guard = remit.Guard(trust=[ISSUER.anchor], clock=lambda: NOW)
    holder = _issue(**{word: right})
    for value in (missing, wrong, right + " ", right.upper()):
        with pytest.raises(remit.Denied) as refusal:
            guard.check(holder, "t", {}, **{word: value})
        assert refusal.value.code == f"{word}_mismatch"
    assert guard.check(holder, "t", {}, **{word: right}).token_id == holder.token_id


@pytest.mark.parametrize("agent", ["", " ", "A", "a ", "\u0430", "b"])
def test_the_wrong_agent_is_denied(agent: str) -> None:
    """Wrong agent, tool or action denied, with the reason."""
    guard = remit.Guard(trust=[ISSUER.anchor], clock=lambda: NOW)
    assert guard.check(_issue(), "t", {}, agent="a").agent == "a"
    with pytest.raises(remit.Denied) as refusal:
        guard.check(_issue(), "t", {}, agent=agent)
    assert refusal.value.code == "agent_mismatch"


GOOD_TTL: Final[list[tuple[Any, int]]] = [
    ("1s", 1), ("30s", 30), ("10m", 600), ("15m", 900), ("2h", 7_200), ("7d", 604_800), ("604800s", 604_800),
    (1, 1), (600, 600), (604_800, 604_800), (timedelta(minutes=10), 600), (timedelta(seconds=1), 1),
    (timedelta(days=7), 604_800),
]  # fmt: skip
BAD_TTL: Final[dict[str, Any]] = {
    **{
        text or "empty": text
        for text in (
            "", " ", "0", "0s", "00s", "0m", "-1s", "-10m", "+10m", " 10m", "10m ", "10m\n", "\n10m", "10 m", "10\tm",
            "10", "m", "s", "10M", "10S", "10H", "10D", "1w", "52000w", "1y", "10ms", "10min", "10minutes", "1h30m",
            "10m10m", "1.5h", "1,5h", "1e3s", "1E3s", "0x10s", "1_0m", "10m#", "m10", "--1s", "1/2h", "10m\x00", "inf",
            "nan", "Infinity", "ten minutes", "PT10M", "P1D", "8d", "604801s", "9999999999d", "9" * 400 + "s",
            "\u0661\u0660m", "\uff11\uff10m", "1\u0660m", "\u00b2h", "\u0967m", "\u2160h", "10\uff4d", "\u221210m",
            "10m\u200b", "\u200b10m", "10\u00a0m",
        )
    },
    "int zero": 0,
    "int negative": -1,
    "int too long": 604_801,
    "int huge": 10**30,
    "true": True,
    "false": False,
    "nan float": float("nan"),
    "inf float": float("inf"),
    "-inf float": float("-inf"),
    "negative float": -1.0,
    "zero float": 0.0,
    "negative zero": -0.0,
    "huge float": 1e300,
    "delta zero": timedelta(0),
    "delta negative": timedelta(seconds=-1),
    "delta max": timedelta.max,
    "delta min": timedelta.min,
    "delta too long": timedelta(days=7, seconds=1),
    "bytes": b"10m",
    "list": ["10m"],
    "dict": {"minutes": 10},
    "object": object(),
    "datetime": datetime(2030, 1, 1, tzinfo=UTC),
    "complex": 10j,
    "10 MB": "1" * 10_000_000 + "s",
}  # fmt: skip


@pytest.mark.parametrize(("ttl", "seconds"), GOOD_TTL)
def test_a_ttl_is_a_number_and_a_unit(ttl: Any, seconds: int) -> None:
    """ttl such as 30s, 10m, 1h, 7d, seconds, or timedelta."""
    assert _issue(ttl=ttl).expires_at == datetime.fromtimestamp(NOW + seconds, UTC)


def test_a_ttl_left_out_is_ten_minutes() -> None:
    """Default 10m."""
    assert _issue().expires_at == datetime.fromtimestamp(NOW + 600, UTC)


@pytest.mark.parametrize("name", BAD_TTL)
def test_any_other_ttl_is_refused(name: str) -> None:
    """Refuses 0, negative, huge, NaN, non-ASCII digits; a ttl above the maximum."""
    with pytest.raises(remit.ConfigError):
        _issue(ttl=BAD_TTL[name])
    parent = _issue(ttl="7d", max_depth=1)
    with pytest.raises((remit.ConfigError, remit.AttenuationError)):
        parent.delegate(agent="b", capabilities=["t"], ttl=BAD_TTL[name])
    assert parent.delegate(agent="b", capabilities=["t"], ttl="10m").agent == "b"


@pytest.mark.parametrize(
    "name", [name for name in BAD_TTL if name not in {"8d", "604801s", "int too long", "delta too long"}]
)
def test_a_maximum_of_the_same_grammar_is_refused_too(name: str) -> None:
    """A maximum is configured, in the same words."""
    with pytest.raises(remit.ConfigError):
        remit.Issuer.generate(URI, max_ttl=BAD_TTL[name])


def test_a_maximum_is_kept_at_issue_and_at_check() -> None:
    """Maximum ttl enforced at issue and at check."""
    strict = remit.Issuer.generate(URI, max_ttl="1h", clock=lambda: NOW)
    assert strict.issue(agent="a", capabilities=["t"], ttl="1h")
    for ttl in ("61m", "2h", 3_601, timedelta(hours=1, seconds=1)):
        with pytest.raises(remit.ConfigError):
            strict.issue(agent="a", capabilities=["t"], ttl=ttl)
    holder = _issue(ttl="2h")
    assert remit.Guard(trust=[ISSUER.anchor], clock=lambda: NOW, max_ttl="2h").check(holder, "t", {})
    with pytest.raises(remit.Denied):
        remit.Guard(trust=[ISSUER.anchor], clock=lambda: NOW, max_ttl="1h").check(holder, "t", {})


@pytest.mark.parametrize("ttl", ["10m", 600, timedelta(minutes=10)])
def test_a_child_may_not_ask_for_longer_than_its_parent(ttl: Any) -> None:
    """`AttenuationError` says what would widen."""
    parent = _issue(ttl="5m", max_depth=1)
    with pytest.raises(remit.AttenuationError):
        parent.delegate(agent="b", capabilities=["t"], ttl=ttl)
    assert parent.delegate(agent="b", capabilities=["t"]).expires_at == parent.expires_at
    assert parent.delegate(agent="b", capabilities=["t"], ttl="5m").expires_at == parent.expires_at


NAIVE: Final = datetime(2024, 1, 1, 0, 5)  # noqa: DTZ001  # naive is the point


@pytest.mark.parametrize(
    "wrong", [NAIVE, NAIVE.date(), NOW + 0.5, float("nan"), "2024-01-01", "now", True, b"", [], object()]
)
def test_a_start_must_be_an_aware_moment(wrong: Any) -> None:
    """Aware UTC datetimes in Python; a naive datetime is refused."""
    with pytest.raises(remit.ConfigError):
        _issue(not_before=wrong)
    with pytest.raises(remit.ConfigError):
        _issue(max_depth=1).delegate(agent="b", capabilities=["t"], not_before=wrong)


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))]
)
def test_an_aware_moment_counts_whatever_its_zone(zone: timezone) -> None:
    """Window edges."""
    clock = [NOW]
    guard = remit.Guard(trust=[ISSUER.anchor], clock=lambda: clock[0])
    holder = _issue(not_before=datetime.fromtimestamp(NOW + 60, zone))
    for offset in (0, 59):
        clock[0] = NOW + offset
        with pytest.raises(remit.Denied) as refusal:
            guard.check(holder, "t", {})
        assert refusal.value.code == "token_not_yet_valid"
    clock[0] = NOW + 60
    assert guard.check(holder, "t", {})


@pytest.mark.parametrize("later", [60, 599, 600, 6_000, 3_601, 7 * 86_400, 10**9])
def test_a_window_is_refused_or_can_be_used(later: int) -> None:
    """Maximum ttl enforced at issue and at check: what one lets through, the other accepts."""
    clock = [NOW]
    guard = remit.Guard(trust=[ISSUER.anchor], clock=lambda: clock[0])
    start = datetime.fromtimestamp(NOW + later, UTC)
    with suppress(remit.ConfigError):
        holder = _issue(ttl="10m", not_before=start)
        assert holder.expires_at > start
        clock[0] = NOW + later
        assert guard.check(holder, "t", {}).agent == "a"
    clock[0] = NOW
    assert guard.check(_issue(ttl="10m"), "t", {}).agent == "a"


api: Final[Any] = remit
"""The same module, for calls that no type checker would let through."""

EMPTY: Final[dict[str, Callable[[], object]]] = {
    "no capabilities": lambda: _issue(capabilities=[]),
    "capabilities from an empty generator": lambda: _issue(capabilities=iter(())),
    "capabilities as one text": lambda: _issue(capabilities="t"),
    "no anchors": lambda: api.Guard(trust=[]),
    "one anchor instead of a list": lambda: api.Guard(trust=None),
    "Limit()": api.Limit,
    "Limit(max_uses=0)": lambda: api.Limit(max_uses=0),
    "Limit(max_uses=-1)": lambda: api.Limit(max_uses=-1),
    "Limit(max_uses=True)": lambda: api.Limit(max_uses=True),
    "Limit(max_uses=1.5)": lambda: api.Limit(max_uses=1.5),
    "Limit(budget={})": lambda: api.Limit(budget={}),
    "Limit(budget negative)": lambda: api.Limit(budget={"v": -1}),
    "Limit(budget nan)": lambda: api.Limit(budget={"v": float("nan")}),
    "Limit(budget inf)": lambda: api.Limit(budget={"v": float("inf")}),
    "Limit(budget true)": lambda: api.Limit(budget={"v": True}),
    "Limit(budget text)": lambda: api.Limit(budget={"v": "5"}),
    "Limit(budget blank)": lambda: api.Limit(budget={" ": 5}),
    **{
        f"Limit(rate={rate!r})": partial(api.Limit, rate=rate)
        for rate in ("", "10", "/m", "10/", "0/m", "-1/m", "10/w", "10 / m", "10/m ", "1e3/m", "\u0661\u0660/m", "1.5/m",
                     "10/0s", "10//m", 10, True, ("10", "m"), b"10/m")
    },
    "a limit on what is not granted": lambda: _issue(limits={"other": api.Limit(max_uses=1)}),
    "a secret for what is not granted": lambda: _issue(secrets={"KEY": ["other"]}),
    "a secret for nothing": lambda: _issue(secrets={"KEY": []}),
    "a capability twice": lambda: _issue(capabilities=["t", "t"]),
    "a capability twice, differently": lambda: _issue(capabilities=["t", api.Capability("t", v=1)]),
    "OneOf()": api.OneOf,
    "AllOf()": api.AllOf,
    "AnyOf()": api.AnyOf,
    "Range upside down": lambda: api.Range(min=2, max=1),
    "Range of true": lambda: api.Range(min=True),
    "Range of text": lambda: api.Range(max="5"),
    "Range of nan": lambda: api.Range(max=float("nan")),
    "Range of inf": lambda: api.Range(max=float("inf")),
    "Range too precise": lambda: api.Range(max=2**53 + 1),
    "Exact of a list": lambda: api.Exact([1]),
    "Exact of nan": lambda: api.Exact(float("nan")),
    "Exact of a surrogate": lambda: api.Exact("\ud800"),
    "Exact too precise": lambda: api.Exact(2**53 + 1),
    "OneOf of an object": lambda: api.OneOf(object()),
    "OneOf of nan": lambda: api.OneOf(1, float("nan")),
    "Path('')": lambda: api.Path(""),
    "Path relative": lambda: api.Path("data"),
    "Path with dots": lambda: api.Path("/data/../etc"),
    "Url('')": lambda: api.Url(""),
    "Url of a host": lambda: api.Url("api.example"),
    "Url with a user": lambda: api.Url("https://a@b.example"),
    "Email of an address": lambda: api.Email("a@acme.example"),
    "Email('')": lambda: api.Email(""),
    "Cidr('')": lambda: api.Cidr(""),
    "Cidr with host bits": lambda: api.Cidr("10.0.0.1/8"),
    "Prefix('')": lambda: api.Prefix(""),
    "MaxLength(-1)": lambda: api.MaxLength(-1),
    "MaxLength(True)": lambda: api.MaxLength(True),  # the mistake itself
    "Fields()": api.Fields,
    "Each of optional": lambda: api.Each(api.Anything().optional()),
    "AllOf of optional": lambda: api.AllOf(api.Anything().optional()),
    "max_depth negative": lambda: _issue(max_depth=-1),
    "max_depth true": lambda: _issue(max_depth=True),
    "max_depth text": lambda: _issue(max_depth="1"),
    "max_depth 9": lambda: _issue(max_depth=9),
    "issuer without a scheme": lambda: api.Issuer.generate("auth.acme.example"),
    "issuer blank": lambda: api.Issuer.generate(" "),
    "capability with a star": lambda: api.Capability("*"),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_what_makes_no_sense_is_refused_when_it_is_built(name: str) -> None:
    """Empty never means everything: each either is refused when built or denies."""
    with pytest.raises(remit.ConfigError):
        EMPTY[name]()
