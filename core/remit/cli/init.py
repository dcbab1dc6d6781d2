"""`remit init`: a policy file, the issuer's key and its anchor, in a new place."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from remit.cli import options
from remit.cli.output import note, print_json, printable, say
from remit.errors import ConfigError, KeyFileError, shown
from remit.files import as_path
from remit.issue import Issuer

__all__ = ["init"]

_POLICY: Final = "remit.toml"
_KEY: Final = "issuer.key"
_ANCHORS: Final = "anchors"
_IGNORE: Final = ".gitignore"
_IGNORED: Final = ("issuer.key*", "remit.db*", "audit.jsonl*")
_TEMPLATE: Final = """\
# Remit's policy file: who issues tokens, who may do what, and where shared state is kept.
# Paths are relative to this file. `remit doctor` looks over it, and over what it names.

[issuer]
uri = {uri}
key = "issuer.key" # signs tokens; keep it away from agents and out of version control
{passphrase}anchors = "anchors" # a file for each key whose tokens count; nothing secret is in them

[ledger]
url = "sqlite:///remit.db" # or redis://..., postgresql://..., or a reference such as env://LEDGER_URL

[audit]
path = "audit.jsonl"

# Where secrets are kept, by name; never the secrets themselves. Also file:// keyring:// vault:// and more.
#[secrets]
#BROKER_API_KEY = "env://BROKER_API_KEY"

# Capabilities that are granted together, by a name.
#[scopes]
#READ = ["prices:read"]

# What an agent is granted: `remit issue pricing-agent` needs no more than this.
#[agents.pricing-agent]
#scope = ["READ"]
#capabilities = [{{ capability = "trades:propose", arguments = {{ amount = {{ min = 1, max = 1000 }} }} }}]
#secrets = {{ BROKER_API_KEY = ["trades:propose"] }}
#limits."trades:propose" = {{ max_uses = 3, rate = "10/m", budget = {{ amount = 2500 }} }}
#ttl = "10m"
"""


def init(
    *,
    issuer: Annotated[
        str,
        typer.Option("--issuer", metavar="URI", help="The issuer's URI, such as https://auth.acme.example."),
    ],
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where; made when it is not there.")
    ] = Path(),
    passphrase_env: Annotated[
        str | None,
        typer.Option(
            "--passphrase-env",
            metavar="VARIABLE",
            help="Encrypt the private key with what this environment variable holds.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Make a policy file, an issuer's key and its trust anchor. Nothing is overwritten.

    All of it is made, or nothing: a file that is there already ends it with status 1.
    """
    place = as_path(folder)
    key = Issuer.generate(issuer)
    kid = key.anchor.key.thumbprint
    passphrase = None if passphrase_env is None else _passphrase(passphrase_env)
    _check_free(place)
    with ExitStack() as undo:
        if not place.is_dir():
            _make_folder(place, undo)
        key.save(place / _KEY, passphrase=passphrase)
        undo.callback(_remove, place / _KEY)
        _make_folder(place / _ANCHORS, undo)
        anchor = place / _ANCHORS / f"{kid}.json"
        key.anchor.save(anchor)
        undo.callback(_remove, anchor)
        made = [place / _KEY, anchor]
        has_ignore = os.path.lexists(place / _IGNORE)
        if not has_ignore:
            _write(place / _IGNORE, "".join(f"{line}\n" for line in _IGNORED), undo)
            made.append(place / _IGNORE)
        _write(
            place / _POLICY, _policy(issuer, passphrase_env), undo
        )  # the last, so that it names what is there
        made.append(place / _POLICY)
        undo.pop_all()
    if as_json:
        print_json(
            {"config": str(place / _POLICY), "issuer": issuer, "kid": kid, "files": [str(p) for p in made]}
        )
    else:
        for path in made:
            say(f"made {printable(str(path))}{'  (private)' if path.name == _KEY else ''}")
        say(f"Grant something to an agent in {printable(str(place / _POLICY))}, then: remit issue AGENT")
    if has_ignore:
        note(f"{shown(str(place / _IGNORE))} is there already; it should ignore {' '.join(_IGNORED)}")


def _passphrase(variable: str) -> str:
    """Return the passphrase. What was given may be the passphrase itself, and is not repeated."""
    usable = variable.isascii() and variable.isidentifier()
    value = os.environ.get(variable, "") if usable else ""
    if not value.strip():
        raise ConfigError("--passphrase-env must name an environment variable that is set and not blank")
    return value


def _check_free(place: Path) -> None:
    for name in (_POLICY, _KEY, _ANCHORS):
        if os.path.lexists(place / name):
            raise KeyFileError(
                f"{shown(str(place / name))} exists already and is never overwritten; nothing was made"
            )


def _policy(issuer: str, variable: str | None) -> str:
    passphrase = "" if variable is None else f'passphrase = "env://{variable}"\n'
    return _TEMPLATE.format(uri=json.dumps(issuer), passphrase=passphrase)


def _make_folder(path: Path, undo: ExitStack) -> None:
    if not path.parent.is_dir():
        _make_folder(path.parent, undo)
    try:
        path.mkdir()
    except OSError as error:
        raise KeyFileError(f"{shown(str(path))} cannot be made: {error.strerror}") from None
    undo.callback(_remove, path)


def _write(path: Path, text: str, undo: ExitStack) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o644)
        undo.callback(_remove, path)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise KeyFileError(f"{shown(str(path))} cannot be written: {error.strerror}") from None


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
