"""A third party adds a scheme by an entry point: a real distribution, on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import remit

from .support import check_guarded, why

CANARY = "canary-91c6e0"

MODULE = '''
from __future__ import annotations

import os


class Corp:
    """A backend of a company's own."""

    made = 0

    def __init__(self):
        type(self).made += 1

    def check(self, reference):
        reference.check_parts(options=("zone",))
        if reference.path == "refused":
            raise __import__("remit").ConfigError("corp:// has no such place")
        if reference.path == "clumsy":
            raise KeyError("canary-91c6e0")

    def read(self, reference):
        if reference.path == "failing":
            raise ConnectionError("canary-91c6e0")
        return {"good": "canary-91c6e0", "zone": reference.options.get("zone")}.get(reference.path)


class Near(Corp):
    remote = False


ready = Corp()


class Half:
    def read(self, reference):
        return "x"


def failing():
    raise ValueError("canary-91c6e0")


number = 5
'''


def _install(folder: Path, name: str, points: dict[str, str]) -> None:
    """Make a distribution with entry points, as an installer leaves it."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{scheme} = {value}" for scheme, value in points.items()]
    (info / "entry_points.txt").write_text("[remit.secrets]\n" + "\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place on the path, with a module that has backends."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "corp_secrets.py").write_text(MODULE)
    (folder / "corp_broken.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "corp_secrets", raising=False)
    return folder


@pytest.fixture
def plugged(site: Path) -> Path:
    _install(
        site,
        "corp-secrets",
        {
            "corp": "corp_secrets:Corp",
            "near": "corp_secrets:Near",
            "ready": "corp_secrets:ready",
            "env": "corp_secrets:Corp",
            "vault": "corp_secrets:Corp",
            "ENV": "corp_secrets:Corp",
            "half": "corp_secrets:Half",
            "failing": "corp_secrets:failing",
            "number": "corp_secrets:number",
            "nothing": "corp_secrets:nothing",
        },
    )
    _install(
        site, "corp-broken", {"broken": "corp_broken:Backend", "absent": "no_such_module_at_all:Backend"}
    )
    return site


@pytest.mark.parametrize("scheme", ["corp", "ready"])
def test_a_registered_scheme_is_used(plugged: Path, scheme: str) -> None:
    secrets = remit.Secrets(
        {"KEY": f"{scheme}://good", "ZONE": f"{scheme}://zone?zone=eu", "NO": f"{scheme}://x"}
    )
    assert secrets.remote
    assert (secrets.fetch("KEY"), secrets.fetch("ZONE")) == (CANARY, "eu")
    assert why(secrets, "NO")[0] == "secret_not_found"
    assert secrets.backend_of("KEY") == scheme


def test_one_backend_is_made_for_all_references_of_a_store(plugged: Path) -> None:
    secrets = remit.Secrets({"A": "corp://good", "B": "corp://zone?zone=1"})
    assert [secrets.fetch(name) for name in ("A", "B", "A")] == [CANARY, "1", CANARY]
    assert sys.modules["corp_secrets"].Corp.made == 2  # `ready` is one


def test_a_plug_in_that_asks_nobody_may_say_so(plugged: Path) -> None:
    assert not remit.Secrets({"KEY": "near://good"}).remote


def test_a_plug_in_replaces_no_scheme_that_is_built_in(
    plugged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("good", "from the environment")
    assert remit.Secrets({"KEY": "env://good"}).fetch("KEY") == "from the environment"
    with pytest.raises(remit.ConfigError, match="did you mean 'env'"):
        remit.Secrets({"KEY": "ENV://good"})
    with pytest.raises(remit.ConfigError, match="a mount and a path"):
        remit.Secrets({"KEY": "vault://good"})
    assert "corp_secrets" not in sys.modules


BROKEN = {
    "broken": "'corp_broken:Backend' of 'corp-broken', that cannot be imported"
    " (ModuleNotFoundError: 'a_package_that_is_not_there')",
    "absent": "'no_such_module_at_all:Backend' of 'corp-broken', that cannot be imported",
    "half": "'corp_secrets:Half' of 'corp-secrets', that is no backend",
    "number": "'corp_secrets:number' of 'corp-secrets', that failed with TypeError",
    "failing": "'corp_secrets:failing' of 'corp-secrets', that failed with ValueError",
    "nothing": "'corp_secrets:nothing' of 'corp-secrets', that failed with AttributeError",
}


@pytest.mark.parametrize("scheme", BROKEN)
def test_a_broken_plug_in_is_named_and_breaks_nothing_else(plugged: Path, scheme: str) -> None:
    with pytest.raises(remit.ConfigError) as caught:
        remit.Secrets({"KEY": f"{scheme}://good"})
    assert BROKEN[scheme] in str(caught.value)
    assert str(caught.value).startswith("secret 'KEY': ")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert remit.Secrets({"KEY": "corp://good"}).fetch("KEY") == CANARY


def test_what_a_plug_in_says_of_a_reference_is_said_for_it(plugged: Path) -> None:
    with pytest.raises(remit.ConfigError, match=r"^secret 'KEY': corp:// has no such place$"):
        remit.Secrets({"KEY": "corp://refused"})
    with pytest.raises(remit.ConfigError, match="takes no option 'zome', did you mean 'zone'"):
        remit.Secrets({"KEY": "corp://good?zome=1"})
    with pytest.raises(
        remit.ConfigError, match=r"^secret 'KEY': the backend of its scheme failed with KeyError$"
    ):
        remit.Secrets({"KEY": "corp://clumsy"})


def test_an_unknown_scheme_is_told_with_those_that_are_registered(plugged: Path) -> None:
    with pytest.raises(remit.ConfigError) as caught:
        remit.Secrets({"KEY": "crop://good"})
    assert "'crop' is not known, did you mean 'corp'?" in str(caught.value)
    assert "azure, absent, broken, corp," in str(caught.value)
    assert "corp_secrets" not in sys.modules  # nothing is loaded to say so


def test_two_distributions_of_one_scheme_are_both_named(plugged: Path) -> None:
    _install(plugged, "rival", {"corp": "rival:Backend"})
    with pytest.raises(remit.ConfigError, match=r"by several distributions: 'corp-secrets', 'rival'$"):
        remit.Secrets({"KEY": "corp://good"})


def test_one_distribution_found_twice_is_one(
    plugged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path / "again", "corp-secrets", {"corp": "corp_secrets:Corp"})
    monkeypatch.syspath_prepend(str(tmp_path / "again"))
    assert remit.Secrets({"KEY": "corp://good"}).fetch("KEY") == CANARY


def test_all_of_it_is_recorded_and_none_of_it_told(plugged: Path, caplog: pytest.LogCaptureFixture) -> None:
    references = {"GOOD": "corp://good", "MISSING": "corp://none", "FAILING": "corp://failing"}
    expected = {"GOOD": CANARY, "MISSING": "secret_not_found", "FAILING": "secret_backend_error"}
    check_guarded(remit.Secrets(references), expected, caplog)
