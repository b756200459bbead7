"""The core's steps by themselves: benches/core.rs, with criterion."""

import json
import os
import shutil
import subprocess

from common import GATEWAY, BenchError
from servers import bound_to
from table import number, table

NAME = "core"
TITLE = "steps of the core by themselves"

WHAT = {
    "credential": "`Authorization` with a token of 64 bytes read",
    "key": "key of the token",
    "cache_get/": "look-up among {} tokens, in random order",
    "cache_insert_evicting": "insertion of a JWT of 1 KiB that evicts another",
    "request_form": "content of the introspection request",
    "interpret/jwt_": "answer that is a JWT of {} bytes",
    "interpret/json_": "answer as JSON with a JWT of {} bytes",
    "freshness": "lifetime from the answer's headers",
}


def run(bench):
    target = os.path.join(bench.root, "target", "criterion")
    shutil.rmtree(target, ignore_errors=True)
    effort = ["--warm-up-time", "0.2", "--measurement-time", "0.5", "--sample-size", "10"] if bench.quick else []
    command = ["cargo", "bench", "--locked", "--no-default-features", "--bench", "core", "--target-dir", "target", "--", *effort]
    done = subprocess.run(command, cwd=bench.root, capture_output=True, text=True, preexec_fn=bound_to(GATEWAY))
    if done.returncode != 0:
        raise BenchError(f"cargo bench: {done.stderr[-2000:]}")
    found = {}
    for folder, _, files in os.walk(target):
        if os.path.basename(folder) == "new" and "estimates.json" in files:
            with open(os.path.join(folder, "estimates.json")) as file:
                median = json.load(file)["median"]
            interval = median["confidence_interval"]
            found[os.path.relpath(os.path.dirname(folder), target)] = {
                "median": median["point_estimate"], "low": interval["lower_bound"], "high": interval["upper_bound"]}
    rows = []
    for prefix, text in WHAT.items():
        for name in sorted((name for name in found if name.startswith(prefix)), key=lambda name: (len(name), name)):
            rows.append({"name": name, "label": text.format(name.removeprefix(prefix)), "nanoseconds": found[name]})
    bench.require(len(rows) == len(found), f"a benchmark without a description among {sorted(found)}")
    return {"rows": rows}


def goals(_):
    return []


def details(data):
    rows = [(row["label"], number(row["nanoseconds"], 0)) for row in data["rows"]]
    return table(("", "ns, and the median's 95 % confidence interval"), rows)
