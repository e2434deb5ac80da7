// The connection: one document, fetched once, then kept current by a stream of changes.
//
// While the stream is down the document is asked for every few seconds, with its validator. A page that was asleep names the
// version that it has and gets what it missed.

import { guess, isConnected, learn, now, serverNow, setConnected } from "./ages.js";
import { saveDocument, savedDocument } from "./device.js";
import { number } from "./format.js";

const DOCUMENT = "/api/dashboard/live";
const STREAM = "/api/dashboard/stream";
const FIRST = 100; // symbols in the first view
const ALL = 1_000;
const PERIOD = 2_000; // between two questions while there is no stream
const PERIOD_MAX = 10_000;
const PATIENCE = 8_000; // with one answer
const GRACE = 1_000; // for a stream to come back by itself
const STREAM_AGAIN = 30_000; // after the server refused one
const QUEUE_MAX = 500; // changes that wait for the document
const SAVE_EVERY = 15_000;

/** The last document; `symbols` is an object of records by name. */
export let live = null;
/** Whether all symbols are here, or the best scores alone. */
export let complete = false;

let limit = FIRST;
let listener; // told of every change
let reporter; // told how the connection stands
let flight = null;
let timer;
let failures = 0; // in a row
let stream = null;
let streamTimer;
let queue = [];
let dirty = false; // since it was saved
let everSaved = false;
let background = () => false; // whether changes matter while nobody looks

const numberOf = (version) => Number(version.slice(version.lastIndexOf("-") + 1));
const epochOf = (version) => version.slice(0, version.lastIndexOf("-"));

// === The document ===

/** RFC 7396. Answers the patched value. */
function merge(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const into = target !== null && typeof target === "object" && !Array.isArray(target) ? target : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete into[name];
    else into[name] = merge(into[name], value);
  }
  return into;
}

function take(whole) {
  live = whole;
  live.symbols ??= {};
  complete = Object.keys(live.symbols).length >= (number(live.symbols_total) ?? 0);
  dirty = true;
  const waiting = queue;
  queue = [];
  waiting.forEach(apply);
  listener(null);
  if (!everSaved) save();
}

/** Applies a change, or fetches the document when it does not fit the one that is here. */
function apply(change) {
  if (flight) {
    if (queue.length < QUEUE_MAX) queue.push(change);
    return;
  }
  if (change.from !== live.version) {
    const known = epochOf(change.to) === epochOf(live.version) && numberOf(change.to) <= numberOf(live.version);
    if (!known) ask();
    return;
  }
  const { patch } = change;
  // Of symbols that are not here a change alone says too little.
  if (!complete && patch.symbols) {
    for (const name of Object.keys(patch.symbols)) if (!(name in live.symbols)) delete patch.symbols[name];
  }
  merge(live, patch);
  live.version = change.to;
  live.symbols ??= {};
  learn(patch.timestamp);
  dirty = true;
  listener(patch);
}

// === Asking ===

async function ask() {
  clearTimeout(timer);
  flight?.abort();
  const mine = (flight = new AbortController());
  const bell = setTimeout(() => mine.abort(), PATIENCE);
  let whole = null;
  try {
    const answer = await fetch(`${DOCUMENT}?limit=${limit}`, { cache: "no-cache", signal: mine.signal });
    if (!answer.ok) throw Object.assign(new Error(), { shown: `The server answered ${answer.status}.` });
    learn(Date.parse(answer.headers.get("date")) / 1_000);
    whole = await answer.json();
    if (mine !== flight) return;
    flight = null;
    failures = 0;
    learn(whole.timestamp);
    heardFrom();
    if (whole.version !== live?.version || !complete) take(whole);
    else queue.splice(0).forEach(apply);
    if (!stream) listen();
  } catch (error) {
    if (mine !== flight) return;
    flight = null;
    failures += 1;
    lost(error);
  } finally {
    clearTimeout(bell);
  }
  again();
}

