"""The service from elsewhere: keys, revocations and tokens over HTTP, and whoever stands in between."""
