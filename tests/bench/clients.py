"""Row `clients`: the dashboard for others while thousands of pages are open and thousands of connections idle.

The clients are two processes of their own: one holds event streams, which it reads, the other connections over which nothing
is asked. A document changes once a second, so that every stream has something to say.
"""

import asyncio
import json
import resource
import subprocess
import sys
import threading
import time

from kit import Gateway, fetch, folder, number, oha, row

VIEW = "/api/dashboard/mobile-data"
STREAM = "/api/dashboard/stream"
CLIENTS = 8_000
RATE = 200
SECONDS = 20
# Clients that are greeted at once; more would overrun the kernel's queue of connections.
AT_ONCE = 200


async def hold(kind, port):
    """Opens all connections, says so, reads what comes, and ends when standard input does."""
    heard, greeted = 0, asyncio.Semaphore(AT_ONCE)

    async def one():
        async with greeted:
            stream = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            if kind == "streams":
                stream[1].write(f"GET {STREAM} HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n".encode())
                head = await stream[0].readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
        return stream

    async def read(stream):
        nonlocal heard
        while await stream.read(1 << 16):
            heard += 1

    opened = await asyncio.gather(*(one() for _ in range(CLIENTS)))
    reading = [asyncio.create_task(read(reader)) for reader, _ in opened]
    print("open", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    alive = sum(not task.done() for task in reading)
    print(json.dumps({"heard": heard, "alive": alive}), flush=True)


def holder(kind, port):
    child = subprocess.Popen([sys.executable, __file__, kind, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if child.stdout.readline().strip() != "open":
        raise SystemExit(f"{kind}: not all connections were opened")
    return child


def release(child):
    said, _ = child.communicate()
    return json.loads(said)


def change(gateway, ended):
    """Changes a document once a second."""
    signal = {"symbol": "BTCUSDT", "confluence_score": 60, "price": 60_000, "change_24h": 1.5}
    while not ended.wait(1):
        signal["price"] += 1
        status, _, said = fetch(gateway.port, "/api/signals", "POST", json.dumps(signal))
        if status != 200:
            raise SystemExit(f"a signal was not taken: {status}: {said.decode()[:500]}")


def p99(gateway):
    """Milliseconds within which 99 of 100 answers came at a fixed rate."""
    return oha(gateway.port, VIEW, rate=RATE, connections=8, seconds=SECONDS)[0]


def main():
    settings = {"TIERGATE_HTTP__CONNECTIONS_MAX": str(2 * CLIENTS + 1_000), "TIERGATE_HTTP__STREAMS_MAX": str(CLIENTS)}
    with folder() as cwd, Gateway(cwd, settings=settings) as gateway:
        gateway.ready()
        ended = threading.Event()
        changing = threading.Thread(target=change, args=(gateway, ended))
        changing.start()
        try:
            alone, memory = p99(gateway), gateway.rss_mib()
            holders = [holder(kind, gateway.port) for kind in ("streams", "idle")]
            begun = time.monotonic()
            beside, more = p99(gateway), gateway.rss_mib()
            refused, _, why = fetch(gateway.port, STREAM)
            plain = fetch(gateway.port, VIEW)[0]
            lasted = time.monotonic() - begun
            streams, idle = map(release, holders)
        finally:
            ended.set()
            changing.join()
    if streams["alive"] != CLIENTS or idle["alive"] != CLIENTS:
        raise SystemExit(f"connections were lost: {streams}, {idle}")
    what = f"{CLIENTS:,} event streams and {CLIENTS:,} idle connections"
    row("clients", f"p99 of the dashboard at {RATE} requests/s beside {what}", f"{number(beside)} ms", f"alone {number(alone)} ms", "", "")
    row("clients", "resident memory with them", f"{more:.0f} MiB", f"alone {memory:.0f} MiB", f"{(more - memory) * 1024 / 2 / CLIENTS:.1f} KiB each", "")
    row("clients", "pieces of streams that were read in a second", f"{number(streams['heard'] / lasted)}", "", "", "")
    row("clients", "one stream more is answered", f"{refused} `{json.loads(why)['error']['code']}`", f"the view {plain}", "", "503; 200")


if len(sys.argv) == 3:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(hold(sys.argv[1], int(sys.argv[2])))
else:
    main()
