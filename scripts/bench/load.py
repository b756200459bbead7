"""Load: wrk, and what the gateway's worker spends meanwhile."""

import json
import os
import signal
import subprocess

from common import OTHERS, BenchError, cpu_of
from servers import bound_to

LUA = os.path.join(os.path.dirname(__file__), "tokens.lua")


def command_for(port, mode, number, seed, path, connections, seconds):
    return ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s",
            "--timeout", "30s", "--script", LUA, f"http://127.0.0.1:{port}/", "--", path, mode, str(number), str(seed)]


def wrk(port, mode, number=1, seed=0, path="/", connections=64, seconds=3.0, cpus=OTHERS):
    """What wrk counted. It takes whole seconds only."""
    command = command_for(port, mode, number, seed, path, connections, seconds)
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=bound_to(cpus))
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise BenchError(f"wrk: {done.stdout}{done.stderr}")
    result = json.loads(lines[-1])
    if result["errors"]:
        raise BenchError(f"wrk had {result['errors']} errors or refusals: {done.stdout}")
    result["rps"] = result["requests"] / (result["microseconds"] / 1e6)
    return result


def fill(nginx, number, connections=64, seconds=600):
    """Has each of the tokens 0 … number-1 used once at least."""
    command = command_for(nginx.port, "fill", number, 0, "/", connections, seconds)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=bound_to(OTHERS)) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "filled\n":
                process.send_signal(signal.SIGINT)
    if "filled\n" not in lines or json.loads(lines[-1])["errors"]:
        raise BenchError(f"wrk could not fill a cache with {number} tokens in {seconds} s: {lines}")


def burst(nginx, mode, number=1, **options):
    """A run of wrk, with microseconds of CPU per request: of NGINX's event loops, and of all other threads of the workers."""
    workers = nginx.workers()
    before = [cpu_of(pid) for pid in workers]
    result = wrk(nginx.port, mode, number, **options)
    after = [cpu_of(pid) for pid in workers]
    if nginx.workers() != workers:
        raise BenchError(f"a worker ended: {nginx.output()}")
    for index, name in enumerate(("worker_us", "thread_us")):
        spent = sum(last[index] - first[index] for first, last in zip(before, after))
        result[name] = spent / result["requests"] / 1000
    result["cpu_us"] = result["worker_us"] + result["thread_us"]
    return result


def interleaved(bench, gateways, run):
    """`run(key, gateway, round)` for each gateway in turn, round after round: whatever the machine does besides, it does to all.
    Returns the results by key, in the order of rounds."""
    results = {key: [] for key in gateways}
    for number in range(bench.rounds):
        keys = list(gateways)
        # not always the same neighbour
        keys = keys[number % len(keys):] + keys[:number % len(keys)]
        for key in keys:
            results[key].append(run(key, gateways[key], number))
    return results
