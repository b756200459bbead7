"""500 requests at once with one token that nobody has seen, and a server that takes 20 ms."""

import select
import socket
import time

from common import BenchError, spread
from configurations import known
from load import interleaved
from table import number, table

NAME = "herd"
TITLE = "500 requests at once with one cold token, server takes 20 ms"
CLIENTS = 500
# what configurations are checked with at the start: in the cache
KNOWN = "t" + "0" * 63


def herd(gateway, server, token):
    """Milliseconds from the first byte sent to the last and to the median answer, connections being open before; and how often
    the server was asked."""
    request = "GET / HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n"
    known, cold = request.format(KNOWN).encode(), request.format(token).encode()
    streams, poll, ends = {}, select.epoll(), []
    try:
        for _ in range(CLIENTS):
            stream = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
            streams[stream.fileno()] = stream
            # accepted by NGINX, too
            stream.sendall(known)
            stream.recv(65536)
            poll.register(stream.fileno(), select.EPOLLIN)
        asked = server.counts()["introspections"]
        began = time.perf_counter()
        for stream in streams.values():
            stream.sendall(cold)
        failed = 0
        while len(ends) < CLIENTS:
            events = poll.poll(30)
            if not events:
                raise BenchError(f"{CLIENTS - len(ends)} of {CLIENTS} requests were not answered")
            for number_, _ in events:
                # the answer is small: it comes in one piece
                failed += not streams[number_].recv(65536).startswith(b"HTTP/1.1 200 ")
                poll.unregister(number_)
                ends.append((time.perf_counter() - began) * 1000)
        asked = server.counts()["introspections"] - asked
        return {"last": ends[-1], "median": ends[CLIENTS // 2], "failed": failed, "introspections": asked}
    finally:
        for stream in streams.values():
            stream.close()


def run(bench):
    server, jwt = bench.slow(1024)
    found = [c for c in known(bench) if c.key != "header"]
    gateways = {c.key: c.start(bench, server, jwt) for c in found}
    gateways["module-2"] = next(c for c in found if c.key == "module").start(bench, server, jwt, workers=2)
    labels = {c.key: c.label for c in found} | {"module-2": "this module, 2 workers"}

    def one(_, gateway, __):
        return herd(gateway, server, f"h{bench.next_seed():063d}")

    rounds = bench.rounds
    bench.rounds *= 2
    try:
        results = interleaved(bench, gateways, one)
    finally:
        bench.rounds = rounds
    rows = []
    for key, label in labels.items():
        values = lambda name: [result[name] for result in results[key]]
        rows.append({"key": key, "label": label, "last": spread(values("last")), "median": spread(values("median")),
                     "most": max(values("introspections")), "failed": sum(values("failed"))})
    return {"clients": CLIENTS, "delay": server.delay_ms, "rows": rows}


def goals(data):
    rows = {row["key"]: row for row in data["rows"]}
    beyond = rows["module"]["last"]["median"] - rows["plain"]["last"]["median"] - data["delay"]
    return [
        ("herd of 500: introspections with 1 and 2 workers", f"{rows['module']['most']} and {rows['module-2']['most']}",
         "1 per worker"),
        ("herd of 500: last answer beyond the server's 20 ms and plain's own time", f"{beyond:.1f} ms", "≤ 10 ms"),
    ]


def details(data):
    rows = [(row["label"], number(row["last"], 1), number(row["median"], 1), str(row["most"]), str(row["failed"]))
            for row in data["rows"]]
    return table(("", "last answer, ms", "median answer, ms", "most introspections", "refused or lost"), rows)
