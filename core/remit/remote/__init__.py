"""The issuing service, from elsewhere: agents that get tokens over HTTP, and guards that follow it.

Verification never calls the service: a guard has its keys (JWKS) and its revocations (the feed) already.
"""
