// The cards about the whole market. Each shows what it got; what it did not get reads "n/a".

import { sectionKind } from "./ages.js";
import { dollars, fixed, list, number, percent, priced, signed, split, text, toneOf, turnover } from "./format.js";
import { complete } from "./link.js";
import { $, arc, keyed, put } from "./page.js";

const MOVERS = 5;
const OPPORTUNITIES = 6;

/** An empty list is news only when somebody sent it. */
export const nothing = (section, words) => (sectionKind(section) === "real" ? words : "Nothing received yet.");

export function showOverview({ market_overview: m }) {
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

export function showBreadth({ market_breadth: b }) {
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

function showMover({ fields: f }, name, price, shown, tone) {
  put(f.symbol, split(name)[0]);
  put(f.price, priced(price));
  put(f.change, shown, tone);
}

export function showMovers({ top_movers: movers, symbols }) {
  for (const side of ["gainers", "losers"]) {
    const count = keyed($(side), list(movers?.[side]).slice(0, MOVERS), (m) => text(m.symbol), "mover-row", (row, m) => {
      showMover(row, text(m.display_symbol) || m.symbol, m.price, signed(m.change), toneOf(m.change));
    });
    put($(`${side}-empty`), count ? "" : nothing("movers", `No ${side} right now.`));
  }
  const traded = Object.entries(symbols).filter(([, row]) => turnover(row) > 0);
  traded.sort(([, a], [, b]) => turnover(b) - turnover(a));
  const count = keyed($("volume"), traded.slice(0, MOVERS), ([name]) => name, "mover-row", (row, [name, record]) => {
    showMover(row, name, record.price, dollars(turnover(record)), "");
  });
  put($("volume-empty"), count ? "" : nothing("signals", "No volume is known."));
  put($("volume-of"), complete || !count ? "" : `of the ${Object.keys(symbols).length} best scores`);
}

export function showOpportunities({ opportunities, symbols }) {
  const key = (o) => text(o.full_symbol) || text(o.symbol);
  const count = keyed($("opportunity-list"), list(opportunities).slice(0, OPPORTUNITIES), key, "opportunity-row", ({ fields: f }, o) => {
    const side = { bullish: "up", long: "up", bearish: "down", short: "down" }[text(o.direction).toLowerCase()] ?? "";
    put(f.arrow, { up: "▲", down: "▼" }[side] ?? "–", side);
    put(f.direction, text(o.direction));
    put(f.symbol, split(text(o.symbol))[0]);
    const traded = dollars(turnover(symbols[o.full_symbol] ?? {})) ?? (text(o.volume) === "N/A" ? null : text(o.volume));
    put(f.volume, traded && `Volume ${traded}`);
    put(f.momentum, number(o.price_change) === null ? text(o.momentum).replace("-", "−") || null : signed(o.price_change), side);
    put(f.score, number(o.score) === null ? null : `Score ${fixed(o.score, 0)}`);
  });
  put($("opportunities-empty"), count ? "" : nothing("signals", "No symbol stands out right now."));
}
