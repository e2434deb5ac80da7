// The log's last lines, and what is logged.

import { act, call } from "./ask.js";
import { clockTime, list } from "./format.js";
import { $ } from "./page.js";
import { auditChanged } from "./plugins.js";

const PATH = "/api/admin/log-level";
const LINES_MAX = 500; // in the page; the gateway keeps more

let last = null; // the number of the last line that is shown
let asking = false;

/** Adds the lines that are new; asks for those that were missed. */
export function showLog({ log }) {
  if (asking) return;
  const first = log.lines[0]?.seq ?? log.last + 1;
  if (last === null || first > last + 1 || log.last < last) return void catchUp();
  add(log.lines);
}

async function catchUp() {
  asking = true;
  try {
    const { lines, last: newest } = await call(`/api/admin/log?after=${last ?? 0}`);
    // A gateway that was started again counts from 1.
    if (last !== null && newest < last) {
      last = null;
      $("lines").replaceChildren();
      return;
    }
    last ??= 0;
    add(lines);
    last = Math.max(last, newest);
  } catch (error) {
    console.warn("the log cannot be shown", error);
  } finally {
    asking = false;
  }
}

function add(lines) {
  const shown = $("lines");
  const atEnd = shown.scrollTop + shown.clientHeight >= shown.scrollHeight - 8;
  for (const line of list(lines)) {
    if (line.seq <= last) continue;
    last = line.seq;
    shown.append(made(line));
  }
  while (shown.childElementCount > LINES_MAX) shown.firstElementChild.remove();
  // Who reads further up keeps the place.
  if (atEnd) shown.scrollTop = shown.scrollHeight;
}

function made({ at, level, target, text }) {
  const row = document.createElement("li");
  row.dataset.level = level;
  row.hidden = isHidden(level);
  const word = document.createElement("b");
  word.textContent = level;
  const where = document.createElement("small");
  where.textContent = target;
  row.append(clockTime(at / 1e6), " ", word, " ", where, " ", text);
  return row;
}

const isHidden = (level) => $("log-loud").checked && !["WARN", "ERROR"].includes(level);

async function changeLevel(event) {
  event.preventDefault();
  const { level } = event.target.elements;
  const wanted = level.value.trim();
  const about = {
    title: "Change what is logged?", button: "Change",
    words: `From now on: ${wanted}. Nothing but the log changes, until the gateway ends.`,
  };
  const changed = await act(about, () => call(PATH, { method: "PUT", body: wanted }), (now) => `Logged is now: ${now.level}.`);
  if (changed) level.value = changed.level;
  auditChanged();
}

/** Tells what is logged now. */
export async function showLevel() {
  const { level } = $("level-form").elements;
  try {
    level.value = (await call(PATH)).level;
  } catch (error) {
    console.warn("the level cannot be told", error);
  }
}

export function attendLog() {
  $("level-form").addEventListener("submit", changeLevel);
  $("log-loud").addEventListener("change", () => {
    for (const row of $("lines").children) row.hidden = isHidden(row.dataset.level);
  });
}
