"""A support desk whose agents obey an injected message, and what each of them is denied.

Read it in this order: `grants` (who may do what), `tools` (the guarded functions), `agents` (LangChain
agents that act under a credential), `story` (what happens), `findings` (whether it went as it must).
The rest is stage: `desk` is a database and a payment provider, `script` stands in for a chat model,
`forgery` is an attack, `screen` prints.
"""

from remit_demo.app import main

__all__ = ["main"]
