"""The policy file, `remit.toml`: who may do what, as reviewed lines in one file.

Invariants:

- what is not understood is refused: unknown keys, empty lists, names that lead nowhere;
- everything that is wrong is told at once, with its line and what was probably meant;
- the file holds references to secrets, never secrets, and no message shows a value where one may stand.

Needs pydantic (`pip install 'remit[config]'`), which is imported when a file is loaded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from remit.config.model import Agent, Config, DeclaredCapability, IssueKeywords, Service
from remit.config.source import Source
from remit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remit.config.source import Problem
    from remit.credential import Credential
    from remit.names import Clock

__all__ = [
    "DEFAULT_PATH",
    "ENVIRONMENT",
    "Agent",
    "Config",
    "DeclaredCapability",
    "IssueKeywords",
    "Service",
    "load",
    "wallet_from_config",
]

ENVIRONMENT: Final = "REMIT_CONFIG"
"""The variable that names the policy file where nothing else does."""
DEFAULT_PATH: Final = "remit.toml"
"""The policy file where nothing is said at all, in the working directory."""


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Return what a policy file says.

    Args:
        path: the file; by default the one that `REMIT_CONFIG` names, else `remit.toml` in the working
            directory.

    Raises:
        ConfigError: when the file cannot be read, or something in it makes no sense. The message has
            a line for each problem, in order: `remit.toml:14: unknown capability 'trades:propse', did
            you mean 'trades:propose'?`.
    """
    source = Source.read(policy_path(path))
    config, problems = read(source)
    if config is None:
        raise source.refusal(problems)
    return config


def wallet_from_config(
    path: str | os.PathLike[str] | None = None,
    *,
    agents: Iterable[str] | None = None,
    clock: Clock | None = None,
) -> dict[str, Credential]:
    """Issue what the policy file grants its agents, each a credential of its own.

    Args:
        path: as for `load`.
        agents: the names of the agents to issue for; by default all that the file has.
        clock: as for `Issuer.generate`.

    Returns:
        Agent name to credential, for `guard_crew` and the like.

    Raises:
        ConfigError, KeyFileError: when the file makes no sense, its key cannot be used, or an agent is
            not in it.
    """
    config = load(path)
    if isinstance(agents, str):
        raise ConfigError("agents must be names in a list, not one string")
    names = list(config.agents if agents is None else agents)
    grants = {name: config.grant(name) for name in names}
    issuer = config.issuer(clock=clock)
    return {name: issuer.issue(**grant) for name, grant in grants.items()}


def policy_path(path: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
    """Return the policy file that is meant.

    Raises:
        ConfigError: when `REMIT_CONFIG` is set, and blank.
    """
    if path is not None:
        return path
    named = os.environ.get(ENVIRONMENT)
    if named is not None and not named.strip():
        raise ConfigError(f"{ENVIRONMENT} is blank; name a policy file, or unset it")
    return DEFAULT_PATH if named is None else named


def read(source: Source) -> tuple[Config | None, list[Problem]]:
    """Return what a file says, or what is wrong with it.

    Raises:
        ConfigError: when pydantic is not installed.
    """
    try:
        from remit.config.policy import read_policy
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"pydantic", "pydantic_core"}:
            raise
        raise ConfigError("the policy file needs pydantic: pip install 'remit[config]'") from None
    return read_policy(source)
