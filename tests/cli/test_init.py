"""`remit init`: all of it or nothing, and never over something that is there."""

from __future__ import annotations

import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import remit
from remit.cli import init as module
from remit.config import load

from .support import URI, Deployment, run

FILES = {"remit.toml", "issuer.key", "anchors", ".gitignore"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_deployment_works_at_once(tmp_path: Path) -> None:
    document = json.loads(run("init", "--issuer", URI, "--json").stdout)
    assert names(tmp_path) == FILES
    config = load(tmp_path / "remit.toml")
    [anchor] = config.anchors()
    assert (anchor.issuer, anchor.key.thumbprint) == (URI, document["kid"])
    assert document["issuer"] == URI
    assert sorted(document["files"]) == sorted(
        [".gitignore", f"anchors/{document['kid']}.json", "issuer.key", "remit.toml"]
    )
    issuer = remit.Issuer.from_config(tmp_path / "remit.toml")
    credential = issuer.issue("agent-a", ["tool:use"])
    assert (
        remit.Guard.from_config(tmp_path / "remit.toml").check(credential, "tool:use", {}).agent == "agent-a"
    )


def test_the_key_is_its_owners_alone_and_what_git_must_not_see_is_ignored(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run("init", "--issuer", URI)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "issuer.key").stat().st_mode) == 0o600
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8").split() == [
        "issuer.key*",
        "remit.db*",
        "audit.jsonl*",
    ]
    for path in [tmp_path / "remit.toml", *(tmp_path / "anchors").iterdir()]:
        assert "PRIVATE" not in path.read_text(encoding="utf-8")


def test_the_example_in_the_file_is_one(tmp_path: Path) -> None:
    run("init", "--issuer", URI)
    path = tmp_path / "remit.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text(
        "\n".join(line.removeprefix("#") if not line.startswith("# ") else line for line in lines),
        encoding="utf-8",
    )
    assert set(load(path).agents) == {"pricing-agent"}
    document = json.loads(run("issue", "pricing-agent", "--json").stdout)
    assert sorted(document["capabilities"]) == ["prices:read", "trades:propose"]


def test_a_second_time_nothing_is_touched(tmp_path: Path) -> None:
    run("init", "--issuer", URI)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = run("init", "--issuer", "https://other.example", status=1)
    assert "exists already and is never overwritten" in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["remit.toml", "issuer.key", "anchors"])
@pytest.mark.parametrize("kind", ["file", "folder", "link to nowhere"])
def test_one_file_that_is_there_keeps_all_others_from_being_made(
    name: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if kind == "file":
        path.write_text("mine", encoding="utf-8")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    document = json.loads(run("init", "--issuer", URI, "--json", status=1).stdout)
    assert document["code"] == "key_file_error"
    assert names(tmp_path) == {name}
    assert kind != "file" or path.read_text(encoding="utf-8") == "mine"


def test_an_ignore_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.pyc\n", encoding="utf-8")
    result = run("init", "--issuer", URI)
    assert "issuer.key*" in result.stderr
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8") == "*.pyc\n"
    assert names(tmp_path) == FILES


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failure_leaves_nothing_behind(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = module._write, 0

    def write(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        real(*arguments)  # type: ignore[arg-type]  # as it was called
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "remit.toml")

    monkeypatch.setattr(module, "_write", write)
    result = run("init", "--issuer", URI, "--dir", "a/b", status=1)
    assert result.stderr == "remit: 'remit.toml': No space left on device\n"
    assert names(tmp_path) == set()


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write", interrupt)
    run("init", "--issuer", URI, "--dir", "new", status=130)
    assert names(tmp_path) == set()


def test_a_folder_is_made_when_it_is_not_there(tmp_path: Path) -> None:
    run("init", "--issuer", URI, "--dir", "a/b")
    assert names(tmp_path / "a" / "b") == FILES


@pytest.mark.parametrize("uri", ["", " ", "no uri", "https://ä.example", "x:\x1b[2J", "a" * 3000], ids=repr)
def test_an_issuer_that_is_no_uri_is_refused(uri: str, tmp_path: Path) -> None:
    result = run("init", "--issuer", uri, status=1)
    assert "the issuer must be a URI" in result.stderr
    assert "\x1b" not in result.output
    assert names(tmp_path) == set()


@pytest.mark.parametrize("uri", ['x:"quoted"', "x:back\\slash", "urn:a#b", "x:'y'"])
def test_a_uri_survives_its_way_into_the_file(uri: str, tmp_path: Path) -> None:
    run("init", "--issuer", uri)
    assert load(tmp_path / "remit.toml").uri == uri


class TestPassphrase:
    def test_the_key_is_encrypted_and_works(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEY_PASS", "correct horse")
        run("init", "--issuer", URI, "--passphrase-env", "KEY_PASS")
        assert "ENCRYPTED" in (tmp_path / "issuer.key").read_text(encoding="utf-8")
        assert "correct horse" not in (tmp_path / "remit.toml").read_text(encoding="utf-8")
        assert remit.Issuer.from_config(tmp_path / "remit.toml").uri == URI
        monkeypatch.delenv("KEY_PASS")
        with pytest.raises(remit.RemitError):
            remit.Issuer.from_config(tmp_path / "remit.toml")

    @pytest.mark.parametrize("variable", ["hunter2", "UNSET_VARIABLE", "", "A=B", "correct horse", "\ud800"])
    def test_what_names_no_variable_is_refused_and_not_repeated(self, variable: str, tmp_path: Path) -> None:
        result = run("init", "--issuer", URI, "--passphrase-env", variable, status=1)
        assert "must name an environment variable" in result.stderr
        assert not variable or variable not in result.output
        assert names(tmp_path) == set()

    def test_a_blank_passphrase_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEY_PASS", "  ")
        run("init", "--issuer", URI, "--passphrase-env", "KEY_PASS", status=1)
        assert names(tmp_path) == set()


def test_without_an_issuer_it_is_a_usage_error(tmp_path: Path) -> None:
    run("init", status=2)
    assert names(tmp_path) == set()


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    """The second meets the first's key, whenever it comes."""
    at = Deployment(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        statuses = list(pool.map(lambda _: at.program("init", "--issuer", URI).returncode, range(3)))
    assert sorted(statuses) == [0, 1, 1]
    config = load(tmp_path / "remit.toml")
    assert config.anchors() == [remit.Issuer.load(tmp_path / "issuer.key").anchor]
