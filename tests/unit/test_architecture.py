"""`import remit` is light and complete: no framework, every name there, every code used."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import remit

CORE = Path(inspect.getfile(remit)).parent
FOREIGN = ("langchain", "langchain_core", "langgraph", "crewai", "autogen_core", "autogen_agentchat", "pydantic", "typer",
           "rich", "httpx", "hvac", "boto3", "redis", "psycopg", "opentelemetry", "fastapi", "keyring")  # fmt: skip

_PROBE = """
import sys
import remit

issuer = remit.Issuer.generate("https://auth.acme.example")
guard = remit.Guard(trust=[issuer.anchor], audit=remit.MemoryAudit())

@remit.requires_capability("t")
def tool(n):
    return n

with guard.acting_as(issuer.issue("a", ["t"])):
    assert tool(1) == 1
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_importing_and_using_remit_imports_no_framework() -> None:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "remit" in loaded
    assert loaded.isdisjoint(FOREIGN)
    assert not {name for name in loaded if name.startswith(("remit_", "langchain", "autogen", "crewai"))}


def test_every_public_name_exists_once_and_in_order() -> None:
    assert len(remit.__all__) == len(set(remit.__all__))
    for name in remit.__all__:
        assert getattr(remit, name) is not None


@pytest.mark.parametrize(
    "name",
    ["AllOf", "AnyOf", "Anything", "Cidr", "Contains", "Each", "Email", "Exact", "Fields", "MaxLength", "NotOneOf", "OneOf",
     "Path", "Prefix", "Range", "Subset", "Url", "Capability", "Limit", "Issuer", "TrustAnchor", "Credential", "Guard",
     "Permit", "Presentation", "Secret", "Secrets", "MemoryLedger", "MemoryAudit", "RemitError", "Denied", "TokenRejected",
     "CapabilityDenied", "LimitExceeded", "SecretDenied", "AttenuationError", "KeyFileError", "ConfigError",
     "requires_capability", "secret"],
)  # fmt: skip
def test_the_names_of_the_contract_are_public(name: str) -> None:
    assert name in remit.__all__


def test_every_public_class_and_function_says_what_it_is() -> None:
    for name in remit.__all__:
        thing = getattr(remit, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            assert inspect.getdoc(thing), name


@pytest.mark.parametrize("code", sorted(get_args(remit.DenialCode)))
def test_every_code_of_a_denial_is_used_somewhere(code: str) -> None:
    users = [
        path
        for path in CORE.rglob("*.py")
        if path.name != "errors.py" and f'"{code}"' in path.read_text("utf-8")
    ]
    assert users


def test_every_failure_is_one_of_remits_and_every_refusal_a_permission_error() -> None:
    refusals = (remit.TokenRejected, remit.CapabilityDenied, remit.LimitExceeded, remit.SecretDenied)
    for kind in refusals:
        assert issubclass(kind, remit.Denied)
        assert issubclass(kind, PermissionError)
    for other in (remit.AttenuationError, remit.KeyFileError, remit.ConfigError):
        assert issubclass(other, remit.RemitError)
        assert not issubclass(other, remit.Denied)


def test_a_refusal_is_told_apart_by_its_code_and_says_what_it_concerns() -> None:
    denied = remit.CapabilityDenied("argument_denied", "You may not.", capability="t", argument="n", link=0)
    assert str(denied) == "argument_denied: You may not."
    assert denied.to_dict() == {
        "code": "argument_denied", "reason": "You may not.", "capability": "t", "argument": "n", "link": 0,
    }  # fmt: skip
    assert remit.Denied("not_bound", "x").to_dict() == {"code": "not_bound", "reason": "x"}


def test_no_module_of_the_core_logs_or_prints_at_import() -> None:
    done = subprocess.run([sys.executable, "-c", "import remit"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_pytest_plugin_imports_remit_only_when_it_is_used() -> None:
    """Pytest loads it in every run of its users, and before coverage starts to look."""
    code = "import sys, pytest_remit; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pytest_remit" in done.stdout.split()
    assert "remit" not in done.stdout.split()


def test_the_core_ships_its_types() -> None:
    assert (CORE / "py.typed").is_file()


def test_the_version_is_one_text() -> None:
    version: Any = remit.__version__
    assert isinstance(version, str)
    assert version[0].isdigit()
