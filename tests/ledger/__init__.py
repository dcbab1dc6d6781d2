"""Ledgers: one contract that all of them keep, and what each must bear on its own."""
