"""`remit.Secrets`: what it is built of, what it tells, and that it tells no value."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest

import remit
from remit.secrets import ask_backend
from remit.secrets.backend import BackendFailure

from .support import Counting, Local, World, check_guarded, shown, why

CANARY = "canary-77d0aa"


def _with(backend: Any, **options: Any) -> remit.Secrets:
    return remit.Secrets({"KEY": "own://place"}, backends={"own": backend}, **options)


# ── the environment ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_environment_is_read_as_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = remit.Secrets({"KEY": "env://KEY_PROD", "DOTTED": "env://a.b-c"})
    assert why(secrets)[0] == "secret_not_found"
    for value in ("first", "second"):
        monkeypatch.setenv("KEY_PROD", value)
        assert secrets.fetch("KEY") == value
    monkeypatch.setenv("a.b-c", "dotted")
    assert secrets.fetch("DOTTED") == "dotted"
    monkeypatch.setenv("KEY_PROD", "")
    assert why(secrets)[0] == "secret_not_found"


def test_a_name_without_a_reference_is_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAIN", CANARY)
    secrets = remit.Secrets({"KEY": "env://OTHER"})
    assert secrets.fetch("PLAIN") == CANARY
    assert secrets.backend_of("PLAIN") == "env"
    for name in ("NONE", "A=B", "A\x00B", "é", "env://PLAIN"):
        assert why(secrets, name)[0] == "secret_not_found", name


def test_the_environment_is_recorded_and_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GOOD_PROD", CANARY)
    references = {"GOOD": "env://GOOD_PROD", "MISSING": "env://NONE", "FAILING": "own://x"}
    secrets = remit.Secrets(references, backends={"own": Counting(ValueError(CANARY))})
    expected = {"GOOD": CANARY, "MISSING": "secret_not_found", "FAILING": "secret_backend_error"}
    check_guarded(secrets, expected, caplog)


# ── what it tells ───────────────────────────────────────────────────────────────────────────────────────────


def test_names_and_references_are_told_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", CANARY)
    references = {"KEY": "env://A", "DB": "vault://secret/db#password"}
    secrets = remit.Secrets(references, backends={"vault": Counting(CANARY)})
    assert secrets.names == ("KEY", "DB")
    assert secrets.references == references
    assert [secrets.fetch(name) for name in secrets.names] == [CANARY] * 2
    told = (
        f"{secrets} {secrets!r} {secrets.references} {secrets.names} {vars(secrets)} {vars(secrets._cache)}"
    )
    assert CANARY not in told


def test_what_it_tells_changes_nothing_in_it() -> None:
    given = {"KEY": "env://A"}
    secrets = remit.Secrets(given)
    given["KEY"] = "env://B"
    secrets.references["KEY"] = "env://B"
    assert secrets.references == {"KEY": "env://A"}
    with pytest.raises(AttributeError):
        secrets.references = given  # type: ignore[misc]  # the mistake itself


def test_it_is_not_pickled_or_copied() -> None:
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled or copied"):
            way(remit.Secrets())


@pytest.mark.parametrize(
    ("references", "remote"),
    [
        ({}, False),
        ({"A": "env://A", "B": "file:///b"}, False),
        ({"A": "env://A", "B": "keyring://b/c"}, True),
        ({"A": "vault://a/b"}, True),
        ({"A": "aws://a"}, True),
        ({"A": "gcp://p/a"}, True),
        ({"A": "azure://vault/a"}, True),
        ({"A": "own://a"}, True),
        ({"A": "near://a"}, False),
    ],
)
def test_it_says_whether_a_network_is_asked(references: dict[str, str], remote: bool) -> None:
    secrets = remit.Secrets(references, backends={"own": Counting(), "near": Local()})
    assert secrets.remote is remote


# ── what it is built of ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": 0}, {"ttl": "0s"}, {"ttl": -1}, {"ttl": ""}, {"ttl": "2h"}, {"ttl": "x"}, {"ttl": float("nan")}, {"ttl": True},
        {"timeout": 0}, {"timeout": None}, {"timeout": "1h"}, {"timeout": ""}, {"timeout": 0.5},
        {"clock": 5}, {"clock": None}, {"backends": []}, {"backends": {"own": None}}, pytest.param({"backends": {"own": object()}}, id="no backend"),
        pytest.param({"backends": {5: Counting()}}, id="no scheme"), {"backends": {"own": Counting}}, {"root": ""}, {"root": 5},
    ], ids=repr,
)  # fmt: skip
def test_an_argument_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Secrets({}, **options)


EXTRAS = {
    "keyring": ("keyring://a/b", ["keyring"]),
    "vault": ("vault://a/b", ["hvac"]),
    "aws": ("aws://a", ["boto3"]),
    "gcp": ("gcp://p/a", ["google.cloud.secretmanager", "google.cloud", "google"]),
    "azure": ("azure://vault/a", ["azure.keyvault.secrets", "azure.keyvault", "azure.identity"]),
}


@pytest.mark.parametrize(
    ("extra", "missing"), [(extra, m) for extra, (_, all_) in EXTRAS.items() for m in all_]
)
def test_a_missing_package_is_named_with_its_extra_when_the_store_is_built(
    extra: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(remit.ConfigError, match=rf"pip install 'remit\[{extra}\]'"):
        remit.Secrets({"KEY": EXTRAS[extra][0]})


_BUILT = f"""
import sys
import remit
secrets = remit.Secrets({ {extra.upper(): reference for extra, (reference, _) in EXTRAS.items()}!r})
assert secrets.remote and len(secrets.names) == {len(EXTRAS)}
print(*sorted({{name for name in sys.modules}} & {{"keyring", "hvac", "boto3", "botocore", "azure.core", "requests",
      "google.cloud.secretmanager", "google.api_core", "azure.identity", "urllib3"}}))
