"""Row `visible`: from a write to the changed number on the screen of a phone, in a real browser.

The page notes by itself when a changed price was painted, so that nobody asks it in between. Writer and page read the same
clock. Writes keep so far apart that none waits for another's coalescing span.
"""

import http.client
import json
import time

from kit import PATIENCE_SECONDS, ROUNDS, Gateway, Process, eventually, figure, folder, free_port, percentile, row

WRITES = 60
# More than the 100 ms within which changes are published together.
APART_SECONDS = 0.25

ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=390,844"]

# What is posted within a frame is heard when the frame has been painted.
WATCH = """
    window.seen = {};
    const price = document.querySelector("li[data-symbol=BTCUSDT] [data-f=price]");
    new MutationObserver(() => {
      const shown = price.textContent;
      requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => { window.seen[shown] ??= performance.timeOrigin + performance.now(); };
        port2.postMessage(null);
      });
    }).observe(price, { childList: true, characterData: true, subtree: true });
"""


class Browser(Process):
    """Chromium with its driver."""

    def __init__(self, cwd):
        self.port, self.session = free_port(), None
        self.profile = cwd / "profile"
        super().__init__("chromedriver", f"--port={self.port}", "--log-level=OFF", cwd=cwd)

    def __enter__(self):
        options = {"args": [*ARGUMENTS, f"--user-data-dir={self.profile}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        eventually("chromedriver answers", lambda: self.ask("GET", "/status")["ready"])
        self.session = self.ask("POST", "/session", wanted)["sessionId"]
        return self

    def __exit__(self, *raised):
        if self.session:
            self.ask("DELETE", f"/session/{self.session}")
        super().__exit__(*raised)

    def ask(self, method, path, body=None):
        """A command of WebDriver."""
        driver = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        driver.request(method, path, None if body is None else json.dumps(body), {"content-type": "application/json"})
        value = json.loads(driver.getresponse().read())["value"]
        driver.close()
        if isinstance(value, dict) and "stacktrace" in value:
            raise SystemExit(value["message"])
        return value

    def open(self, url):
        """Opens a page."""
        self.ask("POST", f"/session/{self.session}/url", {"url": url})

    def script(self, text):
        """What a script answers."""
        return self.ask("POST", f"/session/{self.session}/execute/sync", {"script": text, "args": []})


def post(writer, price):
    """One signal."""
    signal = {"symbol": "BTCUSDT", "confluence_score": 50, "price": price, "change_24h": 1.5}
    writer.request("POST", "/api/signals", json.dumps(signal))
    answer = writer.getresponse()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {answer.read().decode()}")
    answer.read()


def delays(gateway, browser, first):
    """Milliseconds from each write until its price was painted."""
    writer = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_SECONDS)
    written = {}
    for price in range(first, first + WRITES):
        shown = f"${price:,}.00"
        written[shown] = time.time() * 1e3
        post(writer, price)
        time.sleep(APART_SECONDS)
    writer.close()
    eventually("the last price is shown", lambda: shown in browser.script("return window.seen"))
    seen = browser.script("return window.seen")
    return [seen[price] - at for price, at in written.items()]


def main():
    with folder() as cwd, Gateway(cwd) as gateway, Browser(cwd) as browser:
        gateway.ready()
        writer = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_SECONDS)
        post(writer, 10_000)
        browser.open(f"http://localhost:{gateway.port}/mobile")
        shown = "return document.querySelector('li[data-symbol=BTCUSDT]') !== null"
        eventually("the symbol is on the page", lambda: browser.script(shown))
        browser.script(WATCH)
        delays(gateway, browser, 20_000)
        rounds = [delays(gateway, browser, 30_000 + 1_000 * at) for at in range(ROUNDS)]
        for share, target in [(50, ""), (99, "at most 300 ms")]:
            row("visible", f"p{share} from POST of a signal to the changed price on a phone's screen",
                figure([percentile(found, share) for found in rounds], " ms"), "", "", target)


main()
