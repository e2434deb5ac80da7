// Alerts: a threshold for a symbol, kept on this device, told while the page or the installed app is open.

import { isLive } from "./ages.js";
import { remember, remembered } from "./device.js";
import { fixed, list, number, priced, signed, split } from "./format.js";
import { live } from "./link.js";
import { $, keyed, put } from "./page.js";

const ALERTS_MAX = 50;

const OF = {
  price: { name: "Price", of: (row) => number(row.price), written: priced },
  score: { name: "Score", of: (row) => number(row.score), written: (value) => fixed(value, 0) },
  change: { name: "Change", of: (row) => number(row.change_24h), written: signed },
};

const isAlert = (a) => typeof a?.symbol === "string" && a.of in OF && ["above", "below"].includes(a.side) && number(a.at) !== null;

/** `armed`: it has not been told since the threshold was last on the other side. */
let alerts = list(remembered("alerts", [])).filter(isAlert);
let changed = () => {};

const idOf = (a) => `${a.symbol} ${a.of} ${a.side} ${a.at}`;
const words = (a) => `${OF[a.of].name} ${a.side} ${OF[a.of].written(a.at)}`;

export const hasAlerts = () => alerts.length > 0;
export const alertedSymbols = () => new Set(alerts.map((a) => a.symbol));

function keep(symbol) {
  remember("alerts", alerts);
  showAlerts();
  changed(symbol);
}

/** From the form in the row of `symbol`. */
export async function setAlert(event, symbol) {
  event.preventDefault();
  const { of, side, at } = event.target.elements;
  const value = at.valueAsNumber;
  if (Number.isNaN(value)) return at.focus();
  const alert = { symbol, of: of.value, side: side.value, at: value, armed: true };
  if (alerts.length >= ALERTS_MAX) return announce("No more alerts", `${ALERTS_MAX} are kept at most; remove one first.`);
  if (alerts.some((a) => idOf(a) === idOf(alert))) return;
  alerts.push(alert);
  at.value = "";
  keep(symbol);
  $("announce").textContent = `Alert set: ${split(symbol)[0]} ${words(alert)}`;
  // Asked for when it is of use, and not before.
  if ("Notification" in globalThis && Notification.permission === "default") await Notification.requestPermission();
  checkAlerts();
}

function remove(alert) {
  alerts = alerts.filter((a) => a !== alert);
  keep(alert.symbol);
}

function rowsOf(container, some, withSymbol) {
  return keyed(container, some, idOf, "alert-row", ({ fields: f }, alert) => {
    const [base] = split(alert.symbol);
    put(f.words, withSymbol ? `${base}: ${words(alert)}` : words(alert));
    f.remove.setAttribute("aria-label", `Remove the alert ${base} ${words(alert)}`);
    f.remove.onclick = () => remove(alert);
  });
}

export const showAlertsOf = (container, symbol) => rowsOf(container, alerts.filter((a) => a.symbol === symbol), false);

export function showAlerts() {
  $("alerts").hidden = alerts.length === 0;
  rowsOf($("alert-list"), alerts, true);
  const told = "Notification" in globalThis && Notification.permission === "granted";
  put($("alerts-note"), `Told here${told ? " and as a notification" : ""} while this page is open.`);
}

/** Tells what crossed its threshold. Numbers that are old or out of reach tell nothing. */
export function checkAlerts() {
  if (!isLive("signals")) return;
  let moved = false;
  for (const alert of alerts) {
    const row = live.symbols[alert.symbol];
    const value = row ? OF[alert.of].of(row) : null;
    if (value === null) continue;
    const met = alert.side === "above" ? value >= alert.at : value <= alert.at;
    if (met === !alert.armed) continue;
    alert.armed = !met;
    moved = true;
    if (met) tell(alert, value);
  }
  if (moved) remember("alerts", alerts);
}

function tell(alert, value) {
  const title = `${split(alert.symbol)[0]}: ${words(alert)}`;
  const body = `${OF[alert.of].name} is ${OF[alert.of].written(value)} now.`;
  announce(title, body);
  notify(title, body, idOf(alert));
}

function announce(title, body) {
  put($("toast-title"), title);
  put($("toast-text"), body);
  $("toast").hidden = false;
}

async function notify(title, body, tag) {
  if (!("Notification" in globalThis) || Notification.permission !== "granted") return;
  const options = { body, tag, icon: "/assets/icon-192.png" };
  try {
    const worker = await navigator.serviceWorker?.getRegistration();
    if (worker) await worker.showNotification(title, options);
    else new Notification(title, options);
  } catch (error) {
    console.warn("no notification can be shown; the page says it alone", error);
  }
}

/** Starts; `onChange` gets the symbol whose alerts changed. */
export function attendAlerts(onChange) {
  changed = onChange;
  $("toast-close").addEventListener("click", () => { $("toast").hidden = true; });
  showAlerts();
}
