"""The pages of the documentation: their code is run, and what they point to is there."""
