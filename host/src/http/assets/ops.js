// The console: a way in, one stream of states, and parts that are drawn from it.
//
// Nothing here invents a number. What the gateway did not send reads "n/a"; what no longer arrives is shown as such.

import { attendAsking, call, setMayAct, tell, whenSignedOut } from "./ask.js";
import { showHour } from "./charts.js";
import { attendKeys } from "./keys.js";
import { attendLog, showLevel, showLog } from "./log.js";
import { $, put } from "./page.js";
import { showPlugins } from "./plugins.js";
import { showQuarantine } from "./quarantine.js";
import { showGateways, showTiers } from "./tiers.js";
import { showWarmer } from "./warmer.js";

const STREAM = "/api/admin/stream";
const SESSION = "/api/admin/session";
const SILENCE = 5_000; // five states
const AGAIN = 2_000;

/** What each card is drawn from. */
const PARTS = {
  hour: showHour, tiers: showTiers, gateways: showGateways, quarantine: showQuarantine, plugins: showPlugins,
  warmer: showWarmer, log: showLog,
};

let stream = null;
let missed;
let again;
let inside = false;

// === The stream ===

function listen() {
  hangUp();
  if (document.hidden || !inside) return;
  const mine = (stream = new EventSource(STREAM));
  mine.addEventListener("state", (event) => {
    if (mine !== stream) return;
    expectMore();
    say("live", "Live");
    draw(JSON.parse(event.data));
  });
  mine.onerror = () => mine === stream && lost();
  expectMore();
}

function expectMore() {
  clearTimeout(missed);
  missed = setTimeout(lost, SILENCE);
}

function hangUp() {
  clearTimeout(missed);
  clearTimeout(again);
  stream?.close();
  stream = null;
}

/** The stream is gone: because the gateway is, or because the session is over. */
async function lost() {
  hangUp();
  say("offline", "Disconnected", "The gateway does not answer.", "What you see is how it stood when it last did.");
  try {
    const { by } = await call(SESSION);
    if (by === null) return leave();
  } catch (error) {
    console.warn("it is tried again", error);
  }
  if (inside) again = setTimeout(listen, AGAIN);
}

function draw(state) {
  for (const [id, show] of Object.entries(PARTS)) {
    try {
      show(state);
    } catch (error) {
      // One card that fails does not take the others along.
      console.error(`${id} cannot be shown`, error);
      $(id).dataset.state = "missing";
    }
  }
}

function say(name, label, title = "", words = "") {
  if (document.body.dataset.link !== name) {
    document.body.dataset.link = name;
    for (const card of document.querySelectorAll("#console > .card")) card.dataset.state = name === "live" ? "live" : "offline";
    put($("announce"), title || label);
  }
  put($("link"), label);
  $("banner").hidden = !title;
  put($("banner-title"), title);
  put($("banner-text"), words);
}

// === The way in ===

function enter(session) {
  inside = true;
  $("door").hidden = true;
  $("console").hidden = false;
  $("log-out").hidden = false;
  put($("who"), session.may_act ? session.by : `${session.by}, looking only`);
  setMayAct(session.may_act);
  showLevel();
  listen();
}

function leave() {
  // What one session saw, and how far it might go, is nothing to the next.
  if (inside) return void location.reload();
  hangUp();
  say("out", "Logged out");
  put($("who"), "");
  $("console").hidden = true;
  $("log-out").hidden = true;
  $("door").hidden = false;
}

async function logIn(event) {
  event.preventDefault();
  const { token, name, look_only: looking } = event.target.elements;
  const body = JSON.stringify({ token: token.value.trim(), name: name.value, look_only: looking.checked });
  try {
    const session = await call(SESSION, { method: "POST", body });
    put($("login-refused"), "");
    token.value = "";
    enter(session);
  } catch (error) {
    put($("login-refused"), error.message);
  }
}

async function logOut() {
  try {
    await call(SESSION, { method: "DELETE" });
    leave();
  } catch (error) {
    tell(`Not logged out. ${error.message}`, "down");
  }
}

attendAsking();
attendKeys();
attendLog();
whenSignedOut(leave);
$("login").addEventListener("submit", logIn);
$("log-out").addEventListener("click", logOut);
document.addEventListener("visibilitychange", () => (document.hidden ? hangUp() : inside && listen()));
addEventListener("pageshow", (event) => event.persisted && inside && listen());
call(SESSION).then((session) => (session.by === null ? leave() : enter(session)), (error) => {
  leave();
  put($("login-refused"), error.message);
});
