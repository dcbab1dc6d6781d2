"""What the package is: its names, its size, and what it says without CrewAI."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import remit_crewai


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_package_is_imported_without_the_framework() -> None:
    program = "import sys, remit_crewai; print(remit_crewai.routes(print), 'crewai' in sys.modules)"
    assert run(program) == "None False\n"


@pytest.mark.parametrize("name", ["guard_tools", "guard_crew", "grant_task"])
def test_without_the_framework_the_extra_is_named(name: str) -> None:
    program = f"import sys; sys.modules['crewai'] = None; import remit_crewai; remit_crewai.{name}"
    said = run(program)
    assert f"ModuleNotFoundError: remit_crewai.{name} needs crewai" in said
    assert "pip install 'remit[crewai]'" in said


def test_another_module_that_is_missing_is_not_put_down_to_the_framework() -> None:
    program = "import sys; sys.modules['pydantic'] = None; import remit_crewai; remit_crewai.guard_tools"
    said = run(program)
    assert "ModuleNotFoundError: import of pydantic" in said
    assert "pip install" not in said


def test_a_name_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(AttributeError, match="no attribute 'guard_agents'"):
        remit_crewai.__getattr__("guard_agents")


def test_the_adapter_is_registered() -> None:
    [point] = entry_points(group="remit.integrations", name="crewai")
    assert point.load() is remit_crewai
    assert set(remit_crewai.__all__) == {"grant_task", "guard_crew", "guard_tools", "routes"}


def test_a_cache_is_told_by_a_name_that_can_be_stored() -> None:
    from remit_crewai.tools import never_cached

    assert never_cached({"a": 1}, "result") is False
