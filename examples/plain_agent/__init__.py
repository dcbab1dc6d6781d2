"""An agent in plain Python: a loop, a model that picks tools, and a token for one task.

Read it in this order: `service` (the guarded tools), `loop` (the agent), `__main__` (the grant, the thief,
and whether it went as it must).
"""
