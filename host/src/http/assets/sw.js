// Opens the page without a network: answers from the network, and where there is none from what was kept.
//
// The data are not its business: the page keeps its own, with the age.

const KEPT = "tiergate-page-1";
const PATIENCE = 3_000; // with the network, before what was kept is shown
const PAGE = [
  "/mobile", "/assets/mobile.css", "/assets/mobile.js", "/assets/ages.js", "/assets/alerts.js", "/assets/device.js",
  "/assets/format.js", "/assets/link.js", "/assets/page.js", "/assets/sections.js", "/assets/symbols.js",
  "/assets/icon.svg", "/assets/icon-192.png", "/assets/mobile.webmanifest",
];

self.addEventListener("install", (event) => {
  const keep = async () => (await caches.open(KEPT)).addAll(PAGE.map((path) => new Request(path, { cache: "no-cache" })));
  event.waitUntil(keep().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("tiergate-page-") && name !== KEPT;
  const clean = async () => Promise.all((await caches.keys()).filter(old).map((name) => caches.delete(name)));
  event.waitUntil(clean().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin || !PAGE.includes(pathname)) return;
  event.respondWith(answer(event.request, pathname));
});

async function answer(request, path) {
  const kept = await caches.open(KEPT);
  const bell = new AbortController();
  const timer = setTimeout(() => bell.abort(), PATIENCE);
  try {
    const fresh = await fetch(path, { cache: "no-cache", signal: bell.signal });
    if (fresh.ok) await kept.put(path, fresh.clone());
    return fresh;
  } catch (error) {
    return (await kept.match(path)) ?? Promise.reject(error);
  } finally {
    clearTimeout(timer);
  }
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const show = async () => {
    const [open] = await self.clients.matchAll({ type: "window" });
    return open ? open.focus() : self.clients.openWindow("/mobile");
  };
  event.waitUntil(show());
});
