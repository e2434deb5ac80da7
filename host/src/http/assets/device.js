// What stays on this device: favourites, alerts, and the last document for the time without a network.

const PLACE = "tiergate.";
const SAVED = "tiergate-data";
const DOCUMENT = "/saved/live.json";

export function remembered(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(PLACE + name)) ?? otherwise;
  } catch {
    return otherwise; // Storage may be switched off, or hold what another version wrote.
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(PLACE + name, JSON.stringify(value));
  } catch (error) {
    console.warn(`${name} cannot be kept on this device`, error);
  }
}

/** Keeps the document, and the server's time with the device's, by which its age is told later. */
export async function saveDocument(document, serverNow) {
  if (!("caches" in globalThis)) return; // Only where the page came over HTTPS or from this device.
  try {
    const body = JSON.stringify({ document, serverNow, wall: Date.now() / 1_000 });
    await (await caches.open(SAVED)).put(DOCUMENT, new Response(body));
  } catch (error) {
    console.warn("the last data cannot be kept on this device", error);
  }
}

export async function savedDocument() {
  if (!("caches" in globalThis)) return null;
  try {
    const answer = await (await caches.open(SAVED)).match(DOCUMENT);
    return answer ? await answer.json() : null;
  } catch (error) {
    console.warn("the last data cannot be read", error);
    return null;
  }
}
