"""Rows `mobile-data` and `rate`: a view from the gateway, and the same bytes as a file from nginx with two workers.

The view is that of the demo's market; its feed has ended, so the bytes stay. The two take turns in every round.
"""

import contextlib
import gzip
import json
import pathlib
import re
import string
import subprocess
import sys

from kit import ROUNDS, Gateway, Process, eventually, fetch, figure, folder, free_port, oha, ratio, row, wrk_said

VIEW = "/api/dashboard/mobile-data"
SYMBOLS = 31
SECONDS = 5
CONNECTIONS = 64
RATE = 5_000


class Nginx(Process):
    """nginx with `body` under the view's path, plain and compressed; its worker processes serve it."""

    def __init__(self, cwd, body, etag):
        self.port = free_port()
        path = cwd / "files" / VIEW.lstrip("/")
        path.parent.mkdir(parents=True)
        path.write_bytes(body)
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(body, 6))
        template = string.Template((pathlib.Path(__file__).parent / "nginx.conf").read_text())
        (cwd / "nginx.conf").write_text(template.safe_substitute(port=self.port, etag=etag))
        super().__init__("nginx", "-p", cwd, "-c", cwd / "nginx.conf", "-g", "daemon off;", cwd=cwd)

    def ready(self):
        eventually("nginx answers", lambda: fetch(self.port, VIEW)[0] == 200)
        return self


@contextlib.contextmanager
def both(cwd):
    """The gateway with the demo's market, and nginx with its bytes."""
    with Gateway(cwd, demo=True) as demo:
        shown = lambda: len(json.loads(fetch(demo.port, VIEW)[2]).get("confluence_scores", []))
        eventually("the demo's market is shown", lambda: shown() == SYMBOLS)
    with Gateway(cwd, data=cwd / "data/demo") as gateway:
        gateway.ready()
        _, headers, body = fetch(gateway.port, VIEW)
        with Nginx(cwd, body, headers["etag"]) as nginx:
            yield gateway, nginx.ready()


def wrk(server, headers):
    """Requests a second, and processor microseconds of the server for each."""
    before = server.cpu_seconds()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *headers, f"http://127.0.0.1:{server.port}{VIEW}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    spent = server.cpu_seconds() - before
    requests, failed = wrk_said(said)
    if failed:
        raise SystemExit(said)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), spent / requests * 1e6


def p99(server, headers):
    """Milliseconds within which 99 of 100 answers came at a fixed rate."""
    return oha(server.port, VIEW, rate=RATE, connections=CONNECTIONS, seconds=SECONDS, more=headers)[0]


def rounds(servers, measure, headers):
    """What `measure` says of both servers, in turn."""
    return list(zip(*[[measure(server, headers) for server in servers] for _ in range(ROUNDS)]))


def main(name):
    with folder() as cwd, both(cwd) as servers:
        for encoding in ["identity", "gzip"]:
            headers = ["-H", f"Accept-Encoding: {encoding}"]
            if name == "rate":
                ours, theirs = rounds(servers, p99, headers)
                more = figure([a - b for a, b in zip(ours, theirs)], " ms")
                row(name, f"p99 at {RATE:,} requests/s, {encoding}", figure(ours, " ms"), f"nginx {figure(theirs, ' ms')}",
                    f"{more} more", "at most 1 ms more")
                continue
            ours, theirs = (list(zip(*side)) for side in rounds(servers, wrk, headers))
            row(name, f"requests/s, {encoding}", figure(ours[0]), f"nginx {figure(theirs[0])}", ratio(ours[0], theirs[0]),
                "at least 1.0")
            row(name, f"processor time per request, {encoding}", figure(ours[1], " µs"), f"nginx {figure(theirs[1], ' µs')}",
                ratio(ours[1], theirs[1]), "at most 1.0")


main(sys.argv[1])
