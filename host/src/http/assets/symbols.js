// The list of symbols: searched, filtered, sorted, and drawn as far as the reader has come.

import { setAlert, showAlertsOf } from "./alerts.js";
import { remember, remembered } from "./device.js";
import { compact, dollars, fixed, list, number, priced, signed, split, text, toneOf, trusted, turnover } from "./format.js";
import { complete, live, loadAll } from "./link.js";
import { $, arc, flash, keyed, make, paint, put } from "./page.js";
import { nothing } from "./sections.js";

const HANDS_OFF = 3_000; // rows keep their places so long after the reader touched the list
const PAGE = 60; // rows drawn at a time
const AHEAD = "1200px"; // further rows are drawn so long before they come into sight
const SEEN_MAX = 24; // scores remembered where nobody sends a history
const HISTORY_ROOM = 10; // of score: a score that hardly moves does not look wild

const COMPONENTS = {
  technical: "Technical", volume: "Volume", orderflow: "Order flow",
  sentiment: "Sentiment", orderbook: "Order book", price_structure: "Price structure",
};
const SENTIMENTS = { LONG: "up", BULLISH: "up", BUY: "up", SHORT: "down", BEARISH: "down", SELL: "down" };
const CHIPS = { up: "▲ Long", down: "▼ Short", "": "Neutral" };
const ORDERS = { score: (r) => number(r.score), change: (r) => number(r.change_24h), volume: turnover };

const tools = $("tools").elements;
const favourites = new Set(list(remembered("favourites", [])).filter((name) => typeof name === "string"));
const rows = new Map(); // what is drawn, by symbol
const seen = new Map(); // scores that this page saw
let found = []; // symbols that match, in their order
let drawn = PAGE;
let touched = -Infinity;

const leanOf = (row) => SENTIMENTS[text(row.sentiment).toUpperCase()] ?? "";
const wantedNow = () => tools.search.value.trim().toUpperCase();

/** The greater number first, missing ones last. */
const greater = (a, b) => (a === null) - (b === null) || b - a;

// === Which rows, in which order ===

function matches(name, row) {
  switch (tools.filter.value) {
    case "favourites": if (!favourites.has(name)) return false; break;
    case "long": if (leanOf(row) !== "up") return false; break;
    case "short": if (leanOf(row) !== "down") return false; break;
  }
  return name.toUpperCase().includes(wantedNow());
}

/** Takes note of changes: all that `names` names, or everything. */
export function showSymbols(names) {
  for (const name of names ?? Object.keys(live.symbols)) noteScore(name);
  arrange(performance.now() - touched > HANDS_OFF, names);
  const out = number(live.left_out) ?? 0;
  $("left-out").hidden = out === 0;
  put($("left-out"), `${out} ${out === 1 ? "record is" : "records are"} not shown: price, change or score is missing.`);
  if (!complete && [...favourites].some((name) => !(name in live.symbols))) loadAll();
}

/** Puts the rows in the chosen order. Unless `settled`, rows keep their places. Only rows in `names` are written anew. */
function arrange(settled, names) {
  const by = ORDERS[tools.sort.value];
  const value = new Map();
  found = [];
  for (const [name, row] of Object.entries(live.symbols)) {
    if (!matches(name, row)) continue;
    found.push(name);
    value.set(name, by ? by(row) : null);
  }
  found.sort((a, b) => greater(value.get(a), value.get(b)) || (a < b ? -1 : 1));

  const inSight = new Set(found.slice(0, drawn));
  // Rows that keep their places must not lose them to others either.
  if (!settled) for (const name of rows.keys()) if (value.has(name)) inSight.add(name);
  rows.clear();
  keyed($("rows"), inSight, (name) => name, "symbol-row", (kept, name) => {
    rows.set(name, kept);
    if (!kept.last || !names || names.has(name)) showSymbol(kept, name, live.symbols[name]);
  }, settled);
  count();
}

function count() {
  const total = complete ? Object.keys(live.symbols).length : number(live.symbols_total) ?? 0;
  const filtered = wantedNow() || tools.filter.value !== "all";
  put($("count"), total === 0 ? "" : filtered ? `${found.length} of ${total}` : `${total}`);
  const none = () => {
    if (!total) return nothing("signals", "No symbols right now.");
    if (wantedNow()) return `No symbol matches “${tools.search.value.trim()}”.`;
    return tools.filter.value === "favourites" ? "No favourites yet. A tap on a star makes one." : "No symbol leans that way right now.";
  };
  put($("rows-empty"), found.length ? "" : none());
  $("more").hidden = found.length <= drawn && (complete || filtered);
}

// === One row ===

function showSymbol(kept, name, row) {
  const { root, fields: f } = kept;
  const score = number(row.score);
  const lean = leanOf(row);
  const [base, quote] = split(name);
  if (!kept.last) begin(kept, name, base);
  put(f.base, base);
  put(f.quote, quote);
  f.quote.classList.toggle("usual", quote === "USDT");
  put(f.score, fixed(score, 0));
  paint(root, lean);
  arc(f.ring, score);
  put(f.sentiment, CHIPS[lean], lean);
  put(f.price, priced(row.price));
  put(f.change, signed(row.change_24h), toneOf(row.change_24h));
  put(f.turnover, dollars(turnover(row)));
  put(f.trust, trusted(row.reliability));
  showSpark(f, historyOf(name));
  if (kept.detail) showDetail(kept.detail, name, row);

  const { last } = kept;
  if (last) {
    flash(f.money, row.price - last.price);
    flash(f.scored, score - last.score);
  }
  kept.last = { price: row.price, score };
}

