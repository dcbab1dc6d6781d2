"""R10: files as Kubernetes and Docker mount them, and no way out of the folder that is named."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import remit
from remit.secrets.backends import file as backend

from .support import check_guarded, why

CANARY = "canary-91ab44"
NO_FILE = "it is not a regular file"
OUT = "leads out of the file's folder"


def _secrets(path: Path | str) -> remit.Secrets:
    return remit.Secrets({"KEY": f"file://{path}"})


def _mount(folder: Path, values: dict[str, str], version: str = "..2026_01_01") -> None:
    """Write `values` as the kubelet does: a folder, and a link to it that is replaced as a whole."""
    real = folder / version
    real.mkdir(parents=True)
    for name, value in values.items():
        (real / name).write_text(value)
    draft = folder / "..data_tmp"
    draft.symlink_to(version)
    draft.rename(folder / "..data")
    for name in values:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    folder = tmp_path / "mount"
    _mount(folder, {"password": CANARY, "user": "app"})
    (tmp_path / "outside").write_text("outside")
    return folder


def test_a_mounted_secret_is_read_and_read_anew_when_it_is_rotated(mount: Path) -> None:
    secrets = _secrets(mount / "password")
    assert secrets.fetch("KEY") == CANARY
    _mount(mount, {"password": "rotated"}, "..2026_02_02")
    shutil.rmtree(mount / "..2026_01_01")
    assert secrets.fetch("KEY") == "rotated"


def test_a_folder_that_is_reached_by_links_is_the_folder_that_is_named(mount: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to("mount")
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run").symlink_to(tmp_path / "run")
    assert _secrets(tmp_path / "var" / "run" / "password").fetch("KEY") == CANARY


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"value", "value"), (b"value\n", "value"), (b"value\n\n", "value\n"), (b"value\r\n", "value\r"),
        (b" value ", " value "), (b"\nvalue", "\nvalue"), ("schlüssel\n".encode(), "schlüssel"),
        (b"\xef\xbb\xbfx", "\ufeffx"), (b"a\x00b", "a\x00b"), (b"x" * backend.MAX_BYTES, "x" * backend.MAX_BYTES),
    ], ids=lambda part: repr(part)[:20],
)  # fmt: skip
def test_exactly_one_newline_at_the_end_is_not_part_of_the_value(
    tmp_path: Path, data: bytes, value: str
) -> None:
    (tmp_path / "key").write_bytes(data)
    assert _secrets(tmp_path / "key").fetch("KEY") == value


@pytest.mark.parametrize("data", [b"", b"\n"])
def test_an_empty_file_holds_no_secret(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "key").write_bytes(data)
    assert why(_secrets(tmp_path / "key"))[0] == "secret_not_found"


def test_what_is_not_there_is_not_found(mount: Path, tmp_path: Path) -> None:
    (mount / "dangling").symlink_to("..data/none")
    for path in (
        mount / "none",
        tmp_path / "none" / "password",
        tmp_path / "outside" / "x",
        mount / "dangling",
    ):
        assert why(_secrets(path))[0] == "secret_not_found", path


def _link(target: Callable[[Path], str | Path]) -> Callable[[Path], None]:
    return lambda folder: (folder / "key").symlink_to(target(folder))


def _through(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "b").symlink_to("..")  # in the folder still
    (folder / "a" / "c").symlink_to("../..")  # no more
    (folder / "key").symlink_to("a/c/outside")


def _around(folder: Path) -> None:
    (folder / "key").symlink_to("loop")
    (folder / "loop").symlink_to("key")


def _chain(folder: Path) -> None:
    (folder / "key").symlink_to("link0")
    for number in range(20):
        (folder / f"link{number}").symlink_to(f"link{number + 1}")
    (folder / "link20").write_text("x")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(os.path.relpath(folder / "key"))


def _linked_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "key").symlink_to("pipe")


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "relative link out": (_link(lambda _: "../outside"), OUT),
    "absolute link out": (_link(lambda folder: folder.parent / "outside"), OUT),
    "absolute link in": (_link(lambda folder: folder / "password"), OUT),
    "out and in again": (_link(lambda folder: f"../{folder.name}/password"), OUT),
    "link to the parent": (_link(lambda _: ".."), OUT),
    "deep link out": (_link(lambda _: "..data/../../outside"), OUT),
    "link out through a folder": (_through, OUT),
    "process memory": (_link(lambda _: "/proc/self/environ"), OUT),
    "links in a circle": (_around, "too many links"),
    "a long chain of links": (_chain, "too many links"),
    "link to the folder itself": (_link(lambda _: "."), NO_FILE),
    "link to a folder": (_link(lambda _: "..data"), NO_FILE),
    "folder": (lambda folder: (folder / "key").mkdir(), NO_FILE),
    "pipe": (lambda folder: os.mkfifo(folder / "key"), NO_FILE),
    "link to a pipe": (_linked_pipe, NO_FILE),
    "socket": (_socket, NO_FILE),
    "huge": (lambda folder: (folder / "key").write_bytes(b"x" * (backend.MAX_BYTES + 1)), "larger than 65536"),
    "sparse and endless": (lambda folder: os.truncate(os.open(folder / "key", os.O_CREAT | os.O_RDWR), 1 << 40), "larger"),
    "no text": (lambda folder: (folder / "key").write_bytes(b"canary\xff"), "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_but_a_text_file_of_the_folder_is_read(mount: Path, attack: str) -> None:
    prepare, said = ATTACKS[attack]
    prepare(mount)
    code, reason = why(_secrets(mount / "key"))
    assert code == "secret_backend_error"
    assert said in reason
    assert "canary" not in reason


def test_a_link_that_stays_in_the_folder_is_followed(mount: Path) -> None:
    (mount / "a").mkdir()
    (mount / "a" / "up").symlink_to("../password")
    (mount / "key").symlink_to("a/./up")
    assert _secrets(mount / "key").fetch("KEY") == CANARY


def test_a_device_is_not_opened() -> None:
    for device in ("/dev/zero", "/dev/null", "/dev/stdin", "/dev/tty"):
        assert why(_secrets(device))[0] == "secret_backend_error", device


def test_a_file_that_may_not_be_read_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(CANARY)
    real = os.open

    def refuse(path: str, flags: int, *rest: int, **options: int | None) -> int:
        if path == "key":
            raise PermissionError(13, CANARY)
        return real(path, flags, *rest, **options)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(os, "open", refuse)
    code, reason = why(_secrets(tmp_path / "key"))
    assert code == "secret_backend_error"
    assert reason.endswith("the file cannot be opened (Permission denied).")


SWAPS: dict[str, Callable[[Path], object]] = {
    "a link out": lambda key: key.symlink_to("../outside"),
    "an absolute link": lambda key: key.symlink_to(key.parent.parent / "outside"),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "nothing": lambda key: None,
}


@pytest.mark.parametrize("swap", SWAPS)
def test_what_takes_a_files_place_after_it_was_looked_at_is_not_read(
    mount: Path, swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the use somebody puts something else in its place."""
    key = mount / "key"
    key.write_text("before")
    real = os.stat

    def swapping(path: object, **options: object) -> os.stat_result:
        seen = real(path, **options)  # type: ignore[arg-type]  # as it came
        if path == "key" and key.is_file() and not key.is_symlink():
            key.unlink()
            SWAPS[swap](key)
        return seen

    monkeypatch.setattr(os, "stat", swapping)
    code, _ = why(_secrets(key))
    assert code == ("secret_not_found" if swap == "nothing" else "secret_backend_error")


