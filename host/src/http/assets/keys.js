// Keys: found by a part of their name, and explained.

import { call, Refused } from "./ask.js";
import { clockTime, compact, list, span } from "./format.js";
import { $, keyed, put } from "./page.js";

/** A new element with a text in it. */
function element(name, text, className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  node.className = className;
  return node;
}

/** A table in a box that scrolls sideways. */
function table(label, head, rows) {
  const box = element("div", "", "scroll");
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", label);
  const made = document.createElement("table");
  const titles = made.createTHead().insertRow();
  for (const title of head) titles.append(Object.assign(element("th", title), { scope: "col" }));
  const body = made.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const cell of cells) row.append(element("td", cell));
  }
  box.append(made);
  return box;
}

const isValue = (value) => `${value.kind}, version ${value.version}`;

function place({ tier, holds, why, value, waits }) {
  const more = waits ? ` Something waits for it: ${waits.why}.` : "";
  if (!value) return [tier, holds.replace("_", " "), why ? `${why}.${more}` : more, "", ""];
  const left = value.fresh ? `fresh, ${span(value.age_seconds)} old` : `old: ${span(value.age_seconds)}`;
  const schema = `${value.schema}, ${compact(value.bytes)} bytes, ${value.repairs.length} repairs`;
  return [tier, isValue(value), `${left}; ${span(value.ttl_seconds)} left.${more}`, value.written_by, schema];
}

function written({ ago_seconds: ago, from, write, tiers }) {
  const what = {
    value: () => `${write.kind}, version ${write.version}, ${compact(write.bytes)} bytes`,
    refused: () => `refused: ${write.error}`,
    delete: () => `delete up to version ${write.version}`,
  }[write.what]();
  const outcomes = Object.entries(tiers).map(([tier, { outcome, reason }]) => `${tier} ${outcome}${reason ? `: ${reason}` : ""}`);
  return [`${span(ago)} ago`, from, what, outcomes.join("; ") || "no tier was asked"];
}

function loaded({ source, lease }) {
  const standing = {
    held: () => `held in ${lease.tier} by gateway ${lease.gateway}${lease.own ? " (this one)" : ""} for another ${span(lease.ttl_seconds)}`,
    free: () => `nobody holds it in ${lease.tier}`,
    unknown: () => `${lease.tier} did not tell: ${lease.why}`,
    no_store: () => "none, for no tier is a store that gateways share leases in",
  }[lease.state]();
  return `Loaded by source ${source}; lease: ${standing}.`;
}

function show(explained) {
  const { key, serves, load, tiers, writes, quarantined } = explained;
  const stale = serves.stale_why ? `, ${serves.stale_why},` : "";
  const from = serves.tier ? ` from ${serves.tier}` : "";
  const parts = [
    element("h3", key, "code"),
    element("p", `A reader gets: ${serves.outcome}${stale}${from}. ${serves.why}.`),
    ...(load ? [element("p", loaded(load))] : []),
    table(`What every tier holds of ${key}`, ["Tier", "Holds", "Standing", "Written by", "Schema"], tiers.map(place)),
    element("h3", "Last writes"),
  ];
  const rows = list(writes).map(written);
  parts.push(rows.length
    ? table(`The last writes to ${key}`, ["When", "From", "What", "What became of it"], rows)
    : element("p", "None is remembered.", "empty"));
  if (list(quarantined).length) {
    const ids = quarantined.map((entry) => `${entry.id} in ${entry.tier}, seen at ${clockTime(entry.last_seen)}`);
    parts.push(element("p", `In quarantine: ${ids.join("; ")}.`));
  }
  $("explained").replaceChildren(...parts);
}

async function explain(key) {
  try {
    show(await call(`/api/admin/explain/${encodeURIComponent(key)}`));
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    $("explained").replaceChildren(element("p", error.message, "refused"));
  }
}

async function search(event) {
  event.preventDefault();
  const contains = event.target.elements.contains.value.trim();
  try {
    const { keys, total } = await call(`/api/admin/keys?contains=${encodeURIComponent(contains)}`);
    const more = total > keys.length ? `; the first ${keys.length} are shown` : "";
    put($("key-count"), total === 0 ? "No key that is known here contains this." : `${total} keys${more}`);
    keyed($("key-list"), keys, (key) => key, "key-row", (row, key) => {
      put(row.fields.key, key);
      row.fields.key.onclick = () => explain(key);
    });
    // A key that nobody has written yet can be asked about as well.
    if (total <= 1 && contains) await explain(keys[0] ?? contains);
  } catch (error) {
    put($("key-count"), error.message);
  }
}

export function attendKeys() {
  $("key-search").addEventListener("submit", search);
}
