// A warmer that spends the origins' patience on what people read: a key is refreshed before it goes stale while it is read,
// and left alone when nobody has asked for it. The most read goes first.
//
// {"half_life_seconds": 300, "reads_min": 1, "lead_seconds": 5}: a read counts half after so long; from so many reads on a key
// counts as read; it is refreshed so long before it is stale, and earlier if its source is slow.

const SECOND = 1_000_000;

const config = { half_life_seconds: 300, reads_min: 1, lead_seconds: 5 };

/** What is remembered: when the last plan was, and the reads of each key, of which the older ones count less. */
let state = { planned_at: 0, reads: {} };

const invalid = (text) => ({ tag: "invalid-input", val: text });
const read = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

export const lifecycle = {
  describe: () => ({ name: "read-first", version: "0.1.0" }),

  init(bytes) {
    for (const [name, value] of Object.entries(read(bytes))) {
      if (!(name in config)) throw invalid(`unknown field \`${name}\``);
      if (!(value > 0)) throw invalid(`\`${name}\` must be a number above 0`);
      config[name] = value;
    }
  },
};

/** The name of the interface is `state`; so is that of what it saves. */
const saving = {
  save: () => new TextEncoder().encode(JSON.stringify(state)),

  restore(saved) {
    let given;
    try {
      given = read(saved);
    } catch {
      throw invalid("the state is not JSON");
    }
    const isCount = (value) => typeof value === "number";
    if (!isCount(given?.planned_at) || !given.reads || !Object.values(given.reads).every(isCount)) {
      throw invalid("this is no state of this warmer");
    }
    state = { planned_at: given.planned_at, reads: { ...given.reads } };
  },
};
export { saving as state };

export const warmer = {
  watches: () => [],

  plan(now, keys, maxActions) {
    const time = Number(now);
    const elapsed = Math.max(0, time - state.planned_at) / SECOND;
    const kept = 0.5 ** (elapsed / config.half_life_seconds);
    const before = new Map(Object.entries(state.reads));
    const reads = {};
    const actions = keys.map((key) => {
      const count = (before.get(key.key) ?? 0) * kept + Number(key.hits) + Number(key.misses);
      if (count >= 0.01) reads[key.key] = count;
      return look(time, key, count);
    });
    // Keys that the host no longer tells of are forgotten, so that the state stays small.
    state = { planned_at: time, reads };
    return actions;
  },
};

function look(now, key, reads) {
  const leave = (reason, nextAt) => ({ key: key.key, step: "leave", body: new Uint8Array(), priority: 0, nextAt, reason });
  const go = (step, reason) => ({ ...leave(reason), step, priority: Math.min(255, 1 + Math.ceil(8 * Math.log2(1 + reads))) });
  if (reads < config.reads_min) return leave("nobody reads it");
  const isBelow = key.tiers.some((tier) => tier.tag === "until" && Number(tier.val) > now);
  if (!key.inMemory && isBelow && key.kind === "real") return go("promote", "it is read, and memory lacks it");
  if (!key.source) return leave("it is read, and has no source");
  const lead = config.lead_seconds * SECOND + 2 * Number(key.source.cost);
  const due = Math.max(Number(key.freshUntil ?? 0n) - lead, Number(key.source.notBefore));
  if (due > now) return leave("it is read, and fresh", key.source.notBefore);
  return go("refresh", `${Math.round(reads)} reads of late`);
}