"""


def test_building_a_store_imports_no_client() -> None:
    done = subprocess.run([sys.executable, "-c", _BUILT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_backend_that_is_handed_over_goes_before_the_built_in_one() -> None:
    secrets = remit.Secrets({"KEY": "env://PATH"}, backends={"env": Local("mine")})
    assert secrets.fetch("KEY") == "mine"
    assert secrets.fetch("OTHER") == "mine"


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────


class Loud(Exception):
    """An error that quotes the value wherever it can."""

    def __init__(self) -> None:
        super().__init__(CANARY)
        self.value = CANARY
        self.__cause__ = ValueError(CANARY)
        self.add_note(CANARY)


FAILURES: dict[str, tuple[object, str]] = {
    "an error": (Loud(), "it failed with Loud"),
    "a refusal in its own words": (
        remit.SecretDenied("secret_denied", CANARY),
        "it failed with SecretDenied",
    ),
    "another refusal": (remit.Denied("not_bound", CANARY), "it failed with Denied"),
    "a failure": (BackendFailure("it is asleep"), "it is asleep"),
    "an import that fails": (ImportError(CANARY), "it failed with ImportError"),
    "bytes": (CANARY.encode(), "not text"),
    "a list": ([CANARY], "not text"),
    "a number": (31337, "not text"),
    "true": (True, "not text"),
}


@pytest.mark.parametrize("kind", [Counting, Local])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_tells_nothing_of_what_the_backend_said(kind: type[Counting], failure: str) -> None:
    answer, said = FAILURES[failure]
    world, secrets = World(), _with(kind(answer))
    guard, credential = world.guard(secrets), world.credential("KEY")
    with pytest.raises(remit.SecretDenied) as direct:
        secrets.fetch("KEY")
    with pytest.raises(remit.SecretDenied) as guarded:
        guard.resolve_secret(credential, "KEY", tool="tool:use")
    for error in (direct.value, guarded.value):
        assert error.code == "secret_backend_error"
        assert said in error.reason
        assert error.__cause__ is None
        assert error.__context__ is None
        assert "canary" not in shown(error)
        assert "31337" not in shown(error)
    assert world.secret_records() == [("KEY", False, "secret_backend_error")]


@pytest.mark.parametrize("kind", [Counting, Local])
@pytest.mark.parametrize("answer", [None, ""])
def test_nothing_is_not_a_secret(kind: type[Counting], answer: str | None) -> None:
    assert why(_with(kind(answer))) == ("secret_not_found", "The backend 'own' has no secret 'KEY'.")


def test_a_question_is_answered_with_a_value_or_a_refusal() -> None:
    assert ask_backend("KEY", "own", lambda: "value") == "value"
    for question in (lambda: None, lambda: 5, lambda: 1 / 0):
        with pytest.raises(remit.SecretDenied):
            ask_backend("KEY", "own", question)


def test_a_value_that_could_not_be_recorded_is_not_in_the_trace() -> None:
    class Full:
        def record(self, record: remit.AuditRecord) -> None:
            if record.event == "secret":
                raise OSError(28, "No space left on device")

    world = World(audit=Full())  # type: ignore[arg-type]  # a sink all the same
    guard, credential = world.guard(_with(Local(CANARY))), world.credential("KEY")
    with pytest.raises(remit.TokenRejected) as caught:
        guard.resolve_secret(credential, "KEY", tool="tool:use")
    assert caught.value.code == "audit_unavailable"
    assert CANARY not in shown(caught.value)
