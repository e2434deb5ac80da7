"""Row `ingest`: signals through POST /api/signals into the aggregator, and what one costs with few and many symbols."""

import concurrent.futures
import http.client
import json
import random
import time

from kit import PATIENCE_SECONDS, ROUNDS, Gateway, fetch, figure, folder, ratio, row

BATCH = 1_000
SECONDS = 4
# Each answer waits until the documents that its signals are part of are published, so posters work side by side.
POSTERS = 48
# Bodies that differ, so that every signal changes its symbol's score.
BODIES = 20


def bodies(symbols):
    """NDJSON of about 250 bytes a signal; the symbols take turns."""
    pick = random.Random(1)
    lines = []
    for at in range(BODIES * BATCH):
        price = pick.uniform(1, 60_000)
        lines.append(json.dumps({
            "symbol": f"S{at % symbols:05}USDT", "confluence_score": round(pick.uniform(0, 100), 2),
            "price": round(price, 2), "change_24h": round(pick.uniform(-9, 9), 4),
            "volume_24h": round(pick.uniform(1e3, 1e7), 2), "reliability": round(pick.random(), 2),
            "timestamp": round(time.time(), 6),
            "components": {"technical": round(pick.uniform(0, 100), 2), "volume": round(pick.uniform(0, 100), 2),
                           "orderflow": round(pick.uniform(0, 100), 2)},
        }))
    return ["\n".join(lines[at:at + BATCH]) for at in range(0, len(lines), BATCH)]


def post(gateway, bodies, until):
    """Posts until it is time; how many signals were taken, and when the last answer came."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_SECONDS)
    taken, at = 0, random.randrange(len(bodies))
    while time.monotonic() < until:
        connection.request("POST", "/api/signals", bodies[at % len(bodies)])
        answer = connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200 or said["accepted"] != BATCH:
            raise SystemExit(f"{answer.status}: {str(said)[:1000]}")
        taken, at = taken + BATCH, at + 1
    connection.close()
    return taken, time.monotonic()


def round_of(symbols):
    """Signals a second; microseconds that the aggregator, and that all of the gateway, spends on each."""
    load = [body.encode() for body in bodies(symbols)]
    with folder() as cwd, Gateway(cwd) as gateway:
        gateway.ready()
        for body in load:
            # The symbols are known before it counts.
            status, _, said = fetch(gateway.port, "/api/signals", "POST", body)
            if status != 200:
                raise SystemExit(f"{status}: {said.decode()[:1000]}")
        calls = lambda: gateway.metrics("tiergate_plugin_call_seconds_sum", 'call="ingest"')
        spent, all_spent, begun = calls(), gateway.cpu_seconds(), time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(POSTERS) as posters:
            until = begun + SECONDS
            taken, ended = zip(*posters.map(lambda _: post(gateway, load, until), range(POSTERS)))
        taken, elapsed = sum(taken), max(ended) - begun
        return taken / elapsed, (calls() - spent) / taken * 1e6, (gateway.cpu_seconds() - all_spent) / taken * 1e6


def main():
    few, usual, many = zip(*[[round_of(symbols) for symbols in (100, 1_000, 10_000)] for _ in range(ROUNDS)])
    of = lambda rounds, at: [figures[at] for figures in rounds]
    row("ingest", "signals/s, 1,000 symbols", figure(of(usual, 0)), "", "", "at least 100,000")
    row("ingest", "processor time per signal, 1,000 symbols", figure(of(usual, 2), " µs"), "", "", "")
    row("ingest", "time in the aggregator per signal, 10,000 symbols", figure(of(many, 1), " µs"),
        f"100 symbols {figure(of(few, 1), ' µs')}", ratio(of(many, 1), of(few, 1)), "at most 1.5")


main()
