"""An AutoGen team that settles a customer's claim, and a customer whose letter gives orders to its agents.

Read it in this order: `desk` (the bank and the guarded tools), `team` (who may do what, and the agents),
`__main__` (whether it went as it must).
"""
