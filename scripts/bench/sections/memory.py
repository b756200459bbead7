"""What a cached token takes, and what a worker takes that does nothing."""

import os

from common import LARGE, BenchError, cpu_of, memory_of, say, spread
from configurations import known
from load import burst, fill
from table import number, table

NAME = "memory"
TITLE = "memory per cached token, idle workers, the thread's stack"


def stacks(pid):
    """Size of the mapping and resident bytes of each thread's stack, but for the main thread's."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        if int(tid) == pid:
            continue
        try:
            with open(f"/proc/{pid}/task/{tid}/syscall") as file:
                words = file.read().split()
        except PermissionError:
            continue
        if len(words) < 3:
            # it runs: no stack pointer to be had
            continue
        pointer, mapping = int(words[-2], 16), None
        with open(f"/proc/{pid}/smaps") as file:
            for line in file:
                if "-" in line.split()[0] and ":" not in line.split()[0]:
                    low, high = (int(part, 16) for part in line.split()[0].split("-"))
                    mapping = high - low if low <= pointer < high else None
                elif mapping and line.startswith("Rss:"):
                    found.append({"size": mapping, "rss": int(line.split()[1]) * 1024})
    return found


def folder_size(path):
    total = 0
    for folder, _, files in os.walk(path):
        total += sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in files)
    return total


def per_token(bench, configuration, size, tokens):
    server, jwt = bench.immediate(size)
    with server, configuration.start(bench, server, jwt, cache_size="4096m") as gateway:
        pid = gateway.worker()
        # one token: connections and buffers are there, the cache has nothing
        burst(gateway, "one", seconds=1)
        before, files = memory_of(pid, "Rss"), folder_size(gateway.dir)
        fill(gateway, tokens)
        counts = server.counts()["introspections"]
        bench.require(tokens <= counts < tokens * 1.05, f"{counts} introspections for {tokens} tokens")
        # all of them are in the cache
        burst(gateway, "cycle", tokens, seconds=bench.seconds)
        bench.require(server.counts()["introspections"] - counts < tokens * 0.01, "the cache did not keep them")
        grown = memory_of(pid, "Rss") - before
        return {"jwt": len(jwt), "rss": grown / tokens, "files": (folder_size(gateway.dir) - files) / tokens}


def used(pid):
    """Whether this worker has served anything to speak of."""
    return sum(cpu_of(pid)) > 5e6


def idle(bench, configuration, server, jwt):
    values = {"start": [], "used": [], "stacks": []}
    for _ in range(bench.rounds):
        with configuration.start(bench, server, jwt, workers=2, check=False, cache_size="16m") as gateway:
            values["start"] += [memory_of(pid, "Pss") for pid in gateway.workers()]
            # few tokens: the cache stays small
            for _ in range(5):
                fill(gateway, 100, connections=16)
            values["used"] += [memory_of(pid, "Pss") for pid in gateway.workers() if used(pid)]
            values["stacks"] += [stack for pid in gateway.workers() for stack in stacks(pid)]
    return values


def run(bench):
    found = {c.key: c for c in known(bench)}
    tokens = 5_000 if bench.quick else 100_000
    data = {"tokens": tokens, "rows": [], "idle": []}
    for size in (1024, LARGE):
        for key in ["module", "auth_request"] + [key for key in found if key.startswith("given-")]:
            try:
                row = per_token(bench, found[key], size, tokens)
            except BenchError as error:
                # of what stands beside the module a row may be missing, if it does not keep up
                if key == "module":
                    raise
                say(f"memory: {found[key].label} is left out: {error}")
                bench.stop()
                bench._api = None
                continue
            data["rows"].append({"key": key, "label": found[key].label, **row})
    server, jwt = bench.immediate(1024)
    for key in ("plain", "module"):
        values = idle(bench, found[key], server, jwt)
        row = {"key": key, "label": found[key].label, "start": spread(values["start"]), "used": spread(values["used"])}
        if values["stacks"]:
            row["stack_size"] = max(stack["size"] for stack in values["stacks"])
            row["stack_rss"] = max(stack["rss"] for stack in values["stacks"])
            row["threads"] = len(values["stacks"]) / (2 * bench.rounds)
        data["idle"].append(row)
    return data


def goals(data):
    rows = {(row["key"], row["jwt"] > 2048): row for row in data["rows"]}
    plain, module = data["idle"]
    extra = [rows[("module", large)]["rss"] - rows[("module", large)]["jwt"] for large in (False, True)]
    return [
        (f"memory per cached token beyond the JWT, of {data['tokens']} (JWT of 1024 and {LARGE} bytes)",
         f"{extra[0]:.0f} and {extra[1]:.0f} bytes", "≤ 160 bytes"),
        ("memory of an idle worker beyond plain (Pss)",
         f"{(module['start']['median'] - plain['start']['median']) / 1e6:.1f} MB", "≤ 3 MB"),
    ]


def details(data):
    rows = [(row["label"], str(row["jwt"]), number(row["rss"], 0), number(row["rss"] - row["jwt"], 0),
             number(row["files"], 0) if row["files"] else "–") for row in data["rows"]]
    text = table(("", "JWT", "RSS of the worker, bytes per token", "beyond the JWT", "files, bytes per token"), rows)
    megabytes = lambda value: number({k: v / 1e6 for k, v in value.items()}, 2) if value else "–"
    rows = [(row["label"], megabytes(row["start"]), megabytes(row["used"])) for row in data["idle"]]
    text += "\n" + table(("", "Pss of a worker after the start, MB", "after introspections on 16 connections"), rows)
    module = data["idle"][1]
    if "stack_size" in module:
        text += (f"\nThreads besides the main one, per worker: {module['threads']:.1f}; stack {module['stack_size'] >> 10} KiB "
                 f"of address space, {module['stack_rss'] >> 10} KiB of it in memory.\n")
    return text
