"""R19: tokens, holder keys and secrets are in no repr, log, exception, pickle or record."""
# ruff: noqa: TRY301 - what is raised here is the case

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

import remit

from .support import URI, World, refusal

SECRET: Final = "canary-91d2c8f4"


def _private(credential: remit.Credential) -> str:
    """The private part of its holder key, as a JWK spells it."""
    return str(json.loads(credential.to_json())["holder_key"]["d"])


def _canaries(*credentials: remit.Credential) -> list[str]:
    """What must be seen nowhere: each token, its signature, the private key in three spellings, the secret."""
    found = [SECRET]
    for credential in credentials:
        key = _private(credential)
        raw = base64.urlsafe_b64decode(key + "=")
        found += [key, raw.hex(), repr(raw)[2:-1], credential.token, credential.token.rpartition(".")[2]]
    return found


def _assert_clean(text: str, canaries: list[str]) -> None:
    assert text
    assert sum(canary in text for canary in canaries) == 0


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", SECRET)


def _holders(world: World) -> tuple[dict[str, Any], list[str]]:
    credential = world.issue("tool:use", secrets=["KEY"], max_depth=1)
    child = credential.delegate("worker", ["tool:use"], secrets=["KEY"])
    guard = world.guard
    things = {
        "credential": credential,
        "child": child,
        "presentation": child.present("tool:use", {"n": 1}),
        "permit": guard.check(child, "tool:use", {"n": 1}),
        "token": guard.validate(child),
        "decision": guard.explain(child, "tool:use", {"n": 1}),
        "guard": guard,
        "issuer": world.issuer,
        "anchor": world.issuer.anchor,
        "secret": guard.resolve_secret(child, "KEY", tool="tool:use"),
        "secrets": remit.Secrets({"KEY": "env://KEY"}),
        "audit": world.audit,
        "records": world.audit.records,
        "binding": guard.acting_as(child),
        "denial": refusal(lambda: guard.check(child, "admin", {})),
    }
    return things, _canaries(credential, child)


