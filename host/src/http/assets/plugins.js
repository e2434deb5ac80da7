// Plugins: what runs in each slot, what waits, and the steps from one to the other. The audit log.

import { act, allow, call } from "./ask.js";
import { fixed, list, number, percent, text } from "./format.js";
import { $, keyed, put } from "./page.js";

const REPORT_EVERY = 2_000;
const AUDIT_EVERY = 5_000;
const AUDIT_SHOWN = 50;

let slotsShown;
let auditAt = -Infinity;
const reportedAt = new Map();

const SLOT = "/api/admin/plugins/";
const named = ({ plugin, version, generation }) => `${plugin} ${version ?? "(no version)"}, generation ${generation}`;

function standing({ beside, candidate }) {
  const differs = beside && (share(beside) === null ? "nothing compared yet" : `differs in ${share(beside)}`);
  if (beside?.mode === "probation") return ["stale", `On probation; ${differs}`];
  if (beside) return ["placeholder", `Generation ${beside.generation} in shadow; ${differs}`];
  return candidate ? ["live", "Serves; a candidate waits"] : ["live", "Serves"];
}

/** How much differs; nothing while nothing was compared. */
const share = ({ difference_rate: rate }) => (number(rate) === null ? null : percent(rate * 100, 1));

export function showPlugins({ slots }) {
  keyed($("slots"), list(slots), (slot) => slot.slot, "slot-row", (row, slot) => {
    const { root, fields } = row;
    if (!row.slot) attend(row);
    row.slot = slot;
    const [state, words] = standing(slot);
    root.dataset.state = state;
    root.dataset.slot = slot.slot;
    put(fields.slot, slot.slot);
    put(fields.badge, words);
    put(fields.version, named(slot));
    put(fields.sha, `SHA-256 ${slot.sha256.slice(0, 16)}…`);
    const others = [
      ...(slot.candidate ? [{ ...slot.candidate, as: "Candidate" }] : []),
      ...slot.previous.map((previous) => ({ ...previous, as: "Before" })),
    ];
    keyed(fields.generations, others, (one) => String(one.generation), "generation-row", (inner, one) => {
      put(inner.fields.what, `${one.as}: ${named(one)}`);
      put(inner.fields.sha, `${one.sha256.slice(0, 16)}…`);
      inner.fields.discard.setAttribute("aria-label", `Discard generation ${one.generation}`);
      allow(inner.fields.discard, true);
      inner.fields.discard.onclick = () => discard(slot.slot, one);
    });
    allow(fields.submit, true);
    allow(fields.shadow, slot.candidate && !slot.beside);
    allow(fields.use, slot.candidate);
    allow(fields.rollback, slot.previous.length > 0);
    put(fields.reported, slot.beside && share(slot.beside) !== null ? `Differences: ${share(slot.beside)}` : "Differences");
    if (fields.reporting.open) report(row);
  });
  const mark = JSON.stringify(slots.map(({ generation, candidate, previous }) => [generation, candidate, previous]));
  if (mark !== slotsShown || performance.now() - auditAt > AUDIT_EVERY) {
    slotsShown = mark;
    showAudit();
  }
}

// === Steps ===

function attend(row) {
  const { fields } = row;
  const step = (name, title, words) => async () => {
    const { slot, candidate, previous } = row.slot;
    const about = { title: `${title} ${slot}?`, words: words(candidate, previous[0]), button: title };
    await act(about, () => call(`${SLOT}${encodeURIComponent(slot)}/${name}`, { method: "POST" }), (now) =>
      `${slot}: ${standing(now)[1].toLowerCase()}; active is ${named(now)}.`);
    auditAt = -Infinity;
  };
  fields.shadow.onclick = step("shadow", "Shadow", (candidate) =>
    `${named(candidate)} is asked what the active version is asked. Nothing of it is served.`);
  fields.use.onclick = step("use", "Use", (candidate) =>
    `${named(candidate)} serves from now on, with the state of the one before it, on probation.`);
  fields.rollback.onclick = step("rollback", "Roll back", (_, previous) => `${named(previous)} serves again.`);
  fields.load.addEventListener("submit", (event) => load(event, row.slot.slot));
  fields.reporting.addEventListener("toggle", () => fields.reporting.open && report(row));
}