/** Asks again later, unless the stream tells by itself. */
function again() {
  clearTimeout(timer);
  if (stream?.readyState === EventSource.OPEN || asleep()) return;
  timer = setTimeout(ask, Math.min(PERIOD * 2 ** failures, PERIOD_MAX));
}

/** Fetches the symbols that the first view left out. */
export function loadAll() {
  if (complete || limit === ALL) return;
  limit = ALL;
  ask();
}

function heardFrom() {
  setConnected(true);
  reporter({ state: live?.status === "unavailable" ? "unavailable" : "live" });
}

/** One failed attempt may be a tunnel; from the second on, or when the phone knows, it is said aloud. */
function lost(error) {
  if (failures < 2 && navigator.onLine && isConnected()) return;
  setConnected(false);
  const answered = error instanceof SyntaxError ? "The server's answer cannot be read." : error.shown;
  const why = navigator.onLine ? answered ?? "The server cannot be reached." : "This device is offline.";
  reporter({ state: "offline", label: navigator.onLine ? "Disconnected" : "Offline", why });
}

// === Listening ===

function listen() {
  hangUp();
  if (asleep()) return;
  const mine = (stream = new EventSource(`${STREAM}?since=${encodeURIComponent(live.version)}`));
  const told = (take) => (event) => {
    if (mine !== stream) return;
    heardFrom();
    expectMore();
    take(event.data);
  };
  mine.onopen = told(() => clearTimeout(timer));
  mine.addEventListener("patch", told((data) => apply(JSON.parse(data))));
  mine.addEventListener("reset", told(ask));
  mine.addEventListener("beat", told((data) => {
    const { version, now_ms } = JSON.parse(data);
    learn(now_ms / 1_000);
    if (!flight && version !== live.version) ask();
  }));
  mine.onerror = () => {
    if (mine !== stream) return;
    if (mine.readyState === EventSource.CLOSED) {
      // Refused: all places are taken, or a proxy knows no streams.
      hangUp();
      streamTimer = setTimeout(() => live && listen(), STREAM_AGAIN);
    }
    timer = setTimeout(ask, GRACE);
  };
  expectMore();
}

const BEAT_MISSED = 15_000; // three beats
let missed;

/** A connection may be dead without anybody saying so. */
function expectMore() {
  clearTimeout(missed);
  missed = setTimeout(() => {
    hangUp();
    ask();
  }, BEAT_MISSED);
}

function hangUp() {
  clearTimeout(missed);
  clearTimeout(streamTimer);
  stream?.close();
  stream = null;
}

// === Sleeping and waking ===

const asleep = () => document.hidden && !background();

function wake() {
  if (document.hidden) save();
  if (asleep()) {
    hangUp();
    clearTimeout(timer);
  } else if (!isConnected() || !stream || stream.readyState !== EventSource.OPEN) {
    hangUp();
    if (live?.version && isConnected()) {
      listen(); // The server tells what was missed.
      again();
    } else ask();
  }
}

async function save() {
  if (!dirty || !live || Number.isNaN(serverNow())) return;
  [dirty, everSaved] = [false, true];
  await saveDocument({ ...live, complete }, serverNow());
}

/**
 * Starts. `onChange` gets every patch, or null for a whole new document; `onState` how the connection stands; `inBackground`
 * says whether to go on while the page is hidden.
 */
export async function connect({ onChange, onState, inBackground }) {
  [listener, reporter, background] = [onChange, onState, inBackground];
  document.addEventListener("visibilitychange", wake);
  addEventListener("pagehide", save);
  addEventListener("pageshow", (event) => event.persisted && wake());
  addEventListener("online", () => { hangUp(); ask(); });
  addEventListener("offline", () => { hangUp(); lost(new TypeError("offline")); again(); });
  setInterval(save, SAVE_EVERY);
  ask();
  const saved = await savedDocument();
  if (saved?.document && !live) {
    guess(saved.serverNow + Math.max(0, Date.now() / 1_000 - saved.wall));
    live = saved.document;
    complete = Boolean(live.complete);
    listener(null);
  }
}

/** At once, whatever was planned. */
export function retry() {
  hangUp();
  failures = 0;
  ask();
}
