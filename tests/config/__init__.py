"""The policy file: where things stand in it, what it may say, what is made of it, and its doctor."""