function begin(kept, name, base) {
  const { root, fields: f } = kept;
  f.star.setAttribute("aria-label", `${base}, favourite`);
  f.star.setAttribute("aria-pressed", favourites.has(name));
  f.star.addEventListener("click", () => {
    if (!favourites.delete(name)) favourites.add(name);
    f.star.setAttribute("aria-pressed", favourites.has(name));
    remember("favourites", [...favourites]);
    if (tools.filter.value === "favourites") arrange(true);
  });
  const details = f.details;
  details.addEventListener("toggle", () => {
    // Few rows are ever opened; what is in them is made then.
    if (!details.open || kept.detail) return;
    kept.detail = make("symbol-detail");
    details.append(kept.detail.root);
    kept.detail.fields.alert.addEventListener("submit", (event) => setAlert(event, name));
    showDetail(kept.detail, name, live.symbols[name] ?? {});
  });
  root.dataset.symbol = name;
}

function showDetail({ fields: f }, name, row) {
  const [base] = split(name);
  put(f.turnover, dollars(turnover(row)));
  put(f.trust, trusted(row.reliability));
  put(f.volume, compact(row.volume_24h) && `${compact(row.volume_24h)} ${base}`);
  put(f.low, priced(row.low_24h));
  put(f.high, priced(row.high_24h));
  const range = row.high_24h - row.low_24h;
  const at = range > 0 && number(row.price) !== null ? (row.price - row.low_24h) / range : null;
  f.range.classList.toggle("void", at === null);
  f.range.style.setProperty("--at", Math.min(1, Math.max(0, at ?? 0)));
  showParts(f.parts, row.components ?? {});
  showReading(f.reading, row.interpretations);
  showAlertsOf(f.alerts, name);
}

/** All six components: what an analyser left out is named as such, not shown as an even 50. */
function showParts(container, components) {
  keyed(container, Object.keys(COMPONENTS), (name) => name, "part-row", ({ root, fields: f }, name) => {
    const value = number(components[name]) ?? number(components[name]?.score);
    put(f.name, COMPONENTS[name]);
    put(f.value, value === null ? "Not measured" : fixed(value, 0));
    root.classList.toggle("void", value === null);
    paint(f.bar, value === null ? "" : toneOf(value - 50));
    f.bar.style.setProperty("--from", Math.min(50, value ?? 50));
    f.bar.style.setProperty("--to", Math.max(50, value ?? 50));
  });
}

const read = new WeakMap();

function showReading(container, interpretations) {
  const lines = Object.entries(interpretations ?? {}).filter(([, line]) => text(line));
  const wanted = JSON.stringify(lines);
  if (read.get(container) === wanted) return;
  read.set(container, wanted);
  container.replaceChildren(...lines.map(([name, line]) => {
    const item = document.createElement("li");
    const title = document.createElement("b");
    title.textContent = Number.isNaN(Number(name)) ? `${COMPONENTS[name] ?? name}:` : "";
    item.append(title, line);
    return item;
  }));
}

// === The history of a score ===

function noteScore(name) {
  const row = live.symbols[name];
  const score = number(row?.score);
  if (score === null || list(row.score_history).length > 1) return seen.delete(name);
  const scores = seen.get(name) ?? [];
  if (scores.at(-1) === score) return;
  scores.push(score);
  if (scores.length > SEEN_MAX) scores.shift();
  seen.set(name, scores);
}

/** What the server has; else what this page has seen. */
function historyOf(name) {
  const sent = list(live.symbols[name].score_history).filter((v) => number(v) !== null);
  return sent.length > 1 ? sent : seen.get(name) ?? [];
}

function showSpark(f, history) {
  f.spark.classList.toggle("void", history.length < 2);
  const [least, most] = [Math.min(...history), Math.max(...history)];
  const room = Math.max(0, HISTORY_ROOM - (most - least)) / 2;
  const points = history.map((value, i) => {
    const x = (i / (history.length - 1)) * 100;
    const y = 28 - ((value - least + room) / (most - least + 2 * room)) * 26;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  const line = history.length < 2 ? "0,15 100,15" : points.join(" ");
  if (f.line.getAttribute("points") === line) return;
  f.line.setAttribute("points", line);
  f.area.setAttribute("d", history.length < 2 ? "" : `M0,30 L${points.join(" L")} L100,30Z`);
}

// === What the reader does ===

function drawMore() {
  if (!live || $("more").hidden) return;
  loadAll();
  drawn += PAGE;
  arrange(false, new Set());
}

/** Starts to listen to the reader. */
export function attend() {
  $("tools").addEventListener("input", () => {
    if (!live) return;
    drawn = PAGE;
    loadAll();
    arrange(true);
  });
  $("tools").addEventListener("submit", (event) => event.preventDefault());
  for (const type of ["pointerdown", "touchmove", "wheel", "keydown"]) {
    $("rows").addEventListener(type, () => { touched = performance.now(); }, { passive: true });
  }
  $("more").addEventListener("click", drawMore);
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    drawMore();
    // Told again, should it still be near.
    watch.unobserve($("more"));
    watch.observe($("more"));
  }, { rootMargin: AHEAD });
  watch.observe($("more"));
}

/** The alerts of a symbol changed. */
export function alertsChanged(name) {
  const detail = rows.get(name)?.detail;
  if (detail) showAlertsOf(detail.fields.alerts, name);
}
