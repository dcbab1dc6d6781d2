"""The issuing service, over HTTP."""
