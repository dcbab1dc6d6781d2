"""The command line as far as it goes: help, version, `remit demo`, and what is said when an extra is missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points

import pytest

import remit
import remit.cli.app
import remit.cli.demo
from remit.cli import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["remit", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"remit {remit.__version__}\n"


def test_without_arguments_it_helps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch)
    assert "remit [OPTIONS] COMMAND" in "".join(capsys.readouterr())


@pytest.mark.parametrize("arguments", [["nosuch"], ["demo", "--nosuch"], ["demo", "extra"]])
def test_usage_errors_exit_with_two(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, *arguments) == 2


def test_demo_passes_its_options_on_and_exits_with_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []

    def run(**options: object) -> int:
        seen.append(options)
        return 1

    class Demo:
        @staticmethod
        def load() -> object:
            return run

    monkeypatch.setattr(remit.cli.demo, "entry_points", lambda **_: [Demo])
    assert call(monkeypatch, "demo", "--model", "some:model") == 1
    assert seen == [{"model": "some:model", "database": None}]


def test_demo_runs_the_support_desk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "demo") == 0
    assert "Everything went as it must." in capsys.readouterr().out


def test_demo_is_an_entry_point() -> None:
    (found,) = entry_points(group="remit.demos", name="support-desk")
    assert found.value == "remit_demo:main"


@pytest.mark.parametrize(
    "found",
    [[], [EntryPoint("support-desk", "no_such_package:main", "remit.demos")]],
    ids=["none", "broken"],
)
def test_a_demo_that_is_not_there_names_its_extra(
    found: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remit.cli.demo, "entry_points", lambda **_: found)
    assert call(monkeypatch, "demo") == 1
    assert capsys.readouterr().err.endswith("pip install 'remit[demo]'\n")


@pytest.mark.parametrize("package", ["typer", "rich.table"])
def test_without_the_extra_one_sentence_names_it(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_(**_: object) -> None:
        importlib.import_module(package)

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(remit.cli.app, "app", import_)
    assert call(monkeypatch, "--version") == 2
    assert (
        capsys.readouterr().err == "remit: the command line needs Typer and Rich: pip install 'remit[cli]'\n"
    )


def test_another_missing_module_is_not_taken_for_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "remit.cli.app")
    monkeypatch.setitem(sys.modules, "remit.cli.demo", None)
    with pytest.raises(ModuleNotFoundError, match=r"remit\.cli\.demo"):
        main()


def test_an_error_of_remit_is_one_sentence_and_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise remit.CapabilityDenied("capability_missing", "You may not.")

    monkeypatch.setattr(remit.cli.app, "app", fail)
    assert call(monkeypatch) == 1
    assert capsys.readouterr().err == "remit: capability_missing: You may not.\n"


def test_import_remit_loads_no_command_line() -> None:
    probe = "import sys, remit; print([m for m in ('remit.cli', 'typer', 'rich', 'langchain') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
