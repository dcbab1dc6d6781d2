"""The items of `pytest --remit-bypass`: one for each tool and attack."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from remit.errors import ConfigError
from remit.testing.bypass import Attack, Finding, attacks_on, lines, load_targets

__all__ = ["bypass_items"]

N = TypeVar("N", bound=pytest.Item | pytest.Collector)


class Found(Exception):
    """Ways around a guard."""


class BypassItem(pytest.Item):
    """One attack on one tool."""

    attack: Attack

    def runtest(self) -> None:
        """Try the attack.

        Raises:
            Found: when it got through, or could not be tried.
        """
        findings: list[Finding] = list(self.attack())
        if findings:
            raise Found("\n".join(lines(findings)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the findings, one a line, and anything else as an error of a test is shown."""
        if isinstance(excinfo.value, Found):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Say what is tried."""
        return self.path, None, self.name


class BypassCollector(pytest.Collector):
    """The tools that one `module:tools` names."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item for each tool and attack.

        Raises:
            UsageError: when there are no such tools.
        """
        here = str(self.config.invocation_params.dir)
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            targets = load_targets(self.name)
        except ConfigError as error:
            raise pytest.UsageError(f"--remit-bypass: {error}") from error
        for target in targets:
            for name, attack in attacks_on(target).items():
                item = _made(BypassItem, self, name=f"{target.name}[{name}]")
                item.attack = attack
                yield item


def bypass_items(session: pytest.Session, spec: str) -> list[pytest.Item]:
    """Return the items for what one `--remit-bypass` names."""
    items = list(_made(BypassCollector, session, name=spec, nodeid=spec).collect())
    report = pytest.CollectReport(spec, "passed", None, [*items])
    session.config.hook.pytest_collectreport(report=report)  # so that they are counted
    return items


def _made(kind: type[N], parent: pytest.Collector, **keywords: Any) -> N:
    # pytest says nothing of the types that this takes
    make: Callable[..., N] = getattr(kind, "from_parent")  # noqa: B009
    return make(parent, **keywords)
