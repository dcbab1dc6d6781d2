"""What is imported, when, and what is said when it is not there."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import remit_autogen


def python(code: str) -> str:
    """What a fresh interpreter prints; `without(*names)` makes packages look as if they were not installed."""
    prelude = """
    import sys
    from importlib.abc import MetaPathFinder

    class Missing(MetaPathFinder):
        def __init__(self, names):
            self.names = names

        def find_spec(self, fullname, path=None, target=None):
            if fullname.partition(".")[0] in self.names:
                raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
            return None

    def without(*names):
        sys.meta_path.insert(0, Missing(names))
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(code)
    paths = f"import sys; sys.path[:] = {sys.path!r}\n"
    done = subprocess.run([sys.executable, "-c", paths + source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_imports_no_framework() -> None:
    printed = python(
        """
        import remit_autogen
        print(sorted(name for name in sys.modules if name.startswith("autogen")))
        """
    )
    assert printed == "[]"


def test_all_but_hand_offs_needs_nothing_but_autogen_core() -> None:
    printed = python(
        """
        without("autogen_agentchat")
        import asyncio
        import remit
        from remit_autogen import CapabilityWorkbench, guard_tools, routes
        issuer = remit.Issuer.generate("https://auth.acme.example")
        guard = remit.Guard(trust=[issuer.anchor])

        def read(record: str) -> str:
            "Read one record."
            return record

        credential = issuer.issue(agent="a", capabilities=[remit.Capability("read", record="r")])
        (made,) = guard_tools([read], guard, credential)
        print(routes(made)["run_json"]({"record": "r"}))
        bench = CapabilityWorkbench([remit.requires_capability(read)], guard, credential)
        print(asyncio.run(bench.call_tool("read", {"record": "x"})).is_error)
        """
    )
    assert printed.split() == ["r", "True"]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("CapabilityWorkbench", "autogen_core"),
        ("allowed_handoffs", "autogen_agentchat"),
        ("guard_tools", "autogen_core"),
        ("routes", "autogen_core"),
    ],
)
def test_a_missing_framework_is_named_with_the_extra_that_brings_it(name: str, missing: str) -> None:
    printed = python(
        f"""
        without({missing!r})
        try:
            from remit_autogen import {name}
        except ImportError as error:
            print(error, "/", error.name)
        """
    )
    assert f"remit_autogen.{name} needs {missing}" in printed
    assert "pip install 'remit[autogen]'" in printed


def test_what_is_missing_beside_the_framework_is_not_put_down_to_it() -> None:
    printed = python(
        """
        without("remit")
        try:
            from remit_autogen import guard_tools
        except ImportError as error:
            print(error)
        """
    )
    assert "No module named 'remit'" in printed
    assert "remit[autogen]" not in printed


def test_its_names_are_the_public_ones() -> None:
    assert remit_autogen.__all__ == ["CapabilityWorkbench", "allowed_handoffs", "guard_tools", "routes"]
    for name in remit_autogen.__all__:
        assert callable(getattr(remit_autogen, name))
    with pytest.raises(AttributeError, match="guard_tool"):
        _ = getattr(remit_autogen, "guard_" + "tool")
