// The tiers, where reads were answered, and the gateways.

import { fixed, list, number, percent, span } from "./format.js";
import { $, keyed, put } from "./page.js";

// Gateways send two heartbeats a second.
const SILENT_SECONDS = 5;

const WORDS = { hit: "a tier", miss: "nothing: a miss", unavailable: "nothing: a tier did not answer" };

function breaker(told) {
  if (!told) return "no breaker";
  const { state, why, window, for_seconds: lasting } = told;
  const counted = `${window.failed} of ${window.calls} failed, ${window.slow} slow`;
  return state === "closed" ? counted : `${state.replace("_", "-")} for ${span(lasting)}: ${why ?? "no reason given"}`;
}

function stateOf({ state, breakers, last_verified_write: verified }) {
  if (!state.answers) return ["missing", "Does not answer"];
  if (verified?.error) return ["stale", "Answers; writes are not verified"];
  const open = ["read", "write"].filter((side) => breakers && breakers[side].state !== "closed");
  return open.length ? ["stale", `Answers; ${open.join(" and ")} breaker open`] : ["live", "Answers"];
}

function waiting(lane) {
  if (!lane) return null;
  if (lane.depth === 0) return "nothing";
  const oldest = number(lane.oldest_seconds);
  return oldest === null ? `${lane.depth} keys` : `${lane.depth} keys, the oldest for ${span(oldest)}`;
}

/** When a write was last read back, and why the last one was not. */
function verification(told) {
  if (!told) return null;
  const age = told.ever ? number(told.age_seconds) : null;
  const when = age === null ? "never" : `${span(age)} ago`;
  return told.error ? `${when}; ${told.error}` : when;
}

export function showTiers({ tiers, lanes, reads }) {
  keyed($("tier-list"), list(tiers), (tier) => tier.name, "tier-row", ({ root, fields }, tier) => {
    const [standing, words] = stateOf(tier);
    root.dataset.state = standing;
    put(fields.name, tier.name);
    put(fields.badge, words);
    put(fields.summary, tier.state.answers ? tier.summary : `${tier.summary}: ${tier.state.error}`);
    const took = number(tier.state.took_ms);
    put(fields.latency, took === null ? null : `${fixed(took, 1)} ms`);
    put(fields.verified, verification(tier.last_verified_write));
    put(fields.read, breaker(tier.breakers?.read));
    put(fields.write, breaker(tier.breakers?.write));
    put(fields.lane, waiting(list(lanes).find((lane) => lane.tier === tier.name)));
    put(fields.server, tier.state.version ?? null);
  });
  const all = Object.values(reads).reduce((sum, count) => sum + count, 0);
  const parts = Object.entries(reads).sort(([, one], [, other]) => other - one);
  keyed($("reads"), parts, ([what]) => what, "part-row", ({ fields }, [what, count]) => {
    // Before anybody has read there is no share, rather than one of 0.
    const part = all > 0 ? (count / all) * 100 : null;
    put(fields.name, WORDS[what] ?? what);
    put(fields.value, percent(part, part < 10 ? 1 : 0));
    fields.bar.style.setProperty("--from", 0);
    fields.bar.style.setProperty("--to", part ?? 0);
  });
}

export function showGateways({ gateways }) {
  keyed($("gateway-list"), list(gateways), (gateway) => gateway.name, "gateway-row", ({ root, fields }, gateway) => {
    if (!gateway.is_this) {
      const silent = gateway.heard_seconds > SILENT_SECONDS;
      root.dataset.state = silent ? "stale" : "live";
      put(fields.name, gateway.name);
      put(fields.note, `version ${gateway.version}, by its heartbeat`);
      put(fields.badge, silent ? `Silent for ${span(gateway.heard_seconds)}` : "Lives");
      return;
    }
    root.dataset.state = gateway.ready && !gateway.degraded ? "live" : "stale";
    put(fields.name, `${gateway.name}, this one`);
    put(fields.note, `version ${gateway.version}, up for ${span(gateway.up_seconds)}`);
    const standing = gateway.ready ? "Ready" : "Waits for its producers";
    put(fields.badge, gateway.degraded ? `Degraded: ${gateway.degraded}` : standing);
  });
}
