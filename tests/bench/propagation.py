"""Row `propagation`: three gateways over one memcached and one Redis: how soon a change is told to their readers, and another
publishes when the one that did is killed.

Readers hold event streams, as dashboards do. Writes keep so far apart that none waits for another's coalescing span.
"""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack, closing

from kit import (PATIENCE_SECONDS, ROOT, Gateway, Process, eventually, fetch, figure, folder, free_port, percentile,
                 row)

KEY = "analysis:signals"
ROUNDS = 3
WRITES = 100
# More than the 100 ms within which changes are published together.
APART_SECONDS = 0.15
FAULT_SECONDS = 3
FAULTS = 2
KILLS = 5
SHARING = {"TIERGATE_MARKET__SHARE_SIGNALS": "true"}


class Reader:
    """An event stream, and when each price was first told over it."""

    def __init__(self, gateway):
        version = json.loads(fetch(gateway.port, "/api/dashboard/live")[2])["version"]
        self.socket = socket.create_connection(("127.0.0.1", gateway.port))
        self.socket.sendall(f"GET /api/dashboard/stream?since={version} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        self.told, self.news = {}, threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        rest = b""
        while piece := self.socket.recv(1 << 16):
            now, rest = time.perf_counter(), rest + piece
            with self.news:
                for price in re.findall(rb'"price":(\d+\.25)\b', rest):
                    self.told.setdefault(float(price), now)
                self.news.notify_all()
            rest = rest[-64:]

    def when(self, price):
        """The moment at which `price` was told."""
        with self.news:
            if not self.news.wait_for(lambda: price in self.told, PATIENCE_SECONDS):
                raise SystemExit(f"{price} is not told")
            return self.told[price]

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Memcached:
    """A producer that knows nothing of Tiergate."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def set(self, value):
        self.socket.sendall(b"set %s 0 300 %d\r\n%s\r\n" % (KEY.encode(), len(value), value))
        if (answer := self.file.readline()) != b"STORED\r\n":
            raise SystemExit(f"memcached: {answer}")

    def get(self):
        self.socket.sendall(b"get %s\r\n" % KEY.encode())
        head = self.file.readline()
        if head == b"END\r\n":
            return b""
        value = self.file.read(int(head.split()[3]) + 2)[:-2]
        self.file.readline()
        return value


class Redis:
    """Another of the kind."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        head = self.file.readline()
        if head[:1] == b"$" and head != b"$-1\r\n":
            return self.file.read(int(head[1:]) + 2)[:-2]
        return head

    def set(self, value):
        if (answer := self.ask("SETEX", KEY, 300, value)) != b"+OK\r\n":
            raise SystemExit(f"redis: {answer}")

    def get(self):
        return self.ask("GET", KEY)


class Prices:
    """The document of a producer, each with a price and a time later than those before it."""

    def __init__(self):
        self.document = json.loads((ROOT / f"tests/fixtures/{KEY}.json").read_text())
        self.last = 1_000.25

    def next(self):
        self.last += 1
        self.document["timestamp"] = time.time()
        for signals in ("signals", "recent_signals"):
            self.document[signals][0]["price"] = self.last
        return self.last, json.dumps(self.document).encode()


def through(gateway):
    """Writes through a gateway, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_SECONDS)

    def put(value):
        connection.request("PUT", f"/api/cache/{KEY}?ttl=300", value)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status not in (200, 202):
            raise SystemExit(f"{answer.status}: {said.decode()}")
    return put


def delays(prices, write, readers):
    """Milliseconds from each write until all of the readers were told."""
    found = []
    for _ in range(WRITES):
        price, value = prices.next()
        begun = time.perf_counter()
        write(value)
        found.append((max(reader.when(price) for reader in readers) - begun) * 1e3)
        time.sleep(APART_SECONDS)
    return found


def measure(name, prices, write, readers, target):
    delays(prices, write, readers)
    rounds = [delays(prices, write, readers) for _ in range(ROUNDS)]
    for share, target in [(50, ""), (99, target)]:
        row("propagation", f"p{share} from {name}", figure([percentile(found, share) for found in rounds], " ms"), "", "",
            target)


def agreement(prices, write, gateways, stores, fault):
    """Seconds from the end of `fault`, during which something is written, until all gateways and stores hold that."""
    begin, end = fault
    begin()
    price, value = prices.next()
    write(value)
    time.sleep(FAULT_SECONDS)
    end()
    ended = time.perf_counter()

    def agree():
        held = [fetch(gateway.port, f"/api/cache/{KEY}")[2] for gateway in gateways]
        shown = [json.loads(one)["signals"][0]["price"] for one in held + [store.get() for store in stores] if one]
        return len(shown) == len(held) + len(stores) and all(one == price for one in shown)
    eventually("all agree", agree)
    return time.perf_counter() - ended


def publisher(gateways):
    """The one that publishes what all were sent."""
    found = [gateway for gateway in gateways if gateway.metrics("tiergate_publishes") == 1]
    return found[0] if len(found) == 1 else None


def takeover(cwds, tiers, price):
    """Seconds from the kill of the gateway that publishes until another does, and all others serve what came since."""
    with ExitStack() as stack:
        gateways = [stack.enter_context(Gateway(cwd, tiers=tiers, settings=SHARING)).ready() for cwd in cwds]
        dead = eventually("one publishes", lambda: publisher(gateways))
        others = [gateway for gateway in gateways if gateway is not dead]
        dead.child.kill()
        killed = time.perf_counter()
        sent = json.dumps({"symbol": "BTCUSDT", "confluence_score": 60, "price": price, "change_24h": 1.0})
        if (answer := fetch(others[0].port, "/api/signals", "POST", sent.encode()))[0] not in (200, 202):
            raise SystemExit(f"{answer[0]}: {answer[2].decode()}")

        def serves(gateway):
            symbols = json.loads(fetch(gateway.port, "/api/dashboard/live")[2])["symbols"]
            return symbols.get("BTCUSDT", {}).get("price") == price
        eventually("another publishes", lambda: publisher(others) and all(map(serves, others)))
        return time.perf_counter() - killed


def main():
    with folder() as cwd, ExitStack() as stack:
        ports = {"memcached": free_port(), "redis": free_port()}
        tiers = [f"memcached://127.0.0.1:{ports['memcached']}", f"redis://127.0.0.1:{ports['redis']}/0"]
        servers = {
            "memcached": Process("memcached", "-l", "127.0.0.1", "-U", "0", "-u", "root", "-p", ports["memcached"], cwd=cwd),
            "Redis": Process("redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port",
                             ports["redis"], cwd=cwd),
        }
        for server in servers.values():
            stack.enter_context(server)
        for port in ports.values():
            eventually("the stores answer", lambda: socket.create_connection(("127.0.0.1", port)).close() or True)
        cwds = [cwd / name for name in "abcdef"]
        for own in cwds:
            own.mkdir()
        gateways = [stack.enter_context(Gateway(own, tiers=tiers)).ready() for own in cwds[:3]]
        prices, stores = Prices(), (Memcached(ports["memcached"]), Redis(ports["redis"]))
        through_a = through(gateways[0])
        through_a(prices.next()[1])
        readers = [stack.enter_context(closing(Reader(gateway))) for gateway in gateways]
        measure("a write through one gateway to an event of another", prices, through_a, readers[2:], "at most 20 ms")
        measure("a plain `set` in memcached to an event of each of three", prices, stores[0].set, readers, "at most 300 ms")
        measure("a plain `SET` in Redis to an event of each of three", prices, stores[1].set, readers, "at most 50 ms")
        for name, server in servers.items():
            fault = [lambda sent=sent: os.kill(server.child.pid, sent) for sent in (signal.SIGSTOP, signal.SIGCONT)]
            # Over a connection of its own: the first one was idle for longer than a gateway bears.
            took = [agreement(prices, through(gateways[0]), gateways, stores, fault) for _ in range(FAULTS)]
            row("propagation", f"until all agree after {name} stood still for {FAULT_SECONDS} s", figure(took, " s"), "", "",
                "at most 2 s")
        took = [takeover(cwds[3:], tiers, 60_000 + kill) for kill in range(KILLS)]
        row("propagation", "until another publishes after the gateway that did was killed", figure(took, " s"), "", "",
            "at most 2 s")


main()
