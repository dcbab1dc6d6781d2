"""A secret that somebody pasted where a reference belongs is refused, and shown to nobody."""

from __future__ import annotations

import logging
import pickle
import traceback
from pathlib import Path

import pytest

import remit
from remit.config import load

from .support import refusal

CANARY = "sk-live-CANARY-3141592653"
PLACES = {
    "secret": ("[secrets]\nKEY = {}\n", "secret 'KEY'"),
    "secret-table": ("[secrets]\nKEY.value = {}\n", "secret 'KEY'"),
    "secret-list": ("[secrets]\nKEY = [{}]\n", "secret 'KEY'"),
    "passphrase": ("[issuer]\nkey = 'k'\npassphrase = {}\n", "passphrase"),
    "audit-passphrase": ("[audit]\npath = 'a'\nkey = 'k'\npassphrase = {}\n", "passphrase"),
    "admin-token": ("[service]\nadmin_token = {}\n", "admin_token"),
    "ledger": ("[ledger]\nurl = {}\n", "url"),
}
SPELLED = {
    "text": f"'{CANARY}'",
    "long": f"'''{CANARY}\n{CANARY}'''",
    "number": "3141592653",
    "scheme-like": f"'{CANARY}:x'",
    "blank": f"' {CANARY}'",
    "control": f'"\\u0000{CANARY}"',
}


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
@pytest.mark.parametrize(("text", "what"), PLACES.values(), ids=PLACES)
def test_a_pasted_secret_is_refused_and_not_shown(
    text: str, what: str, spelled: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    Path("remit.toml").write_text(text.replace("{}", spelled), encoding="utf-8")
    with pytest.raises(remit.ConfigError) as caught:
        load("remit.toml")
    assert what in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
    chain: BaseException | None = caught.value
    while chain is not None:  # what a collector of errors would look at, also where it is not printed
        shown += repr(chain) + repr(vars(chain))
        chain = chain.__cause__ or chain.__context__
    assert "CANARY" not in shown
    assert "3141592653" not in shown


@pytest.mark.parametrize("scheme", ["postgres", "https", "sk", "evn", "ENV", "e" * 33])
def test_a_reference_of_no_known_scheme_is_not_shown_either(scheme: str) -> None:
    told = refusal(f"[secrets]\nKEY = '{scheme}://user:{CANARY}@host/db'\n")
    assert told.startswith("remit.toml:2: secret 'KEY' must be a reference such as 'env://NAME'")
    assert "CANARY" not in told


def test_a_misspelt_scheme_is_told_with_what_was_meant() -> None:
    assert refusal("[secrets]\nKEY = 'evn://KEY'\n") == (
        "remit.toml:2: secret 'KEY' must be a reference such as 'env://NAME'; its scheme is not known; did you mean 'env://'?"
    )


@pytest.mark.parametrize(
    "reference",
    [
        "env://",
        "env:// ",
        "env://A B",
        "env://A#b",
        "env://A=B",
        "file://../up",
        "file://a//b",
        "vault://a#",
        "env://A?x=y",
    ],
)
def test_a_reference_that_its_backend_refuses_is_refused_at_once(reference: str) -> None:
    assert refusal(f"[secrets]\nKEY = '{reference}'\n").startswith("remit.toml:2: secret 'KEY'")


def test_a_secret_without_quotes_is_no_toml_and_not_shown() -> None:
    told = refusal(f"[secrets]\nKEY = {CANARY}\n")
    assert told == "remit.toml:2: is not valid TOML: Invalid value"


def test_a_loaded_file_holds_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER", CANARY)
    Path("remit.toml").write_text(
        "[secrets]\nKEY = 'env://BROKER'\n[service]\nadmin_token = 'env://BROKER'\n"
        "[agents.a]\ncapabilities = ['x:do']\nsecrets = ['KEY']\n"
        f"[ledger]\nurl = 'redis://:{CANARY}@localhost/0'\n"
    )
    config = load()
    assert config.secrets().fetch("KEY") == CANARY
    assert config.service.admin_token is not None
    assert config.resolve(config.service.admin_token) == CANARY
    assert CANARY not in repr(config) + repr(vars(config)) + repr(config.grant("a")) + repr(config.agents)
    with pytest.raises(TypeError):
        pickle.dumps(config)


def test_a_ledger_url_with_a_password_is_not_shown_when_it_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url, setting in [(f"nosuch://u:{CANARY}@h/0", None), ("env://LEDGER", f"nosuch://u:{CANARY}@h/0")]:
        if setting is not None:
            monkeypatch.setenv("LEDGER", setting)
        Path("remit.toml").write_text(f"[ledger]\nurl = '{url}'\n")
        config = load()
        with pytest.raises(remit.ConfigError) as caught:
            config.ledger()
        assert "CANARY" not in "".join(traceback.format_exception(caught.value)) + repr(config)