def test_a_folder_that_becomes_a_link_on_the_way_is_not_followed(
    mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mount.parent / "evil").mkdir()
    (mount.parent / "evil" / "password").write_text("outside")
    real = os.open
    version = mount / "..2026_01_01"

    def swapping(path: str, flags: int, *rest: int, **options: int | None) -> int:
        if path == version.name and version.is_dir() and not version.is_symlink():
            shutil.rmtree(version)
            version.symlink_to("../evil")
        return real(path, flags, *rest, **options)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(os, "open", swapping)
    code, _ = why(_secrets(mount / "password"))
    assert code in {"secret_backend_error", "secret_not_found"}


def test_rotation_in_mid_read_never_gives_anything_but_a_whole_value(mount: Path) -> None:
    secrets = _secrets(mount / "password")
    seen: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(secrets.fetch("KEY"))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    before, number = "..2026_01_01", 0
    deadline = time.monotonic() + 30
    try:
        while number < 200 or len(set(seen)) < 20:
            number += 1
            _mount(mount, {"password": f"value-{number}"}, f"..v{number}")
            shutil.rmtree(mount / before)
            before = f"..v{number}"
            assert time.monotonic() < deadline
    finally:
        done.set()
        for reader in readers:
            reader.join(10)
    assert set(seen) <= {CANARY, *(f"value-{count}" for count in range(1, number + 1))}


def test_no_descriptor_stays_open(mount: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    os.mkfifo(mount / "pipe")
    (mount / "out").symlink_to("../outside")
    for _ in range(20):
        assert _secrets(mount / "password").fetch("KEY") == CANARY
        for name in ("none", "pipe", "out"):
            why(_secrets(mount / name))
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_relative_reference_starts_from_the_root(
    mount: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top").write_text("top")
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path, str(tmp_path), "."):
        references = {"A": "file://mount/password", "B": "file://top", "C": f"file://{mount}/user"}
        secrets = remit.Secrets(references, root=root)
        monkeypatch.chdir("/")  # where the process goes later changes nothing
        assert [secrets.fetch(name) for name in secrets.names] == [CANARY, "top", "app"]
        monkeypatch.chdir(tmp_path)
    for odd in (
        "file://../outside",
        "file://mount/../outside",
        "file://./top",
        "file://mount//password",
        "file://mount/",
    ):
        with pytest.raises(remit.ConfigError, match="has a"):
            remit.Secrets({"KEY": odd}, root=tmp_path / "mount")
    with pytest.raises(remit.ConfigError, match="no root is set"):
        remit.Secrets({"KEY": "file://top"})


@pytest.mark.parametrize("root", ["", " ", "a\x00b", 5, b"x", ["x"]], ids=repr)
def test_a_root_that_is_no_path_is_refused(root: object) -> None:
    with pytest.raises(remit.ConfigError):
        remit.Secrets(root=root)  # type: ignore[arg-type]  # the mistake itself


def test_a_system_that_cannot_open_files_step_by_step_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_STEPWISE", False)
    with pytest.raises(remit.ConfigError, match="relative to a folder"):
        remit.Secrets({"KEY": "file:///a"})


def test_all_of_it_is_recorded_and_none_of_it_told(mount: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(mount / "pipe")
    references = {
        "GOOD": f"file://{mount}/password",
        "MISSING": f"file://{mount}/x",
        "FAILING": f"file://{mount}/pipe",
    }
    expected = {"GOOD": CANARY, "MISSING": "secret_not_found", "FAILING": "secret_backend_error"}
    check_guarded(remit.Secrets(references), expected, caplog)
