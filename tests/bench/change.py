"""Row `change`: from a write to the changed dashboard, as a client sees it that asks all the time.

Writes keep so far apart that none waits for another's coalescing span.
"""

import http.client
import json
import time

from kit import PATIENCE_SECONDS, ROOT, ROUNDS, Gateway, figure, folder, percentile, row

VIEW = "/api/dashboard/mobile-data"
WRITES = 100
# More than the 100 ms within which changes are published together.
APART_SECONDS = 0.15


def overview(value):
    """A write of one document."""
    document = json.loads((ROOT / "tests/fixtures/market:overview.json").read_text())
    return "PUT", "/api/cache/market:overview", json.dumps({**document, "timestamp": time.time(), "btc_price": value})


def signal(value):
    """A signal, from which four documents follow."""
    return "POST", "/api/signals", json.dumps({"symbol": "BTCUSDT", "confluence_score": 50, "price": value})


def ask(reader):
    """The dashboard's validator."""
    reader.request("GET", VIEW)
    answer = reader.getresponse()
    answer.read()
    return answer.headers["etag"]


def delays(gateway, write):
    """Milliseconds from each write to the first answer that shows it."""
    writer, reader = (http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_SECONDS) for _ in range(2))
    found = []
    for at in range(WRITES):
        shown, request = ask(reader), write(60_000 + at)
        begun = time.perf_counter()
        writer.request(*request)
        while ask(reader) == shown:
            if time.perf_counter() - begun > PATIENCE_SECONDS:
                raise SystemExit("the write is not shown")
        found.append((time.perf_counter() - begun) * 1e3)
        answer = writer.getresponse()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {answer.read().decode()}")
        answer.read()
        time.sleep(APART_SECONDS)
    writer.close()
    reader.close()
    return found


def main():
    with folder() as cwd, Gateway(cwd) as gateway:
        gateway.ready()
        for name, write in [("PUT of `market:overview`", overview), ("POST of a signal", signal)]:
            delays(gateway, write)
            rounds = [delays(gateway, write) for _ in range(ROUNDS)]
            for share, target in [(50, ""), (99, "at most 10 ms")]:
                row("change", f"p{share} from {name} to the changed dashboard",
                    figure([percentile(found, share) for found in rounds], " ms"), "", "", target)


main()
