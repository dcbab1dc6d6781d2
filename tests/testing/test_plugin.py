"""The pytest plugin: its fixtures, and `pytest --remit-bypass` as users run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import remit
from pytest_remit import CredentialFactory
from remit.testing import FrozenClock, RecordingAudit, routes_of

pytest_plugins = ["pytester"]

SHOP = """
import functools
from pathlib import Path

import remit

def work():
    Path("ran").touch()

@remit.requires_capability("orders:read")
def read_orders(customer: str, limit: int = 5) -> str:
    work()

@remit.requires_capability("orders:cancel")
async def cancel_order(order: int, reasons: list[str]) -> str:
    work()

def refund(order: int) -> str:
    work()

@functools.lru_cache
@remit.requires_capability("orders:read")
def search(text: str) -> str:
    work()

GOOD = [read_orders, cancel_order]
BAD = {"refund": refund, "search": search}

def tools():
    return GOOD
"""
ATTACKS = 15 + 15
"""The one can be lied to, and the list of the other can be changed after the check."""


@pytest.fixture
def shop(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n")
    pytester.makepyfile(shop=SHOP, test_shop="def test_of_the_shop(): pass")
    return pytester


def run(shop: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    result = shop.runpytest_inprocess("-p", "no:cacheprovider", *arguments)
    assert not (shop.path / "ran").exists(), "the body of a tool was run"
    return result


def test_guarded_tools_pass_and_nothing_else_is_run(shop: pytest.Pytester) -> None:
    result = run(shop, "--remit-bypass", "shop:GOOD", "-v")
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=ATTACKS)
    result.stdout.fnmatch_lines(["shop:GOOD::read_orders[[]nothing bound[]] PASSED*"])
    result.stdout.no_fnmatch_line("*test_of_the_shop*")


def test_holes_are_named_in_one_line_each_and_the_exit_status_is_1(shop: pytest.Pytester) -> None:
    result = run(shop, "--remit-bypass", "shop:BAD")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "refund, by a call: nothing guards it. Guard it: put @remit.requires_capability *",
            "search, by a call: a cache answers before the guard is asked. Put *",
            "FAILED shop:BAD::refund[[]guarded[]] - refund, by a call: nothing guards it.*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_function_that_returns_tools_and_the_option_twice(shop: pytest.Pytester) -> None:
    result = run(
        shop, "--remit-bypass", "shop:tools", "--remit-bypass", "shop:BAD", "--remit-bypass=shop:BAD"
    )
    result.assert_outcomes(passed=ATTACKS, failed=2)


def test_with_a_path_its_tests_are_run_as_well(shop: pytest.Pytester) -> None:
    run(shop, "--remit-bypass", "shop:GOOD", "test_shop.py").assert_outcomes(passed=ATTACKS + 1)


def test_items_are_chosen_by_words(shop: pytest.Pytester) -> None:
    result = run(shop, "--remit-bypass", "shop:GOOD", "-k", "read_orders and expired")
    result.assert_outcomes(passed=1, deselected=ATTACKS - 1)
    result.stdout.fnmatch_lines([f"collected {ATTACKS} items / {ATTACKS - 1} deselected / 1 selected"])


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("shop:NOTHING", "there is no 'NOTHING'"),
        ("no_such_shop:tools", "no module 'no_such_shop'"),
        ("shop", "must be a module and a name in it"),
    ],
)
def test_what_names_no_tools_is_a_usage_error(shop: pytest.Pytester, spec: str, reason: str) -> None:
    result = run(shop, "--remit-bypass", spec)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --remit-bypass: *{reason}*"])


def test_it_works_beside_coverage_and_in_several_processes(
    shop: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tracer that is not put back would be warned of, and a warning is an error here."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    shop.makeini("[pytest]\nfilterwarnings = error\n")
    plugins = ["-p", "pytest_remit", "-p", "pytest_cov", "-p", "xdist.plugin", "-p", "no:cacheprovider"]
    arguments = ["--remit-bypass", "shop:GOOD", "-n2", "--cov=shop", "--cov-report=term", "-k", "thread"]
    result = shop.runpytest_subprocess(*plugins, *arguments)
    result.assert_outcomes(passed=2)
    assert not (shop.path / "ran").exists()


def test_remit_is_not_imported_when_pytest_starts(tmp_path: Path) -> None:
    program = (
        "import sys, pytest, pytest_remit; print([m for m in sys.modules if m.split('.')[0] == 'remit'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"


# ── fixtures ────────────────────────────────────────────────────────────────────────────────────────────────
@remit.requires_capability("orders:read")
def read_orders(customer: str) -> str:
    return f"the orders of {customer}"


def test_the_fixtures_work_together(
    remit_guard: remit.Guard,
    remit_credential: CredentialFactory,
    remit_audit: RecordingAudit,
    remit_clock: FrozenClock,
) -> None:
    credential = remit_credential("reader", remit.Capability("orders:read", customer="C-7"), ttl="5m")
    with remit_guard.acting_as(credential):
        assert read_orders("C-7") == "the orders of C-7"
        with pytest.raises(remit.Denied, match="argument_denied"):
            read_orders("C-9")
        remit_clock.advance("6m")
        with pytest.raises(remit.Denied, match="token_expired"):
            read_orders("C-7")
    assert remit_audit.verdicts() == [
        ("reader", "orders:read", None),
        ("reader", "orders:read", "argument_denied"),
        ("reader", "orders:read", "token_expired"),
    ]
    assert [record.code for record in remit_audit.denials] == ["argument_denied", "token_expired"]
    assert [record.allowed for record in remit_audit.outcomes] == [True]


def test_each_test_has_an_issuer_of_its_own(
    remit_issuer: remit.Issuer, remit_guard: remit.Guard, remit_clock: FrozenClock
) -> None:
    stranger = remit.Issuer.generate(remit_issuer.anchor.issuer, clock=remit_clock).issue("reader", ["a"])
    with pytest.raises(remit.Denied, match="token_signature_invalid"):
        remit_guard.check(stranger, "a", {})


def test_a_frozen_clock_goes_when_it_is_told_to() -> None:
    clock = FrozenClock(1_000)
    assert (clock(), clock.advance("10m"), clock.advance(5), clock()) == (1_000, 1_600, 1_605, 1_605)
    clock.now = 2_000
    assert clock() == 2_000
    assert repr(clock) == "FrozenClock(2000)"
    for wrong in (0, -1, True, "now", float("nan")):
        with pytest.raises(remit.ConfigError):
            FrozenClock(wrong)  # type: ignore[arg-type]
    with pytest.raises(remit.ConfigError, match="the time that passes"):
        clock.advance("yesterday")


def test_a_broken_adapter_is_named_and_breaks_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    points = [
        EntryPoint("a-broken-one", "no_such_adapter", "remit.integrations"),
        EntryPoint("one-without-routes", "json", "remit.integrations"),
        EntryPoint("toy", "toy_adapter", "remit.integrations"),
    ]
    monkeypatch.setattr("remit.testing.routes.entry_points", lambda group: points)
    monkeypatch.setitem(sys.modules, "toy_adapter", type("Toy", (), {"routes": staticmethod(toy_routes)}))
    assert list(routes_of("a toy")) == ["run"]
    with pytest.raises(remit.ConfigError) as caught:
        routes_of(42)
    assert "a-broken-one (ModuleNotFoundError: No module named 'no_such_adapter')" in str(caught.value)
    assert "one-without-routes" in str(caught.value)


def toy_routes(tool: object) -> dict[str, object] | None:
    return {"run": print} if tool == "a toy" else None
