"""Tries the known ways around a guard on somebody's tools, without ever running what the tools do."""

from remit.testing.bypass.attacks import Attack, attacks_on
from remit.testing.bypass.finding import Finding, lines
from remit.testing.bypass.target import Target, load_targets

__all__ = ["Attack", "Finding", "Target", "attacks_on", "lines", "load_targets"]
