"""What all parts of the bench need: processors, statistics, what /proc says of a process, errors."""

import base64
import json
import os
import statistics
import sys
import time


class BenchError(Exception):
    """The bench cannot go on, or what it measured is not what it was to measure."""


def say(text):
    print(text, file=sys.stderr, flush=True)


# The gateway has the last processor for itself; load generator and servers share the others. On a machine with one
# processor they share that.
_ALL = sorted(os.sched_getaffinity(0))
GATEWAY = {_ALL[-1]}
OTHERS = set(_ALL[:-1]) or GATEWAY
EVERYWHERE = set(_ALL)


def spread(values):
    """Median and range of the rounds."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratios(values, others):
    """Each round's value by the same round's value of another configuration: what disturbs both cancels out."""
    return spread([value / other for value, other in zip(values, others)])


def differences(values, others):
    return spread([value - other for value, other in zip(values, others)])


# The larger JWT: NGINX reads no parameter of 4096 bytes and more, and the constant header is one.
LARGE = 4000


def jwt_of(size):
    """A JWT of exactly so many bytes; nobody here verifies its signature. Some lengths do not exist in base64url: then
    the next one that does."""
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    head, tail = part({"alg": "ES256", "typ": "at+jwt"}), "s" * 86
    claims = {"iss": "https://login.example.com", "sub": "bench", "scope": "read write", "exp": 4102444800, "pad": ""}
    while len(jwt := f"{head}.{part(claims)}.{tail}") < size:
        claims["pad"] += "x"
    return jwt


def cpu_of(pid):
    """Nanoseconds on a processor: of the main thread, and of all other threads of the process."""
    main = others = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/schedstat") as file:
            spent = int(file.read().split()[0])
        if int(tid) == pid:
            main += spent
        else:
            others += spent
    return main, others


def memory_of(pid, field):
    """Bytes, by the name of a line of smaps_rollup."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise BenchError(f"no {field} of process {pid}")


def busy(seconds=1.0):
    """The share of the processors' time that is spent, whoever spends it."""
    def spent():
        with open("/proc/stat") as file:
            times = [int(value) for value in file.readline().split()[1:9]]
        return sum(times) - times[3] - times[4], sum(times)

    first = spent()
    time.sleep(seconds)
    last = spent()
    return (last[0] - first[0]) / max(1, last[1] - first[1])


def children_of(pid):
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/children") as file:
            found += [int(child) for child in file.read().split()]
    return found


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace")
    except FileNotFoundError:
        return ""
