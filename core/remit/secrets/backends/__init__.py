"""The built-in backends, a module each, loaded when a reference of their scheme is met."""
