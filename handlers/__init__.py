"""What AWS Lambda calls: a module for each source of events, with a function `handler`."""

from __future__ import annotations

import gc

# What a start makes stays, and the collector of cyclic garbage would visit it again and again: a quarter of the time.
# `environment` ends this.
gc.disable()
