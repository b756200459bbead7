"""Writes what was measured: a table and details in Markdown, plots as SVG."""

import os
import platform
import re
import subprocess
import sys

from sections import SECTIONS
from table import table

BEGIN, END = "<!-- written by scripts/bench.sh -->", "<!-- end of what scripts/bench.sh writes -->"

# More than this share of the machine in use by others, and times mean little.
QUIET = 0.1


def output_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return (done.stdout + done.stderr).strip()


def machine():
    """What the figures depend on."""
    cpu = re.search(r"^model name\s*: (.*)$", open("/proc/cpuinfo").read(), re.M)
    memory = int(re.search(r"^MemTotal: +(\d+)", open("/proc/meminfo").read(), re.M).group(1)) >> 20
    system = re.search(r'^PRETTY_NAME="(.*)"', open("/etc/os-release").read(), re.M)
    virtual = output_of("systemd-detect-virt")
    nginx = output_of(os.environ.get("NGINX_BINARY", "/usr/sbin/nginx"), "-v").removeprefix("nginx version: ")
    wrk = output_of("wrk", "-v").split("\n")[0].split("[")[0].strip()
    return [
        f"{os.cpu_count()} processors ({cpu.group(1) if cpu else platform.machine()}), {memory} GiB of memory"
        + (f", virtual ({virtual})" if virtual not in ("", "none") else ""),
        f"{system.group(1) if system else 'Linux'}, Linux {platform.release()}, glibc {platform.libc_ver()[1]}",
        f"{nginx}, {output_of('rustc', '--version')}, {wrk}, {output_of('valgrind', '--version')}",
    ]


def origin(result):
    quick = ", quick mode: for orientation only" if result["quick"] else ""
    if result.get("busy", 0) > QUIET:
        quick += f"; **the machine was {result['busy']:.0%} busy with other things before it began: times are for orientation only**"
    # by hand, where the rest does not tell what has to be known
    quick += f"; **{result['note']}**" if "note" in result else ""
    return (f"{result['date']}, commit {result['commit']}, module {result['module']}, {result['rounds']} rounds, {result['seconds']} s for a measurement"
            f"{quick}")


def image(name):
    return f"bench/{name}.svg"


def section(section, result, plots=False):
    text = f"## {section.TITLE[0].upper()}{section.TITLE[1:]}\n\n{section.details(result['data'])}\n"
    if plots and hasattr(section, "plots"):
        for name in section.plots(result["data"]):
            text += f"![{section.TITLE}]({image(name)})\n\n"
    return text + f"`scripts/bench.sh {section.NAME}`: {origin(result)}.\n"


def summary(results):
    rows = []
    for part in SECTIONS:
        if part.NAME in results:
            rows += part.goals(results[part.NAME]["data"])
    return table(("what", "measured", "goal"), rows)


def without_given(data):
    """Results without the configurations that were given on the command line: those are for whoever gave them."""
    if isinstance(data, dict):
        return {key: without_given(value) for key, value in data.items()}
    if isinstance(data, list):
        return [without_given(value) for value in data
                if not (isinstance(value, dict) and str(value.get("key", "")).startswith("given-"))]
    return data


def report(results):
    text = "# Benchmarks\n\n"
    text += "Written by `scripts/bench.sh`. A figure is the median of the rounds, with their range; the configurations take turns in " \
            "each round, and a ratio or difference is that of one round. The gateway has a processor for itself, the load and the " \
            "other servers share the rest.\n\n"
    text += "".join(f"- {line}\n" for line in machine()) + "\n" + summary(results) + "\n"
    for part in SECTIONS:
        if part.NAME in results:
            text += section(part, results[part.NAME], plots=True) + "\n"
    return text.rstrip("\n") + "\n"


def draw(folder, results):
    try:
        import matplotlib
    except ImportError:
        print("no plots: Python's matplotlib is missing", file=sys.stderr)
        return
    matplotlib.use("svg")
    # the same data give the same bytes
    matplotlib.rcParams.update({"svg.hashsalt": "phantom token", "svg.fonttype": "none", "font.size": 9})
    from matplotlib.figure import Figure
    os.makedirs(folder, exist_ok=True)
    for part in SECTIONS:
        if part.NAME in results and hasattr(part, "plots"):
            for name, plot in part.plots(results[part.NAME]["data"]).items():
                figure = Figure(figsize=(7, 3.6), layout="constrained")
                plot(figure)
                figure.savefig(os.path.join(folder, f"{name}.svg"), metadata={"Date": None})


def write_file(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    print(path)


def write(folder, results):
    """The whole of it, for whoever ran it."""
    draw(os.path.join(folder, "bench"), results)
    write_file(os.path.join(folder, "report.md"), report(results))


def publish(root, results):
    """What the repository holds of it."""
    results = without_given(results)
    draw(os.path.join(root, "docs", "bench"), results)
    write_file(os.path.join(root, "docs", "benchmarks.md"), report(results))
    path = os.path.join(root, "README.md")
    with open(path) as file:
        readme = file.read()
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    dates = sorted({result["date"] for result in results.values()})
    quick = any(result["quick"] for result in results.values())
    block = summary(results) + "\n" + "".join(f"- {line}\n" for line in machine())
    block += f"- measured on {' to '.join(sorted({dates[0], dates[-1]}))}" + (
        ", in quick mode: for orientation only\n" if quick else "\n")
    block += "".join(f"- {note}\n" for note in sorted({result["note"] for result in results.values() if "note" in result}))
    busiest = max(result.get("busy", 0) for result in results.values())
    if busiest > QUIET:
        block += f"- the machine was up to {busiest:.0%} busy with other things: times and throughputs are for orientation only, counts are not " \
                 "affected\n"
    write_file(path, f"{before}{BEGIN}\n\n{block}\n{END}{after}")
