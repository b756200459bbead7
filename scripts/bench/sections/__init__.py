"""The sections of the bench, in the order of the report.

Each module has NAME and TITLE, `run(bench)`, which measures and returns what json can hold, `goals(data)`, rows of
(work, figure, goal) for the summary, `details(data)`, Markdown, and, if it has any, `plots(data)`: name → function of a
matplotlib figure."""

from . import core, counts, curve, herd, hit, memory, miss, reload, scale, slow

SECTIONS = [hit, counts, curve, miss, slow, herd, memory, reload, scale, core]
