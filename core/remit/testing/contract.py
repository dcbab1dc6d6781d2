"""The contract that every adapter keeps, as a suite to inherit."""

from __future__ import annotations

from remit.testing.decisions import CallsAreDecided
from remit.testing.nesting import NobodyElsesAuthority
from remit.testing.sharing import NothingIsServedToOthers
from remit.testing.telling import OnlyWhatIsMeantIsTold
from remit.testing.tools import ToolsCarryTheirCredential

__all__ = ["AdapterContract"]


class AdapterContract(
    CallsAreDecided,
    NobodyElsesAuthority,
    NothingIsServedToOthers,
    OnlyWhatIsMeantIsTold,
    ToolsCarryTheirCredential,
):
    """Tests that any adapter must pass; inherit, tell it how your framework is driven, and run pytest.

    ```python
    class TestMyAdapter(AdapterContract):
        def agent(self, tools, guard, credential, turns): ...
        def run(self, agent, way): ...
        def guarded(self, function, guard, credential, capability=None): ...
        def schema(self, tool): ...
    ```

    `Adapter` says what each method is for. A test that fails says in one sentence what the adapter must do.
    """
