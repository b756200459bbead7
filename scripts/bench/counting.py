"""Counts instead of times: instructions by callgrind, system calls by strace. They do not depend on what the machine does besides."""

import collections
import os
import re
import shutil
import socket

from common import EVERYWHERE, BenchError

# Requests before counting begins to matter, and those that are counted: the difference of two runs is the requests alone.
WARM = 200


def client(gateway, path, tokens, count):
    """`count` requests on one connection, one after the other, with these tokens in turn."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as stream:
        for index in range(count):
            token = tokens[index % len(tokens)]
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            data = b""
            while not (b"\r\n\r\n" in data and data.endswith(b"ok")):
                got = stream.recv(65536)
                if not got:
                    raise BenchError("NGINX closed the connection")
                data += got
                if not data.startswith(b"HTTP/1.1 200"):
                    raise BenchError(f"NGINX answered {data[:200]!r}")


def callgrind_objects(path):
    """Instructions executed in the code of each object file, callees apart, from a file of callgrind's."""
    costs, names = collections.Counter(), {}
    current, skip = None, False
    with open(path) as file:
        for line in file:
            if line.startswith("ob="):
                short, _, long = line[3:].strip().partition(" ")
                if long:
                    names[short] = long
                current = names.get(short, short)
            elif line.startswith("calls="):
                # the next line is what the callee cost
                skip = True
            elif line.startswith("cob="):
                short, _, long = line[4:].strip().partition(" ")
                if long:
                    names[short] = long
            elif re.match(r"[\d+*-]", line):
                if not skip:
                    fields = line.split()
                    costs[current] += int(fields[1]) if len(fields) > 1 else 0
                skip = False
    return costs


def instructions(bench, start, tokens, count, path="/"):
    """Of a whole run: in all, and in the module's own code."""
    out = os.path.join(bench.work, "callgrind")
    if os.path.exists(out):
        os.remove(out)
    with start(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]) as gateway:
        client(gateway, path, tokens, count)
    costs = callgrind_objects(out) if os.path.exists(out) else {}
    if gateway.process.returncode != 0 or not costs:
        raise BenchError(f"callgrind wrote nothing ({gateway.process.returncode}): {gateway.output()}")
    own = sum(cost for name, cost in costs.items() if name and os.path.basename(name) == os.path.basename(bench.module))
    return sum(costs.values()), own


def system_calls(bench, start, tokens, count, path="/"):
    out = os.path.join(bench.work, "strace")
    with start(["strace", "-f", "-c", "-o", out]) as gateway:
        client(gateway, path, tokens, count)
    with open(out) as file:
        # % time, seconds, usecs/call, calls, [errors,] total
        return next(int(line.split()[3]) for line in file if line.split()[-1:] == ["total"]), 0


def per_request(bench, counter, start, tokens, requests, path="/"):
    """What `requests` requests cost more than few of them do."""
    few, few_own = counter(bench, start, tokens, WARM + len(tokens), path)
    many, many_own = counter(bench, start, tokens, WARM + len(tokens) + requests, path)
    return (many - few) / requests, (many_own - few_own) / requests


def starter(bench, configuration, server, jwt, **options):
    """Starts the configuration under a tool, as a single process."""
    return lambda wrapper: configuration.start(
        bench, server, jwt, wrapper=wrapper, master=False, check=False, cpus=EVERYWHERE, **options)


def available():
    return [tool for tool in ("valgrind", "strace") if shutil.which(tool)]
