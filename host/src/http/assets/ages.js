// How old the data is, and what that makes of it.

import { number, span } from "./format.js";
import { $, put, shownIn } from "./page.js";

const SILENCE = 20; // seconds without a word from the server, after which nothing passes for live

export const now = () => performance.now() / 1_000;

// What to add to `now()` for the server's time. The phone's own clock may be wrong or be set at any moment, so only its
// steady one is used. Each moment that the server names has passed when it is read, so the greatest difference is the best.
let skew = -Infinity;
let guessed = false;

export const learn = (seconds) => {
  if (number(seconds) === null) return;
  skew = guessed ? seconds - now() : Math.max(skew, seconds - now());
  guessed = false;
};

/** The server's time; not a number before it is known. */
export const serverNow = () => (skew === -Infinity ? NaN : now() + skew);

/** From what was saved: the device's clock must do until the server is heard. */
export const guess = (seconds) => {
  if (skew !== -Infinity) return;
  skew = seconds - now();
  guessed = true;
};

let sections = {};
let connected = false;
let heard = -Infinity; // when the server last answered
export const broken = new Set(); // ids of what could not be shown

export const setSections = (told) => { sections = told ?? {}; };
export const sectionKind = (name) => sections[name]?.kind;
export const isConnected = () => connected && now() - heard <= SILENCE;
export const setConnected = (is) => {
  connected = is;
  if (is) heard = now();
};

/** Whether the numbers of a section may be acted upon. */
export const isLive = (name) => isConnected() && sections[name]?.kind === "real" && sections[name]?.freshness === "fresh";

/** How a section stands: a state for the eye, words for the rest. */
function standing(node) {
  if (broken.has(node.id)) return ["missing", "Cannot be shown"];
  if (Number.isNaN(serverNow())) return ["waiting", "Waiting"];
  const { kind, freshness, as_of } = sections[node.dataset.section] ?? {};
  if (!kind || kind === "missing" || freshness === "missing") {
    return kind === "placeholder" ? ["placeholder", "Placeholder"] : ["missing", "No data"];
  }
  if (kind === "placeholder") return ["placeholder", "Placeholder"];
  const age = number(as_of) === null ? null : span(serverNow() - as_of);
  if (!isConnected()) return ["offline", `Offline · ${age ? `${age} old` : "age unknown"}`];
  if (freshness === "stale") return ["stale", `Old data · ${age ?? "age unknown"}`];
  return ["live", age ? `${age} ago` : "Age unknown"];
}

const badgeOf = (node) => node?.querySelector(":scope > .badge, :scope > header > .badge");
const marked = [...document.querySelectorAll("[data-section]")].map((node) => [
  node, badgeOf(node), badgeOf(node.parentElement.closest("[data-section]")),
]);

/** Brings the badges up to date; says whether all, some or none of the cards are live. */
export function tick() {
  const cards = new Set();
  for (const [node, badge, outer] of marked) {
    const [state, words] = standing(node);
    if (node.dataset.state !== state) node.dataset.state = state;
    put(badge, words);
    // A part of a card speaks up only when it stands otherwise than its card.
    if (outer) badge.hidden = state === "live" || state === "offline" || words === shownIn(outer);
    else if (node.id) cards.add(state);
  }
  if (!cards.has("live")) return "none";
  return cards.size === 1 ? "all" : "some";
}
