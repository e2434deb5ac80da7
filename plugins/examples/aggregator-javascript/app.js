// An aggregator that watches one line: a symbol whose score crosses it is an alert until it falls back.
//
// It publishes `alerts:threshold` and answers every view with the alerts. {"threshold": 70, "margin": 5}: an alert ends when
// the score is so far below the line, so that a score that trembles at it does not.

const KEY = "alerts:threshold";
const VIEWS = ["mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"];
const ALERTS_MAX = 1000;

const config = { threshold: 70, margin: 5 };

/** What is remembered: the alerts by symbol, and whether they changed since they were published. */
let memory = { alerts: {}, changed: false };

const invalid = (text) => ({ tag: "invalid-input", val: text });
const read = (bytes) => JSON.parse(new TextDecoder().decode(bytes));
const write = (value) => new TextEncoder().encode(JSON.stringify(value));
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const listed = () => Object.entries(memory.alerts).map(([symbol, alert]) => ({ symbol, ...alert }));

export const lifecycle = {
  describe: () => ({ name: "threshold-alerts", version: "0.1.0" }),

  init(bytes) {
    for (const [name, value] of Object.entries(read(bytes))) {
      if (!(name in config)) throw invalid(`unknown field \`${name}\``);
      if (!isNumber(value)) throw invalid(`\`${name}\` must be a number`);
      config[name] = value;
    }
  },
};

export const state = {
  save: () => write(memory),

  restore(saved) {
    let given;
    try {
      given = read(saved);
    } catch {
      throw invalid("the state is not JSON");
    }
    const isAlert = (alert) => isNumber(alert?.score) && isNumber(alert.since);
    if (!given?.alerts || !Object.values(given.alerts).every(isAlert)) throw invalid("this is no state of this aggregator");
    memory = { alerts: given.alerts, changed: given.changed === true };
  },
};

export const aggregator = {
  ingest(now, batch) {
    const refused = (signal) => ({ seq: signal.seq, problem: take(now, signal.body) });
    const rejected = batch.map(refused).filter(({ problem }) => problem);
    return rejected.map(({ seq, problem: [code, message] }) => ({ seq, code, message }));
  },

  observe() {},

  documents() {
    if (!memory.changed) return [];
    memory.changed = false;
    return [{ key: KEY, body: write(listed()), ttlSeconds: 300 }];
  },

  inputs: () => [KEY],

  compose(now, views, documents) {
    const unknown = views.find((view) => !VIEWS.includes(view.name));
    if (unknown) throw { tag: "unsupported", val: `there is no view \`${unknown.name}\`` };
    const document = documents.find((document) => document.key === KEY && document.kind === "real");
    const alerts = document && read(document.body);
    const status = Array.isArray(alerts) ? "success" : "unavailable";
    return views.map((view) => write({ status, alerts: status === "success" ? alerts.slice(0, view.limit) : [] }));
  },
};

/** Takes one signal; answers the code and the message of its rejection, or nothing. */
function take(now, body) {
  let signal;
  try {
    signal = read(body);
  } catch {
    return ["not-json", "$: not JSON"];
  }
  const { symbol, score = signal?.confluence_score } = signal ?? {};
  if (typeof symbol !== "string" || !/^[A-Z0-9]{1,32}$/.test(symbol)) return ["bad-symbol", "$.symbol: such as BTCUSDT"];
  if (!isNumber(score)) return ["bad-score", "$.score: a number"];
  const alert = memory.alerts[symbol];
  if (alert && score < config.threshold - config.margin) {
    delete memory.alerts[symbol];
  } else if (alert ? alert.score !== score : score >= config.threshold) {
    if (!alert && Object.keys(memory.alerts).length >= ALERTS_MAX) return ["too-many-alerts", `$: more than ${ALERTS_MAX}`];
    memory.alerts[symbol] = { score, since: alert?.since ?? Math.floor(Number(now) / 1e6) };
  } else {
    return undefined;
  }
  memory.changed = true;
  return undefined;
}
