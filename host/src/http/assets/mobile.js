// The market page: takes the live document and its changes, and shows each part once per frame at most.
//
// Nothing here invents a number. What the server did not send reads "n/a"; what is old, a stand-in or out of reach says so.

import { broken, serverNow, setSections, tick } from "./ages.js";
import { alertedSymbols, attendAlerts, checkAlerts, hasAlerts } from "./alerts.js";
import { clockTime, number } from "./format.js";
import { complete, connect, live, loadAll, retry } from "./link.js";
import { $, put } from "./page.js";
import { showBreadth, showMovers, showOpportunities, showOverview } from "./sections.js";
import { alertsChanged, attend, showSymbols } from "./symbols.js";

/** What each part of the page is drawn from. */
const PARTS = {
  market: { show: showOverview, from: ["market_overview"] },
  breadth: { show: showBreadth, from: ["market_breadth"] },
  movers: { show: showMovers, from: ["top_movers", "symbols"] },
  opportunities: { show: showOpportunities, from: ["opportunities"] },
  symbols: { show: () => showSymbols(all ? null : changedSymbols), from: ["symbols", "left_out", "sections"] },
};

const changed = new Set(); // members of the document
let changedSymbols = new Set();
let all = false;
let frame = null;

// === Drawing ===

function draw() {
  frame = null;
  document.body.removeAttribute("data-empty");
  setSections(live.sections);
  for (const [id, { show, from }] of Object.entries(PARTS)) {
    if (!all && !from.some((member) => changed.has(member))) continue;
    try {
      show(live);
      broken.delete(id);
    } catch (error) {
      // One part that fails does not take the others along.
      console.error(`${id} cannot be shown`, error);
      broken.add(id);
    }
  }
  all = false;
  changed.clear();
  changedSymbols = new Set();
  put($("composed"), number(live.timestamp) === null ? "" : `Composed at ${clockTime(live.timestamp)}.`);
  tell();
}

/** Takes note of a patch, or of a whole new document. */
function take(patch) {
  if (patch === null) all = true;
  else {
    Object.keys(patch).forEach((member) => changed.add(member));
    Object.keys(patch.symbols ?? {}).forEach((name) => changedSymbols.add(name));
  }
  setSections(live.sections);
  checkAlerts();
  if (!complete && [...alertedSymbols()].some((name) => !(name in live.symbols))) loadAll();
  frame ??= requestAnimationFrame(draw);
}

// === The connection, in words ===

let link = { state: "connecting" };

/** How things stand as a whole: its name for the eye, a label, and a banner when there is more to say. */
function tell() {
  const cards = tick();
  const { state, label, why } = link;
  if (state === "offline") {
    const kept = live ? "What you see is the last data received; its age is beside it." : "Nothing has been received yet.";
    return say("offline", label, why, kept);
  }
  if (state === "unavailable") {
    return say("unavailable", "No data", "Market data is unavailable.", "The server is up and waits for its producers.");
  }
  if (state === "connecting") return say("connecting", "Connecting");
  if (cards === "all") return say("live", "Live");
  say("partly", cards === "some" ? "Partly live" : "Not live");
}

function say(name, label, title = "", words = "") {
  document.body.dataset.link = name;
  if (name !== "connecting") document.body.removeAttribute("data-empty");
  put($("link"), label);
  $("banner").hidden = !title;
  put($("banner-title"), title);
  put($("banner-text"), words);
  put($("announce"), title || label); // spoken when it changes
}

// === Start ===

function register() {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.register("/sw.js").catch((error) => console.warn("the page will not open offline", error));
}

attend();
attendAlerts(alertsChanged);
$("retry").addEventListener("click", retry);
setInterval(() => Number.isNaN(serverNow()) || tell(), 1_000);
connect({
  onChange: take,
  onState: (state) => { link = state; tell(); },
  inBackground: hasAlerts,
});
tell();
addEventListener("load", register);
