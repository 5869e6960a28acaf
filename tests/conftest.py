"""Settings of all tests. That this file is here also lets tests import `support`."""

from __future__ import annotations

import signal

from hypothesis import settings

# Deadlines measure the machine that runs the tests, and two workers share its cores.
settings.register_profile("sequential", deadline=None)
settings.load_profile("sequential")

# A shell that starts the tests in the background lets them ignore it, and so would all processes that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
