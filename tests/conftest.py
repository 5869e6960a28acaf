"""Settings of all tests. That this file is here also lets tests import `support`."""

from __future__ import annotations

from hypothesis import settings

# Deadlines measure the machine that runs the tests, and two workers share its cores.
settings.register_profile("sequential", deadline=None)
settings.load_profile("sequential")
