"""Draws a plot of lines over the number of hops, both axes logarithmic: points as JSON on stdin, a PNG out.

    python -m bench.plot "Time of a hop, ms" hop-time.png

A process of its own, since matplotlib is only in the environment of the peers.
"""

from __future__ import annotations

import json
import sys

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt


def main() -> None:
    title, path = sys.argv[1:]
    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=110, layout="constrained")
    for name, points in json.load(sys.stdin).items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="Hops so far, of a loop of fetches", title=title)
    axes.grid(which="major", alpha=0.3)
    axes.legend()
    # Without a date or the program's version: the same points are the same file.
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main()
