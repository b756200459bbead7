"""Starts and stops what the bench is made of: NGINX as gateway, NGINX as API and as authorization server, and the slow
authorization server (examples/bench_server.rs)."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

from common import GATEWAY, OTHERS, BenchError, children_of, command_of

DEADLINE = 60


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def get(port, path, headers=None, timeout=10):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return response.read().decode()


def wait_until(what, condition, seconds=DEADLINE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BenchError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.01)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def bound_to(cpus):
    return lambda: os.sched_setaffinity(0, cpus)


# Connections are not to be closed while something is measured; nothing is logged per request.
HTTP = """
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    large_client_header_buffers 8 32k;
    client_body_temp_path @dir@/body; proxy_temp_path @dir@/proxy; fastcgi_temp_path @dir@/fastcgi;
    uwsgi_temp_path @dir@/uwsgi; scgi_temp_path @dir@/scgi;
"""


class Nginx:
    """One NGINX with a configuration of its own."""

    def __init__(self, bench, name, http, modules=(), workers=1, cpus=GATEWAY, wrapper=(), port=None, master=True, events=8192):
        self.bench, self.port = bench, port or free_port()
        self.dir = os.path.join(bench.work, name)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        os.chmod(self.dir, 0o755)
        text = "".join(f"load_module {module};\n" for module in modules)
        text += f"worker_processes {workers}; worker_rlimit_nofile 65536; daemon off; pid {self.dir}/pid;\n"
        text += f"error_log {self.dir}/error.log warn;\n" + ("" if master else "master_process off;\n")
        text += f"events {{ worker_connections {events}; }}\nhttp {{{HTTP}{http}\n}}\n"
        self.conf = os.path.join(self.dir, "nginx.conf")
        with open(self.conf, "w") as file:
            file.write(text.replace("@dir@", self.dir).replace("@port@", str(self.port)))
        os.chmod(self.conf, 0o600)
        with open(os.path.join(self.dir, "out"), "wb") as out:
            self.process = subprocess.Popen(
                [*wrapper, bench.nginx, "-c", self.conf, "-p", self.dir], stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, preexec_fn=bound_to(cpus))
        bench.running.append(self)
        wait_until(f"{name} to listen\n{self.conf}", lambda: self.alive() and listens(self.port))
        if master and not wrapper:
            wait_until(f"{workers} worker(s) of {name}", lambda: len(self.workers()) == workers)

    def alive(self):
        if self.process.poll() is not None:
            raise BenchError(f"NGINX ended: {self.output()}")
        return True

    def output(self):
        text = ""
        for name in ("out", "error.log"):
            path = os.path.join(self.dir, name)
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    text += file.read()
        return text[-4000:]

    def workers(self):
        found = [pid for pid in children_of(self.process.pid) if "worker process" in command_of(pid)]
        return [pid for pid in found if "shutting down" not in command_of(pid)]

    def worker(self):
        return self.workers()[0]

    def pid(self):
        """NGINX's own process, under valgrind or strace as well."""
        with open(os.path.join(self.dir, "pid")) as file:
            return int(file.read())

    def get(self, path, token):
        return get(self.port, path, {"Authorization": f"Bearer {token}"})

    def stop(self):
        if self in self.bench.running:
            self.bench.running.remove(self)
        for _ in range(150):
            if self.process.poll() is not None:
                return
            try:
                # the tracer does not pass signals on
                os.kill(self.pid(), signal.SIGTERM)
            except (OSError, ValueError):
                self.process.terminate()
            try:
                # sent again: under valgrind one often comes between NGINX's look at its flags and its wait for events
                self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Api(Nginx):
    """Answers at once, and at /echo with the Authorization header it got."""

    def __init__(self, bench):
        super().__init__(bench, "api", """
    server { listen 127.0.0.1:@port@;
        location / { return 200 "ok"; }
        location = /echo { return 200 $http_authorization; } }""", cpus=OTHERS)


class Immediate(Nginx):
    """An authorization server that answers at once with one JWT for all tokens, and counts."""

    def __init__(self, bench, name, jwt):
        self.statistics = free_port()
        super().__init__(bench, name, f"""
    server {{ listen 127.0.0.1:@port@;
        location = /introspect {{ default_type application/jwt; return 200 "{jwt}"; }}
        location = /introspect-header {{ add_header X-JWT "{jwt}"; return 200 ""; }} }}
    server {{ listen 127.0.0.1:{self.statistics}; location / {{ stub_status; }} }}""", cpus=OTHERS)
        self.url, self.header_url = (f"http://127.0.0.1:{self.port}/introspect{kind}" for kind in ("", "-header"))
        self.queries = 0

    def counts(self):
        """Introspections and connections so far."""
        text = get(self.statistics, "/")
        self.queries += 1
        accepted, _, requests = map(int, re.search(r"^ (\d+) (\d+) (\d+) *$", text, re.M).groups())
        # one connection was the bench looking whether it listens
        return {"introspections": requests - self.queries, "opened": accepted - self.queries - 1}


class Slow:
    """An authorization server that takes its time, HTTP/1.1 and HTTP/2 over TLS."""

    def __init__(self, bench, name, jwt, delay_ms):
        self.bench, self.dir, self.delay_ms = bench, os.path.join(bench.work, name), delay_ms
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o755)
        self.ca = os.path.join(self.dir, "ca.pem")
        path = os.path.join(self.dir, "jwt")
        with open(path, "w") as file:
            file.write(jwt)
        self.process = subprocess.Popen(
            [bench.server, str(delay_ms), path, self.ca], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=bound_to(OTHERS))
        bench.running.append(self)
        words = self.process.stdout.readline().split()
        if len(words) != 6:
            raise BenchError("bench_server did not start")
        self.port, self.tls_port, self.statistics = int(words[1]), int(words[3]), int(words[5])
        self.url, self.header_url = (f"http://127.0.0.1:{self.port}/introspect{kind}" for kind in ("", "-header"))
        self.tls_url = f"https://127.0.0.1:{self.tls_port}/introspect"

    def counts(self):
        return json.loads(get(self.statistics, "/"))

    def stop(self):
        if self in self.bench.running:
            self.bench.running.remove(self)
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
