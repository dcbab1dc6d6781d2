"""Unit tests: one file a subject; each test's name says what it shows."""
