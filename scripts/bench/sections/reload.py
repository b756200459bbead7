"""What clients notice of a reload: the worst answer time around it. The cache of the module is empty after one."""

import os
import signal
import socket
import time

from common import differences, spread
from configurations import known
from load import fill, interleaved
from servers import wait_until
from table import number, table

NAME = "reload"
TITLE = "latency around a reload, 100 hot tokens, 500 requests/s"
TOKENS = 100
PERIOD = 0.002
RELOADS = 4


def request(port, token):
    """Milliseconds from connecting to the end of the answer; nothing if there was none."""
    text = f"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    data = b""
    began = time.perf_counter()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as stream:
            stream.sendall(text.encode())
            while got := stream.recv(65536):
                data += got
    except OSError:
        return None
    if not data.startswith(b"HTTP/1.1 200 "):
        return None
    return (time.perf_counter() - began) * 1000


def watch(gateway, seconds, at_start=None):
    """Latencies of requests that begin at a steady pace, each on a connection of its own."""
    found = []
    began = time.perf_counter()
    for index in range(int(seconds / PERIOD)):
        pause = began + index * PERIOD - time.perf_counter()
        if pause > 0:
            time.sleep(pause)
        if index == 50 and at_start:
            at_start()
        found.append(request(gateway.port, f"t{index % TOKENS:063d}"))
    return found


def run(bench):
    server, jwt = bench.immediate(1024)
    found = [c for c in known(bench) if c.key != "header"]
    gateways = {c.key: c.start(bench, server, jwt) for c in found}
    for gateway in gateways.values():
        fill(gateway, TOKENS)

    def one(_, gateway, __):
        calm, around, failed = [], [], 0
        for _ in range(RELOADS):
            seconds = 1.5 if not bench.quick else 1.0
            quiet = watch(gateway, seconds)
            before = gateway.workers()
            around_this = watch(gateway, seconds, lambda: os.kill(gateway.process.pid, signal.SIGHUP))
            wait_until("the new worker", lambda: gateway.workers() and not set(gateway.workers()) & set(before))
            failed += sum(latency is None for latency in quiet + around_this)
            calm.append(max(latency or 0 for latency in quiet))
            around.append(max(latency or 0 for latency in around_this))
        # what disturbs the machine shows in single reloads; what a reload does shows in all of them
        around.sort()
        calm.sort()
        return {"calm": calm[len(calm) // 2], "spike": around[len(around) // 2], "worst": around[-1], "failed": failed}

    results = interleaved(bench, gateways, one)
    rows = []
    for c in found:
        values = lambda name, key=c.key: [result[name] for result in results[key]]
        rows.append({"key": c.key, "label": c.label, "calm": spread(values("calm")), "spike": spread(values("spike")),
                     "worst": max(values("worst")), "beyond": differences(values("spike"), values("spike", "plain")),
                     "failed": sum(values("failed"))})
    return {"reloads": RELOADS * bench.rounds, "rows": rows}


def goals(data):
    module = next(row for row in data["rows"] if row["key"] == "module")
    return [("reload: worst answer time beyond plain's own", number(module["beyond"], 1, "ms"), "≤ 5 ms")]


def details(data):
    rows = [(row["label"], number(row["beyond"], 1), number(row["spike"], 1), number(row["calm"], 1), number(row["worst"], 1),
             str(row["failed"])) for row in data["rows"]]
    return table(("", "worst answer around a reload beyond plain's, ms", "worst around a reload, ms",
                  "worst in as long a time without, ms", "worst of all, ms", "failed requests"), rows) + (
        f"\n{data['reloads']} reloads each. Of the worst answers of {RELOADS} reloads the median is a round's figure.\n")
