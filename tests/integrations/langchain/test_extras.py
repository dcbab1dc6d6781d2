"""What is imported, when, and what is said when it is not there."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import remit_langchain


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
        import remit_langchain
        print(sorted(name for name in sys.modules if name.partition(".")[0] in {"langchain", "langchain_core", "langgraph"}))
        """
    )
    assert printed == "[]"


def test_guard_tools_needs_nothing_but_langchain_core() -> None:
    printed = python(
        """
        without("langchain", "langgraph")
        from remit_langchain import guard_tools
        import remit
        issuer = remit.Issuer.generate("https://auth.acme.example")
        guard = remit.Guard(trust=[issuer.anchor])

        def read(record: str) -> str:
            "Read one record."
            return record

        allowed = remit.Capability("read", record="r")
        (made,) = guard_tools([read], guard, issuer.issue(agent="a", capabilities=[allowed]))
        print(made.invoke({"record": "r"}))
        print(made.invoke({"name": "read", "args": {"record": "x"}, "id": "c", "type": "tool_call"}).status)
        """
    )
    assert printed.split() == ["r", "error"]


def test_cache_policy_does_not_need_langchain() -> None:
    assert python("without('langchain')\nfrom remit_langchain import cache_policy\nprint('fine')") == "fine"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("CapabilityMiddleware", "langchain"),
        ("cache_policy", "langgraph"),
        ("guard_tools", "langchain_core"),
        ("routes", "langchain_core"),
    ],
)
def test_a_missing_framework_is_named_with_the_extra_that_brings_it(name: str, missing: str) -> None:
    printed = python(
        f"""
        without({missing!r})
        try:
            from remit_langchain import {name}
        except ImportError as error:
            print(error, "/", error.name)
        """
    )
    assert f"remit_langchain.{name} needs {missing}" in printed
    assert "pip install 'remit[langchain]'" in printed


def test_what_is_missing_beside_the_frameworks_is_not_put_down_to_them() -> None:
    printed = python(
        """
        without("remit")
        try:
            from remit_langchain import guard_tools
        except ImportError as error:
            print(error)
        """
    )
    assert "No module named 'remit'" in printed
    assert "remit[langchain]" not in printed


def test_its_names_are_the_public_ones() -> None:
    assert sorted(remit_langchain.__all__) == [
        "CapabilityMiddleware",
        "cache_policy",
        "guard_tools",
        "routes",
    ]
    for name in remit_langchain.__all__:
        assert callable(getattr(remit_langchain, name))
    with pytest.raises(AttributeError, match="guard_tool"):
        _ = getattr(remit_langchain, "guard_" + "tool")
