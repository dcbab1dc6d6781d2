"""Models that play a script, for the examples and the tests of the adapters."""
