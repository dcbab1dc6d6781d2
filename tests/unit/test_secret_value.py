"""R11: a secret's value is masked everywhere, and compares without telling."""
# ruff: noqa: TRY301 - what is raised here is the case

from __future__ import annotations

import copy
import json
import logging
import pickle
import string
import traceback
from collections.abc import Callable
from typing import Any, Final

import pytest

import remit

CANARY: Final = "canary-5b1e77aa"


def _secret(value: str = CANARY) -> remit.Secret:
    return remit.Secret(value, name="KEY", backend="env", token_id="t-1", agent="agent-a")


SHOWN: Final[dict[str, Callable[[remit.Secret], str]]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "f-string": lambda s: f"{s}",
    "f-string !r": lambda s: f"{s!r}",
    "f-string padded": lambda s: f"{s:>40}",
    "f-string in a list": lambda s: f"{[s]}",
    "format()": lambda s: "{}{0!s}".replace("{}", "{0}").format(s),
    "percent": lambda s: "%s %r" % (s, s),  # noqa: UP031 - one of the ways
    "template": lambda s: string.Template("$s").substitute(s=s),
    "dict": lambda s: repr({"key": s}),
    "json default=str": lambda s: json.dumps({"key": s}, default=str),
    "exception": lambda s: repr(ValueError("bad key", s)),
}


@pytest.mark.parametrize("way", SHOWN)
def test_a_secret_is_masked_however_it_is_shown(way: str) -> None:
    text = SHOWN[way](_secret())
    assert CANARY not in text
    assert text.strip()


@pytest.mark.parametrize("spec", ["", "20", ">20", "^5", ".3", "s"])
def test_a_format_specification_shows_nothing_of_the_value(spec: str) -> None:
    assert not set(format(_secret(), spec)) & set(CANARY)


def test_a_secret_is_masked_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    secret = _secret()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("app").warning("key %s %r %s", secret, secret, {"key": secret})
        try:
            raise ValueError(secret)
        except ValueError:
            logging.getLogger("app").exception("failed")
    assert CANARY not in caplog.text
    assert "**********" in caplog.text


def test_a_secret_is_masked_in_a_traceback_that_shows_variables() -> None:
    api_key = _secret()
    try:
        raise ValueError(f"the key {api_key} was refused")
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "api_key" in shown
    assert CANARY not in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    for holder in (_secret(), [_secret()], {"key": _secret()}):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(holder, protocol)
        assert CANARY not in str(caught.value)


def test_a_secret_is_not_json_and_has_no_variables() -> None:
    for way in (json.dumps, vars, iter, dict):
        with pytest.raises(TypeError) as caught:
            way(_secret())  # type: ignore[call-overload]  # the mistake itself
        assert CANARY not in str(caught.value)


def test_a_copy_of_a_secret_is_the_same_one() -> None:
    secret = _secret()
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"key": [secret]})["key"][0] is secret


def test_secrets_compare_by_value_and_only_with_secrets() -> None:
    assert _secret() == _secret()
    assert _secret() != _secret("canary-5b1e77ab")
    assert _secret() != _secret(CANARY + "x")
    for other in (CANARY, CANARY.encode(), None, 5, [CANARY]):
        assert _secret() != other
    assert len({_secret(), _secret()}) == 1


def test_a_secret_compares_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[Any] = []
    real = hmac.compare_digest

    def spy(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert _secret() != _secret("other")
    assert len(compared) == 1


def test_the_length_of_a_secret_is_not_told_and_its_truth_is() -> None:
    with pytest.raises(TypeError) as caught:
        len(_secret())
    assert str(len(CANARY)) not in str(caught.value)
    assert bool(_secret()) is True


def test_a_secret_tells_its_name_backend_token_and_agent() -> None:
    secret = _secret()
    assert (secret.name, secret.backend, secret.token_id, secret.agent) == ("KEY", "env", "t-1", "agent-a")
    assert repr(secret) == "Secret('KEY', backend='env')"
    assert secret.reveal() == CANARY


def test_a_secret_cannot_be_given_other_attributes() -> None:
    with pytest.raises(AttributeError):
        _secret().reveal = lambda: "x"  # type: ignore[method-assign]  # the mistake itself
    with pytest.raises(AttributeError):
        _secret().note = CANARY  # type: ignore[attr-defined]  # the mistake itself


def test_a_placeholder_for_a_secret_shows_its_name() -> None:
    assert repr(remit.secret("KEY")) == "remit.secret('KEY')"
    for wrong in ("", " ", None, 5):
        with pytest.raises(remit.ConfigError):
            remit.secret(wrong)  # type: ignore[arg-type]  # the mistake itself
