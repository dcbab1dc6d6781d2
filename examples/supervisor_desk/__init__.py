"""A supervisor and two workers pay an invoice that tells every model who reads it to do something else.

Read it in this order: `grants` (who may do what), `desk` (the guarded tools), `__main__` (the LangChain
agents, and whether it went as it must).
"""