@pytest.mark.parametrize(
    "way", ["repr", "str", "f-string", "format", "log", "log of an exception", "percent"]
)
def test_nothing_that_is_shown_holds_a_canary(
    world: World, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    things, canaries = _holders(world)
    for name, thing in things.items():
        if way == "log":
            with caplog.at_level(logging.DEBUG):
                logging.getLogger("app").info("%s %r %s", thing, thing, {name: thing})
            text = caplog.text
        elif way == "log of an exception":
            try:
                raise ValueError("failed with", thing)
            except ValueError:
                logging.getLogger("app").exception("failed")
            text = caplog.text
        else:
            ways: dict[str, Callable[[Any], str]] = {
                "repr": repr, "str": str, "f-string": lambda x: f"{x} {x!r} {[x]}", "format": format,
                "percent": lambda x: "%s" % (x,),  # noqa: UP031 - one of the ways
            }  # fmt: skip
            text = ways[way](thing)
        _assert_clean(text, canaries)


def test_a_traceback_that_shows_variables_holds_no_canary(world: World) -> None:
    things, canaries = _holders(world)

    def fail(credential: object, presentation: object, permit: object, secret: object) -> None:
        raise ValueError(f"{credential} {presentation} {permit} {secret}")

    with pytest.raises(ValueError, match="Credential") as caught:
        fail(things["credential"], things["presentation"], things["permit"], things["secret"])
    frame = caught.value.__traceback__.tb_next if caught.value.__traceback__ else None
    shown = traceback.TracebackException(ValueError, caught.value, frame, capture_locals=True)
    text = "".join(shown.format())
    assert "presentation = " in text
    _assert_clean(text, canaries)


def test_what_a_permit_leads_to_holds_no_canary(world: World) -> None:
    credential = world.issue()
    permit = world.guard.check(credential, "tool:use", {})
    public = {name: getattr(permit, name) for name in dir(permit) if not name.startswith("_")}
    _assert_clean(f"{public!r} {public}", _canaries(credential))


@pytest.mark.parametrize("kind", ["credential", "issuer", "secret", "permit"])
def test_what_holds_a_key_a_secret_or_a_right_is_not_pickled(world: World, kind: str) -> None:
    things, canaries = _holders(world)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for holder in (things[kind], {"a": [things[kind]]}):
            with pytest.raises(TypeError) as caught:
                pickle.dumps(holder, protocol)
            _assert_clean("".join(traceback.format_exception(caught.value)), canaries)


@pytest.mark.parametrize("kind", ["credential", "issuer", "secret", "permit", "presentation"])
def test_what_holds_a_key_or_a_token_is_not_json(world: World, kind: str) -> None:
    things, canaries = _holders(world)
    with pytest.raises(TypeError) as caught:
        json.dumps({"state": things[kind]})
    _assert_clean(str(caught.value), canaries)
    _assert_clean(json.dumps({"state": things[kind]}, default=str), canaries)


def test_a_copy_of_a_credential_is_the_same_one_and_closes_with_it(world: World) -> None:
    credential = world.issue()
    copies = [
        copy.copy(credential),
        copy.deepcopy(credential),
        copy.deepcopy({"state": [credential]})["state"][0],
    ]
    assert all(each is credential for each in copies)
    credential.close()
    assert all(each.closed for each in copies)


def test_a_credential_has_no_variables_to_dump(world: World) -> None:
    credential = world.issue()
    with pytest.raises(TypeError):
        vars(credential)
    public = {name: getattr(credential, name) for name in dir(credential) if not name.startswith("_")}
    del public["chain"], public["token"]  # its tokens, which it is asked for by these names
    _assert_clean(repr(public), _canaries(credential))


def test_a_closed_credential_has_forgotten_its_key(world: World) -> None:
    credential = world.issue()
    key = _private(credential)
    credential.close()
    assert credential.has_key is False
    assert refusal(credential.to_json).code == "credential_closed"
    assert refusal(lambda: credential.save("/nowhere/x")).code == "credential_closed"
    assert refusal(lambda: credential.present("tool:use", {})).code == "credential_closed"
    assert key not in repr(credential)
    assert "closed" in repr(credential)
    credential.close()  # twice is no error
    assert credential.closed


def test_records_hold_no_token_no_key_no_secret_and_no_argument(world: World) -> None:
    credential = world.issue("tool:use", secrets=["KEY"])

    @remit.requires_capability("tool:use")
    def tool(text: str, *, api_key: remit.Secret = remit.secret("KEY")) -> str:
        if text == "canary-fail":
            raise ValueError(api_key.reveal())
        return api_key.reveal() + text

    with world.guard.acting_as(credential):
        tool("canary-argument")
        with pytest.raises(ValueError, match="secret KEY"):
            tool("canary-fail")
        refusal(lambda: tool("x", api_key=SECRET))  # type: ignore[arg-type]  # the attack itself
    refusal(lambda: world.guard.check(credential, "canary:capability", {"text": "canary-argument"}))
    shown = credential.present("tool:use", {"text": "canary-argument"})
    world.guard.verify(shown, "tool:use", {"text": "canary-argument"})
    refusal(
        lambda: world.guard.verify({"aat_chain": [credential.token + "x"], "aat_pop": "p"}, "tool:use", {})
    )
    text = json.dumps([dict(record) for record in world.audit.records]) + repr(world.audit.records)
    _assert_clean(text, [*_canaries(credential), shown.proof, "canary-argument", "canary-fail"])


def test_refusals_hold_no_token_and_no_argument(world: World) -> None:
    credential = world.issue(remit.Capability("tool:use", n=remit.Range(max=5)))
    forged = credential.token[:-4] + "AAAA"
    calls: list[Callable[[], object]] = [
        lambda: world.guard.check(credential, "tool:use", {"n": "canary-argument"}),
        lambda: world.guard.validate(forged),
        lambda: world.guard.validate(credential.token + ".canary-argument"),
        lambda: world.guard.validate(["canary-argument"]),
        lambda: world.guard.verify(
            {"aat_chain": [credential.token], "aat_pop": "canary-argument"}, "tool:use", {"n": 1}
        ),
        lambda: remit.Credential.from_token(credential.token[:-9] + "!canary-argument"),
    ]
    for call in calls:
        denied = refusal(call)
        text = "".join(traceback.format_exception(denied)) + repr(denied) + json.dumps(denied.to_dict())
        _assert_clean(text.partition("Error")[0] + str(denied) + repr(denied), [credential.token, forged])
        _assert_clean(str(denied) + repr(denied) + json.dumps(denied.to_dict()), ["canary-argument"])
        assert denied.__cause__ is None
        again = pickle.loads(pickle.dumps(denied))  # noqa: S301 - our own
        assert (again.code, again.reason, type(again)) == (denied.code, denied.reason, type(denied))


def test_files_that_cannot_be_read_are_not_quoted(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential = world.issue()
    text = credential.to_json()
    canaries = _canaries(credential)
    for wrong in (text[:-9], text + "}", text.replace('"chain"', '"chains"'), text.replace("{", "[", 1), "\ufeff" + text,
                  text.replace('"d": "', '"d": "x')):  # fmt: skip
        path = tmp_path / "credential"
        path.unlink(missing_ok=True)
        path.write_text(wrong, encoding="utf-8")
        path.chmod(0o600)
        monkeypatch.setenv("REMIT_CREDENTIAL", wrong)
        loads: list[Callable[[], object]] = [
            partial(remit.Credential.load, path),
            partial(remit.Credential.from_env, "REMIT_CREDENTIAL"),
        ]
        for load in loads:
            with pytest.raises(remit.KeyFileError) as caught:
                load()
            error: BaseException | None = caught.value
            while error is not None:
                _assert_clean(f"{error!r} {vars(error)}", canaries)
                error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_an_issuers_key_is_shown_nowhere(world: World, tmp_path: Path) -> None:
    issuer = remit.Issuer.generate(URI)
    issuer.save(tmp_path / "key")
    pem = str(json.loads((tmp_path / "key").read_text())["private_key"])
    body = "".join(pem.splitlines()[1:-1])
    for text in (repr(issuer), str(issuer), repr(issuer.anchor), repr([issuer])):
        _assert_clean(text, [body, body[-32:]])
