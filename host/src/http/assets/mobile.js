// The market page: polls one view and shows it, with the age of each section beside it.
//
// Nothing here invents a number. What the server did not send reads "n/a"; what is old, a stand-in or out of reach says so.

const VIEW = "/api/dashboard/mobile-data";
const PERIOD = 2_000;
const PERIOD_MAX = 10_000; // between attempts while the server does not answer
const PATIENCE = 8_000; // with one attempt
const SILENCE = 20; // seconds without an answer, after which nothing passes for live
const HANDS_OFF = 3_000; // rows keep their places so long after the reader touched the list

const COMPONENTS = {
  technical: "Technical", volume: "Volume", orderflow: "Order flow",
  sentiment: "Sentiment", orderbook: "Order book", price_structure: "Price structure",
};

const $ = (id) => document.getElementById(id);

// === Numbers as people read them ===

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
const text = (value) => (typeof value === "string" ? value : "");
const list = (value) => (Array.isArray(value) ? value : []);
const formats = new Map();

/** Formats through `Intl`, whose formatters are costly to make and kept. Says nothing of a missing number. */
function written(value, options) {
  if (number(value) === null) return null;
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en-US", options));
  return formats.get(key).format(value).replace("-", "−");
}

const fixed = (value, places) => written(value, { minimumFractionDigits: places, maximumFractionDigits: places });
const percent = (value, places = 2) => number(value) === null ? null : `${fixed(value, places)}%`;
const compact = (value) => written(value, { notation: "compact", minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const dollars = (value) => written(value, { notation: "compact", style: "currency", currency: "USD", minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

/** Always with its sign, so that colour is never the only difference. */
function signed(value) {
  if (number(value) === null) return null;
  const shown = percent(value);
  return value > 0 && shown !== "0.00%" ? `+${shown}` : shown.replace(/^−(?=0\.00%)/, "");
}

/** Prices keep four digits that matter, whether a coin costs 60,000 dollars or a hundred-thousandth of one. */
function priced(value) {
  if (number(value) === null || value < 0) return null;
  const magnitude = value > 0 ? Math.floor(Math.log10(value)) : 0;
  return `$${fixed(value, Math.min(12, Math.max(2, 3 - magnitude)))}`;
}

/** Reliability is 0 to 1; writers of another age send percent. */
const trusted = (value) => number(value) === null ? null : percent(value <= 1 ? value * 100 : value, 0);

function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

const clockTime = (seconds) => new Date(seconds * 1_000).toLocaleTimeString();
const toneOf = (value) => (number(value) === null || value === 0 ? "" : value > 0 ? "up" : "down");

/** "BTCUSDT" to "BTC" and "USDT". */
function split(symbol) {
  const quote = ["USDT", "USDC", "USD"].find((q) => symbol.endsWith(q) && symbol.length > q.length) ?? "";
  return [symbol.slice(0, symbol.length - quote.length), quote];
}

/** In dollars: the exchange's own turnover, else coins times price. */
const turnover = (row) =>
  number(row.turnover_24h) ?? (number(row.volume_24h) !== null && number(row.price) !== null ? row.volume_24h * row.price : null);

// === Writing into the page ===

const shown = new WeakMap();

/** Sets the text of `node`, touching the document only when it changed. A missing value reads "n/a" and is spoken as such. */
function put(node, value, tone) {
  if (tone !== undefined) paint(node, tone);
  if (shown.get(node) === value) return;
  shown.set(node, value);
  if (value !== null) return void (node.textContent = value);
  const gap = document.createElement("span");
  gap.className = "na";
  gap.setAttribute("role", "img");
  gap.setAttribute("aria-label", "not available");
  gap.textContent = "n/a";
  node.replaceChildren(gap);
}

function paint(node, tone) {
  if (node.dataset.tone !== tone) node.dataset.tone = tone;
}

/** Length of a stroke whose path is 100 long; none for a missing number. */
function arc(node, value) {
  node.toggleAttribute("hidden", value === null);
  node.setAttribute("stroke-dasharray", `${Math.min(100, Math.max(0, value))} 200`);
}

/** A new element from a template, with its marked nodes by name. */
function make(template) {
  const root = $(template).content.firstElementChild.cloneNode(true);
  const fields = Object.fromEntries([...root.querySelectorAll("[data-f]")].map((node) => [node.dataset.f, node]));
  return { root, fields };
}

const kept = new WeakMap();

/**
 * Keeps `container` in step with `items`: one element for each key, made once, updated in place, moved only when its place
 * changed. One item that cannot be shown does not cost the others.
 */
function keyed(container, items, keyOf, template, update, settled = true) {
  const rows = kept.get(container) ?? kept.set(container, new Map()).get(container);
  const wanted = new Map();
  for (const item of items) {
    const key = item && keyOf(item);
    if (!key || wanted.has(key)) continue;
    const row = rows.get(key) ?? make(template);
    try {
      update(row, item);
      wanted.set(key, row);
    } catch (error) {
      console.error(`${key} cannot be shown`, error);
    }
  }
  for (const [key, row] of rows) if (!wanted.has(key)) row.root.remove();
  kept.set(container, wanted);

  const focused = document.activeElement;
  let place = container.firstElementChild;
  for (const { root } of wanted.values()) {
    if (root === place) place = place.nextElementSibling;
    else if (settled || !root.isConnected) container.insertBefore(root, place);
  }
  // Moving an element takes its focus away.
  if (focused !== document.activeElement && container.contains(focused)) focused.focus({ preventScroll: true });
  return wanted.size;
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

function flash(node, direction) {
  if (still.matches || !direction) return;
  const colour = direction > 0 ? "var(--up-soft)" : "var(--down-soft)";
  node.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], { duration: 900, easing: "ease-out" });
}

// === Sections ===

/** An empty list is news only when somebody sent it. */
const nothing = (section, words) => (sections[section]?.kind === "real" ? words : "Nothing received yet.");

function showOverview({ market_overview: m }) {
  m ??= {};
  // "Bullish: Alt Season": the side, then what it looks like.
  const [side, note] = text(m.market_regime).split(/:\s*/, 2);
  put($("regime"), note || side || null, /bull/i.test(side) ? "up" : /bear/i.test(side) ? "down" : "");
  put($("regime-note"), note ? side : "");
  put($("trend"), fixed(m.trend_strength, 0));
  arc($("trend-arc"), number(m.trend_strength));

  put($("btc_price"), priced(m.btc_price));
  put($("btc_dominance"), percent(m.btc_dominance));
  put($("total_volume_24h"), dollars(m.total_volume_24h));
  put($("total_market_cap"), dollars(m.total_market_cap));
  put($("average_change"), signed(m.average_change), toneOf(m.average_change));
  put($("market_dispersion"), percent(m.market_dispersion));
  put($("btc_volatility"), percent(m.btc_volatility));
  $("fear").hidden = number(m.fear_greed_value) === null;
  put($("fear_greed_value"), fixed(m.fear_greed_value, 0));
  put($("fear_greed_label"), text(m.fear_greed_label));
}

function showBreadth({ market_breadth: b }) {
  b ??= {};
  const counts = { up: number(b.up), flat: number(b.flat), down: number(b.down) };
  for (const [side, count] of Object.entries(counts)) {
    put($(`breadth-${side}`), fixed(count, 0));
    $("breadth-bar").querySelector(`.${side}`).style.setProperty("--n", count ?? 0);
  }
  $("breadth-bar").classList.toggle("void", !(counts.up + counts.flat + counts.down > 0));
  const rising = percent(b.breadth_percentage, 0);
  put($("breadth-note"), rising && `${rising} rising${b.sentiment ? `, ${b.sentiment}` : ""}`);
}

function showMovers({ top_movers: movers }) {
  for (const side of ["gainers", "losers"]) {
    const count = keyed($(side), list(movers?.[side]).slice(0, 5), (m) => text(m.symbol), "mover-row", ({ fields: f }, m) => {
      put(f.symbol, split(text(m.display_symbol) || m.symbol)[0]);
      put(f.price, priced(m.price));
      put(f.change, signed(m.change), toneOf(m.change));
    });
    put($(`${side}-empty`), count ? "" : nothing("movers", `No ${side} right now.`));
  }
}

function showOpportunities({ opportunities }) {
  const key = (o) => text(o.full_symbol) || text(o.symbol);
  const count = keyed($("opportunity-list"), list(opportunities).slice(0, 6), key, "opportunity-row", ({ fields: f }, o) => {
    const side = { bullish: "up", long: "up", bearish: "down", short: "down" }[text(o.direction).toLowerCase()] ?? "";
    put(f.arrow, { up: "▲", down: "▼" }[side] ?? "–", side);
    f.arrow.title = text(o.direction);
    put(f.symbol, split(text(o.symbol))[0]);
    const traded = dollars(turnover(symbols.find((row) => row.symbol === o.full_symbol) ?? {})) ?? text(o.volume);
    put(f.volume, traded && `Volume ${traded}`);
    put(f.momentum, number(o.price_change) === null ? text(o.momentum).replace("-", "−") || null : signed(o.price_change), side);
    put(f.score, number(o.score) === null ? null : `Score ${fixed(o.score, 0)}`);
  });
  put($("opportunities-empty"), count ? "" : nothing("signals", "No symbol stands out right now."));
}

// === Symbols ===

const SENTIMENTS = { LONG: "up", BULLISH: "up", BUY: "up", SHORT: "down", BEARISH: "down", SELL: "down" };
const CHIPS = { up: "▲ Long", down: "▼ Short", "": "Neutral" };
const ORDERS = { score: (r) => number(r.score), change: (r) => number(r.change_24h), volume: turnover };

/** The greater number first, missing ones last. */
const greater = (a, b) => (a === null) - (b === null) || b - a;

let symbols = [];
let touched = -Infinity;

function showSymbols(data) {
  symbols = list(data.confluence_scores).filter((row) => row && text(row.symbol));
  arrange(performance.now() - touched > HANDS_OFF);
  const out = number(data.left_out) ?? 0;
  $("left-out").hidden = out === 0;
  put($("left-out"), `${out} ${out === 1 ? "record is" : "records are"} not shown: price, change or score is missing.`);
}

/** Puts the rows in the chosen order and hides those that the search leaves out. Unless `settled`, rows keep their places. */
function arrange(settled) {
  const wanted = $("search").value.trim().toUpperCase();
  const by = ORDERS[$("tools").elements.sort.value];
  const byName = (a, b) => a.symbol.localeCompare(b.symbol);
  const ordered = [...symbols].sort((a, b) => (by ? greater(by(a), by(b)) : 0) || byName(a, b));
  let found = 0;
  const update = (kept, row) => {
    kept.root.hidden = !row.symbol.toUpperCase().includes(wanted);
    found += !kept.root.hidden;
    showSymbol(kept, row);
  };
  const count = keyed($("rows"), ordered, (row) => row.symbol, "symbol-row", update, settled);
  put($("count"), count === 0 ? "" : found === count ? `${count}` : `${found} of ${count}`);
  put($("rows-empty"), found ? "" : count ? `No symbol matches “${$("search").value.trim()}”.` : nothing("signals", "No symbols right now."));
}

function showSymbol(kept, row) {
  const { root, fields: f } = kept;
  const score = number(row.score);
  const lean = SENTIMENTS[text(row.sentiment).toUpperCase()] ?? "";
  const [base, quote] = split(row.symbol);
  put(f.base, base);
  put(f.quote, quote);
  f.quote.classList.toggle("usual", quote === "USDT");
  put(f.score, fixed(score, 0));
  paint(root, lean);
  arc(f.ring, score);
  put(f.sentiment, CHIPS[lean], lean);
  put(f.price, priced(row.price));
  put(f.change, signed(row.change_24h), toneOf(row.change_24h));
  const traded = dollars(turnover(row));
  const trust = trusted(row.reliability);
  for (const field of ["turnover", "turnover2"]) put(f[field], traded);
  for (const field of ["trust", "trust2"]) put(f[field], trust);
  put(f.volume, compact(row.volume_24h) && `${compact(row.volume_24h)} ${base}`);
  put(f.low, priced(row.low_24h));
  put(f.high, priced(row.high_24h));

  const range = row.high_24h - row.low_24h;
  const at = range > 0 && number(row.price) !== null ? (row.price - row.low_24h) / range : null;
  f.range.classList.toggle("void", at === null);
  f.range.style.setProperty("--at", Math.min(1, Math.max(0, at ?? 0)));
  showSpark(f, list(row.score_history).filter((v) => number(v) !== null));
  showParts(f.parts, row.components ?? {});
  showReading(f.reading, row.interpretations);

  const { last } = kept;
  if (last) flash(f.head, row.price - last.price || score - last.score);
  kept.last = { price: row.price, score };
}

function showSpark(f, history) {
  f.spark.classList.toggle("void", history.length < 2);
  // At least ten points of score high, so that a score that hardly moves does not look wild.
  const [least, most] = [Math.min(...history), Math.max(...history)];
  const room = Math.max(0, 10 - (most - least)) / 2;
  const points = history.map((value, i) => {
    const x = (i / (history.length - 1)) * 100;
    const y = 28 - ((value - least + room) / (most - least + 2 * room)) * 26;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  const line = history.length < 2 ? "0,15 100,15" : points.join(" ");
  f.line.setAttribute("points", line);
  f.area.setAttribute("d", history.length < 2 ? "" : `M0,30 L${points.join(" L")} L100,30Z`);
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

function showReading(container, interpretations) {
  const lines = Object.entries(interpretations ?? {}).filter(([, line]) => text(line));
  const wanted = JSON.stringify(lines);
  if (shown.get(container) === wanted) return;
  shown.set(container, wanted);
  container.replaceChildren(...lines.map(([name, line]) => {
    const item = document.createElement("li");
    const title = document.createElement("b");
    title.textContent = Number.isNaN(Number(name)) ? `${COMPONENTS[name] ?? name}:` : "";
    item.append(title, line);
    return item;
  }));
}

// === How old the data is ===

const now = () => performance.now() / 1_000;

// What to add to `now()` for the server's time. The phone's own clock may be wrong or be set at any moment, so only its
// steady one is used. Each moment that the server names has passed when it is read, so the greatest difference is the best.
let skew = -Infinity;
const learn = (seconds) => { if (number(seconds) !== null) skew = Math.max(skew, seconds - now()); };

let sections = {};
let connected = false;
let heard = -Infinity; // when the server last answered
const broken = new Set(); // ids of what could not be shown

/** How a section stands: a state for the eye, words for the rest. */
function standing(node) {
  if (skew === -Infinity) return ["waiting", "Waiting"];
  const { kind, freshness, as_of } = sections[node.dataset.section] ?? {};
  if (broken.has(node.id)) return ["missing", "Cannot be shown"];
  if (!kind || kind === "missing" || freshness === "missing") return ["missing", "No data"];
  if (kind === "placeholder") return ["placeholder", "Placeholder"];
  const age = number(as_of) === null ? null : span(now() + skew - as_of);
  if (!connected || now() - heard > SILENCE) return ["offline", `Offline · ${age ? `${age} old` : "age unknown"}`];
  if (freshness === "stale") return ["stale", `Old data · ${age ?? "age unknown"}`];
  return ["live", age ? `${age} ago` : "Age unknown"];
}

const badgeOf = (node) => node?.querySelector(":scope > .badge, :scope > header > .badge");
const marked = [...document.querySelectorAll("[data-section]")].map((node) => [
  node, badgeOf(node), badgeOf(node.parentElement.closest("[data-section]")),
]);

function tick() {
  const cards = new Set();
  for (const [node, badge, outer] of marked) {
    const [state, words] = standing(node);
    if (node.dataset.state !== state) node.dataset.state = state;
    put(badge, words);
    // A part of a card speaks up only when it stands otherwise than its card.
    if (outer) badge.hidden = state === "live" || state === "offline" || words === shown.get(outer);
    else if (node.id) cards.add(state);
  }
  if (link[0] !== "live") return say(...link);
  if (cards.size === 1 && cards.has("live")) say("live", "Live");
  else say("partly", cards.has("live") ? "Partly live" : "Not live");
}

// === The connection, in words ===

let link = ["connecting", "Connecting"];

/** How things stand as a whole: its name for the eye, a label, and a banner when there is more to say. */
function report(...state) {
  link = state;
  tick();
}

function say(name, label, title = "", words = "") {
  document.body.dataset.link = name;
  put($("link"), label);
  $("banner").hidden = !title;
  put($("banner-title"), title);
  put($("banner-text"), words);
  put($("announce"), title || label); // spoken when it changes
}

function show(data) {
  sections = data.sections ?? {};
  learn(data.timestamp);
  const parts = { market: showOverview, breadth: showBreadth, movers: showMovers, symbols: showSymbols, opportunities: showOpportunities };
  broken.clear();
  for (const [name, part] of Object.entries(parts)) {
    try {
      part(data);
    } catch (error) {
      console.error(`${name} cannot be shown`, error);
      broken.add(name);
    }
  }
  put($("composed"), number(data.timestamp) === null ? "" : `Composed at ${clockTime(data.timestamp)}.`);
}

// === Polling ===

let timer;
let flight;
let failures = 0; // in a row
let tag = null;
let status;

async function poll() {
  clearTimeout(timer);
  flight?.abort();
  flight = null;
  if (document.hidden) return;
  const mine = (flight = new AbortController());
  const bell = setTimeout(() => mine.abort(), PATIENCE);
  try {
    const answer = await fetch(VIEW, { cache: "no-cache", signal: mine.signal });
    if (!answer.ok) throw Object.assign(new Error(), { shown: `The server answered ${answer.status}.` });
    learn(Date.parse(answer.headers.get("date")) / 1_000);
    const data = await answer.json();
    if (mine !== flight) return;
    connected = true;
    heard = now();
    failures = 0;
    // The same tag means the same bytes: only the ages have moved.
    if (tag === null || tag !== answer.headers.get("etag")) show(data);
    tag = answer.headers.get("etag");
    status = data.status;
    if (status === "success") report("live", "Live");
    else report("unavailable", "No data", "Market data is unavailable.", "The server is up and waits for its producers.");
  } catch (error) {
    if (mine !== flight) return;
    failures += 1;
    lost(error);
  } finally {
    clearTimeout(bell);
  }
  if (mine === flight) timer = setTimeout(poll, Math.min(PERIOD * 2 ** failures, PERIOD_MAX));
}

/** One failed attempt may be a tunnel; from the second on, or when the phone knows, it is said aloud. */
function lost(error) {
  if (failures < 2 && navigator.onLine && connected) return;
  connected = false;
  const answered = error instanceof SyntaxError ? "The server's answer cannot be read." : error.shown;
  const why = navigator.onLine ? answered ?? "The server cannot be reached." : "This device is offline.";
  report("offline", navigator.onLine ? "Disconnected" : "Offline", why, status ? "What you see is the last data received; its age is beside it." : "Nothing has been received yet.");
}

document.addEventListener("visibilitychange", poll);
addEventListener("online", poll);
addEventListener("offline", () => lost(new TypeError("offline")));
addEventListener("pageshow", (event) => event.persisted && poll());
$("retry").addEventListener("click", poll);
$("tools").addEventListener("input", () => arrange(true));
$("tools").addEventListener("submit", (event) => event.preventDefault());
for (const type of ["pointerdown", "touchmove", "wheel", "keydown"]) {
  $("rows").addEventListener(type, () => { touched = performance.now(); }, { passive: true });
}
setInterval(tick, 1_000);
show({});
tick();
poll();
