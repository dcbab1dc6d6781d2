"""Where secrets are kept: references, backends, what is cached, and that no value is told."""