async function load(event, slot) {
  event.preventDefault();
  const form = event.target;
  const query = new URLSearchParams();
  const { component, config, sha256, signature } = form.elements;
  for (const { name, value } of [config, sha256]) if (value.trim()) query.set(name, value.trim());
  if (signature.files[0]) query.set("signature", await signature.files[0].text());
  const [file] = component.files;
  const about = {
    title: `Load into ${slot}?`, button: "Load",
    words: `${file.name}, ${file.size} bytes, is checked and compiled, and becomes the candidate. Nothing of it serves yet.`,
  };
  const path = `${SLOT}${encodeURIComponent(slot)}/load?${query}`;
  const loaded = await act(about, () => call(path, { method: "POST", body: file }), (one) =>
    `${slot}: ${named(one)} is the candidate.`);
  if (loaded) form.reset();
  auditAt = -Infinity;
}

async function discard(slot, one) {
  const about = { title: `Discard from ${slot}?`, words: `${named(one)} is forgotten.`, button: "Discard" };
  const path = `${SLOT}${encodeURIComponent(slot)}/discard?generation=${one.generation}`;
  await act(about, () => call(path, { method: "POST" }), () => `${slot}: generation ${one.generation} is forgotten.`);
  auditAt = -Infinity;
}

// === What the two say ===

function report(row) {
  const { slot } = row.slot;
  if (performance.now() - (reportedAt.get(slot) ?? -Infinity) < REPORT_EVERY) return;
  reportedAt.set(slot, performance.now());
  call(`${SLOT}${encodeURIComponent(slot)}/report`).then((told) => showReport(row.fields, told), (error) => {
    put(row.fields.about, error.message);
  });
}

const faults = (side) => Object.entries(side.faults).map(([cause, count]) => `${count} ${cause}`).join(", ") || "none";

function showReport(fields, told) {
  const ended = `${told.different} of ${told.answers} answers differ; ${told.compared} of ${told.calls} calls were compared`;
  put(fields.about, `${told.mode}, against ${named(told.companion)}: ${ended}.`);
  const sides = [["active", told.active], ["other", told.other]];
  keyed(fields.sides, sides, ([name]) => name, "side-row", ({ fields: cells }, [name, side]) => {
    put(cells.name, name === "active" ? "Active" : "The other");
    put(cells.mean, told.compared ? `${fixed(side.mean_us, 0)} µs` : null);
    put(cells.p99, told.compared ? `${fixed(side.p99_us, 0)} µs` : null);
    put(cells.refused, `${side.rejections} of ${side.records}`);
    put(cells.faults, faults(side));
  });
  const key = (one) => `${one.call} ${one.what} ${one.path} ${one.at}`;
  keyed(fields.examples, list(told.examples), key, "example-row", ({ fields: cells }, one) => {
    put(cells.what, `${one.what},`);
    put(cells.path, one.places > 1 ? `${one.path} and ${one.places - 1} more places` : one.path);
    put(cells.active, one.active);
    put(cells.other, one.other);
  });
}

// === The audit log ===

function showAudit() {
  auditAt = performance.now();
  call("/api/admin/audit").then(({ audit }) => {
    put($("audit-empty"), audit.length ? "" : "Nothing was changed yet.");
    const key = (entry) => `${entry.at} ${entry.step}`;
    keyed($("audit-list"), audit.slice(0, AUDIT_SHOWN), key, "audit-row", ({ fields }, entry) => {
      put(fields.at, new Date(entry.at / 1e3).toLocaleString());
      put(fields.by, entry.by);
      put(fields.step, entry.step);
      const plugin = [entry.slot, entry.plugin, entry.version].filter(Boolean).join(" ");
      put(fields.what, entry.what ?? plugin);
      put(fields.result, entry.note ? `${entry.result}; ${text(entry.note)}` : entry.result);
    });
  }, (error) => put($("audit-empty"), `It cannot be shown. ${error.message}`));
}

/** Shows the audit log again soon. */
export const auditChanged = () => { auditAt = -Infinity; };
