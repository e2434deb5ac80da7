// Numbers as people read them. What is not known is null here, and "n/a" on the page.

export const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);
export const text = (value) => (typeof value === "string" ? value : "");
export const list = (value) => (Array.isArray(value) ? value : []);

const formats = new Map();

/** Formats through `Intl`, whose formatters are costly to make and kept. Says nothing of a missing number. */
function written(value, options) {
  if (number(value) === null) return null;
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat("en-US", options));
  return formats.get(key).format(value).replace("-", "−");
}

const SHORT = { notation: "compact", minimumSignificantDigits: 3, maximumSignificantDigits: 3 };

export const fixed = (value, places) => written(value, { minimumFractionDigits: places, maximumFractionDigits: places });
export const percent = (value, places = 2) => (number(value) === null ? null : `${fixed(value, places)}%`);
export const compact = (value) => written(value, SHORT);
export const dollars = (value) => written(value, { ...SHORT, style: "currency", currency: "USD" });

/** Always with its sign, so that colour is never the only difference. */
export function signed(value) {
  if (number(value) === null) return null;
  const shown = percent(value);
  return value > 0 && shown !== "0.00%" ? `+${shown}` : shown.replace(/^−(?=0\.00%)/, "");
}

/** Prices keep four digits that matter, whether a coin costs 60,000 dollars or a hundred-thousandth of one. */
export function priced(value) {
  if (number(value) === null || value < 0) return null;
  const magnitude = value > 0 ? Math.floor(Math.log10(value)) : 0;
  return `$${fixed(value, Math.min(12, Math.max(2, 3 - magnitude)))}`;
}

/** Reliability is 0 to 1; writers of another age send percent. */
export const trusted = (value) => (number(value) === null ? null : percent(value <= 1 ? value * 100 : value, 0));

export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

export const clockTime = (seconds) => new Date(seconds * 1_000).toLocaleTimeString();
export const toneOf = (value) => (number(value) === null || value === 0 ? "" : value > 0 ? "up" : "down");

/** "BTCUSDT" to "BTC" and "USDT". */
export function split(symbol) {
  const quote = ["USDT", "USDC", "USD"].find((q) => symbol.endsWith(q) && symbol.length > q.length) ?? "";
  return [symbol.slice(0, symbol.length - quote.length), quote];
}

/** In dollars: the exchange's own turnover, else coins times price. */
export const turnover = (row) =>
  number(row.turnover_24h) ?? (number(row.volume_24h) !== null && number(row.price) !== null ? row.volume_24h * row.price : null);
