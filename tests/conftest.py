"""What every test shares: how Hypothesis runs."""

import os

from hypothesis import settings

# A slow machine is not a failing test; in CI the same commit always sees the same examples.
settings.register_profile("default", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("default")
