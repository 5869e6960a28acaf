"""`python -m sequential_core.cli`, where no script is installed."""

from __future__ import annotations

from sequential_core.cli import main

if __name__ == "__main__":
    main()
