"""What the demonstration prints, with colours on a terminal and as plain text elsewhere."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

import remit
from remit_demo.findings import Finding
from remit_demo.watch import Call


class Screen:
    """Prints the acts of the story.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def act(self, number: str, title: str) -> None:
        """Open an act."""
        self._console.print()
        self._console.print(Rule(Text(f" {number}. {title} ", "bold"), style="dim", align="left"))

    def say(self, text: str, style: str = "") -> None:
        """Print a paragraph."""
        self._console.print(Text(text, style))

    def message(self, customer: str, text: str) -> None:
        """Show what a customer wrote."""
        self._console.print(Panel(Text(text), title=f"customer {customer} writes", title_align="left"))

    def tree(
        self, issuer: remit.Issuer, root: remit.Credential, children: Iterable[remit.Credential]
    ) -> None:
        """Show who was granted what by whom."""
        tree = Tree(Text(f"issuer {issuer.uri}", "dim"))
        trunk = tree.add(grant(root, "may pass refunds on, may not use them"))
        for child in children:
            trunk.add(grant(child, ""))
        self._console.print(tree)

    def calls(self, calls: Sequence[Call]) -> None:
        """Show calls and what was decided about them."""
        table = Table(box=SIMPLE_HEAD, expand=True, show_edge=False, pad_edge=False)
        table.add_column("agent", no_wrap=True, width=12)
        table.add_column("call, and what came of it", ratio=1)
        table.add_column("decision", no_wrap=True, width=19)
        for call in calls:
            allowed = call.code is None
            told = Text.assemble(
                (f"{call.tool}({', '.join(map(repr, call.arguments.values()))})", "bold"),
                "\n",
                (call.why, "dim" if allowed else ""),
            )
            verdict = Text("allowed", "green") if allowed else Text(f"DENIED\n{call.code}", "red")
            table.add_row(Text(call.agent, "cyan"), told, verdict)
        self._console.print()
        self._console.print(table)

    def refusal(self, what: str, kind: str, reason: str) -> None:
        """Show that something was refused before it became a call."""
        self._console.print(Text.assemble(f"{what}: ", (kind, "red"), f", {reason}"))

    def query(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Show a query and what the database answers."""
        self._console.print(Text(f"sqlite> {sql}", "bold"))
        for row in rows:
            self._console.print(Text("|".join(map(str, row))))

    def findings(self, findings: Sequence[Finding]) -> None:
        """Show whether everything went as it must."""
        self._console.print()
        for finding in findings:
            mark = Text("  held    ", "green") if finding.held else Text("  BROKEN  ", "bold red")
            self._console.print(mark + Text(finding.what))
            if not finding.held:
                self._console.print(Text(f"    expected {finding.expected}", "red"))
                self._console.print(Text(f"    found    {finding.found}", "red"))


def grant(credential: remit.Credential, note: str) -> Text:
    """Describe what a credential grants."""
    text = Text.assemble((credential.agent, "bold cyan"), (f"  {note}" if note else "", "yellow"))
    for capability in credential.capabilities:
        conditions = ", ".join(
            f"{argument}: {constraint.describe()}" for argument, constraint in capability.constraints.items()
        )
        text.append(f"\n{capability.name}")
        text.append(f"  {conditions or 'any arguments'}", "dim")
        limit = credential.limits.get(capability.name)
        if limit is not None and limit.max_uses is not None:
            text.append(f", {limit.max_uses} use", "dim")
    for secret in credential.secrets:
        text.append(f"\nsecret {secret}")
    return text
