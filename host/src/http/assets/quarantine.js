// Payloads that could not be decoded: looked at, and removed.

import { act, allow, call } from "./ask.js";
import { clockTime, compact, list } from "./format.js";
import { $, keyed, put } from "./page.js";

const FETCHED_EVERY = 5_000; // whoever wrote a payload may be writing it still

let shown;
let fetchedAt = -Infinity;

/** Fetches the list again when it has changed, and now and then. */
export function showQuarantine({ quarantine }) {
  const mark = JSON.stringify(quarantine);
  if (mark === shown && (!quarantine.entries || performance.now() - fetchedAt < FETCHED_EVERY)) return;
  shown = mark;
  fetchedAt = performance.now();
  call("/api/admin/quarantine").then(show, (error) => {
    shown = undefined;
    console.warn("the quarantine cannot be shown", error);
  });
}

function show({ entries, limits }) {
  put($("quarantine-count"), `${entries.length} of at most ${limits.entries}`);
  put($("quarantine-empty"), entries.length ? "" : "Nothing: every payload found could be decoded.");
  keyed($("quarantine-list"), list(entries), (entry) => String(entry.id), "quarantine-row", (row, entry) => {
    const { fields } = row;
    put(fields.key, entry.key);
    put(fields.tier, entry.tier);
    put(fields.error, `${entry.error.code}: ${entry.error.message} at ${entry.error.path}`);
    put(fields.first, clockTime(entry.first_seen));
    put(fields.last, clockTime(entry.last_seen));
    put(fields.bytes, compact(entry.bytes));
    put(fields.flags, String(entry.flags));
    put(fields.digest, entry.digest);
    put(fields.head, entry.head);
    allow(fields.delete, true);
    fields.delete.onclick = () => remove(entry);
  });
}

async function remove({ id, key, tier, bytes }) {
  const question = {
    title: "Delete a payload?", button: "Delete",
    words: `Exactly these ${bytes} bytes of ${key} are removed from ${tier}. Newer ones stay.`,
  };
  const said = ({ outcome }) => `${key} in ${tier}: ${outcome}.`;
  await act(question, () => call(`/api/admin/quarantine/${id}`, { method: "DELETE" }), said);
  shown = undefined;
}
