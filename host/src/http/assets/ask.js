// What the console asks of the gateway. A change is asked for once, carried out, and told.

import { $, put } from "./page.js";

const PATIENCE = 200_000; // A component is compiled for minutes at worst.

let mayAct = false;
let onSignedOut = () => {};

export class Refused extends Error {}

export const whenSignedOut = (listener) => { onSignedOut = listener; };

/** Asks the gateway; answers what it said, or throws its reason. */
export async function call(path, { method = "GET", body } = {}) {
  // No page of another origin can send this header, so no other page can change anything here.
  const headers = method === "GET" ? {} : { "tiergate-console": "1" };
  let answer;
  try {
    answer = await fetch(path, { method, body, headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Refused("The gateway cannot be reached.");
  }
  const told = await answer.json().catch(() => null);
  if (answer.ok) return told;
  if (answer.status === 401) onSignedOut();
  throw new Refused(told?.error?.message ?? `The gateway answered ${answer.status}.`);
}

/** Whether this session may change anything; what changes something is marked `data-act`. */
export function setMayAct(may) {
  mayAct = may;
  lock(document);
}

export function lock(root) {
  for (const node of root.querySelectorAll("[data-act]")) {
    node.title = mayAct ? "" : "This session only looks.";
    if (!mayAct) node.disabled = true;
  }
}

/** Makes a button usable, or not. */
export const allow = (button, usable) => { button.disabled = !mayAct || !usable; };

function asked(title, words, button) {
  const dialog = $("ask");
  put($("ask-title"), title);
  put($("ask-words"), words);
  put($("ask-yes"), button);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Asks once, does it, and tells what came of it: `said` makes a sentence of the answer. */
export async function act({ title, words, button }, send, said) {
  if (!(await asked(title, words, button))) return null;
  tell(`${button} …`);
  try {
    const answer = await send();
    tell(said(answer));
    return answer;
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    tell(`Not done. ${error.message}`, "down");
    return null;
  }
}

/** Says what was done, until it is closed or something else is said. */
export function tell(words, tone = "") {
  const toast = $("toast");
  toast.dataset.tone = tone;
  toast.hidden = false;
  put($("toast-text"), words);
}

export function attendAsking() {
  $("ask-yes").addEventListener("click", () => $("ask").close("yes"));
  $("ask-no").addEventListener("click", () => $("ask").close("no"));
  $("toast-close").addEventListener("click", () => { $("toast").hidden = true; });
}
