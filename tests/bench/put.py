"""Row `put`: one value after another through memory, memcached and Redis, from the request to the answer."""

import http.client
import json
import socket
import time

from kit import PATIENCE_SECONDS, ROOT, ROUNDS, Gateway, Process, eventually, figure, folder, free_port, percentile, row

PUTS = 500
KEY = "analysis:signals"


def accepts(port):
    """Whether somebody listens."""
    with socket.create_connection(("127.0.0.1", port)):
        return True


def round_of(gateway, document):
    """Milliseconds that each write took."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_SECONDS)
    took = []
    for _ in range(PUTS):
        # A later timestamp makes it a newer value, which every tier has to take.
        document["timestamp"] = time.time()
        body = json.dumps(document)
        begun = time.perf_counter()
        connection.request("PUT", f"/api/cache/{KEY}", body)
        answer = connection.getresponse()
        said = answer.read()
        took.append((time.perf_counter() - begun) * 1e3)
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {said.decode()}")
    connection.close()
    return took


def main():
    document = json.loads((ROOT / f"tests/fixtures/{KEY}.json").read_text())
    with folder() as cwd:
        memcached, redis = free_port(), free_port()
        tiers = [f"memcached://127.0.0.1:{memcached}", f"redis://127.0.0.1:{redis}/0"]
        with (Process("memcached", "-l", "127.0.0.1", "-U", "0", "-u", "root", "-p", memcached, cwd=cwd),
              Process("redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", redis, cwd=cwd)):
            for port in (memcached, redis):
                eventually("the stores answer", lambda: accepts(port))
            with Gateway(cwd, tiers=tiers) as gateway:
                gateway.ready()
                round_of(gateway, document)
                rounds = [round_of(gateway, document) for _ in range(ROUNDS)]
    size = f"{len(json.dumps(document)) / 1e3:.0f} KB"
    row("put", f"p50 of {size} into memory, memcached, Redis", figure([percentile(took, 50) for took in rounds], " ms"), "",
        "", "at most 1.5 ms")
    row("put", "p99 of the same", figure([percentile(took, 99) for took in rounds], " ms"), "", "", "")


main()
