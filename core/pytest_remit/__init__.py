"""The pytest plugin of Remit: fixtures for tests of guarded tools, and `pytest --remit-bypass module:tools`.

Nothing of Remit is imported before a fixture or the option is used.
"""

from __future__ import annotations

import pytest

from pytest_remit.fixtures import (
    CredentialFactory,
    remit_audit,
    remit_clock,
    remit_credential,
    remit_guard,
    remit_issuer,
)

__all__ = [
    "CredentialFactory",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "remit_audit",
    "remit_clock",
    "remit_credential",
    "remit_guard",
    "remit_issuer",
]

_OPTION = "remit_bypass"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--remit-bypass`."""
    parser.getgroup("remit").addoption(
        "--remit-bypass",
        dest=_OPTION,
        action="append",
        default=[],
        metavar="MODULE:TOOLS",
        help="try the known ways around a guard on these tools: a tool, several, or a function that returns "
        "them; their bodies are not run. May be given more than once; without a path, nothing else is run.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Run no other tests where the option is there and no path is."""
    if config.getoption(_OPTION) and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add an item for each tool and attack."""
    if specs := config.getoption(_OPTION):
        from pytest_remit.items import bypass_items

        items.extend(item for spec in dict.fromkeys(specs) for item in bypass_items(session, spec))
