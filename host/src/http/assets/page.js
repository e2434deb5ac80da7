// Writing into the page: only what changed is touched.

export const $ = (id) => document.getElementById(id);

const shown = new WeakMap();

/** What `put` last wrote into `node`. */
export const shownIn = (node) => shown.get(node);

/** Sets the text of `node`, touching the document only when it changed. A missing value reads "n/a" and is spoken as such. */
export function put(node, value, tone) {
  if (tone !== undefined) paint(node, tone);
  if (shown.get(node) === value) return;
  shown.set(node, value);
  if (value !== null) return void (node.textContent = value);
  const gap = document.createElement("span");
  gap.className = "na";
  gap.setAttribute("role", "img");
  gap.setAttribute("aria-label", "not available");
  gap.textContent = "n/a";
  node.replaceChildren(gap);
}

export function paint(node, tone) {
  if (node.dataset.tone !== tone) node.dataset.tone = tone;
}

/** Length of a stroke whose path is 100 long; none for a missing number. */
export function arc(node, value) {
  node.toggleAttribute("hidden", value === null);
  node.setAttribute("stroke-dasharray", `${Math.min(100, Math.max(0, value))} 200`);
}

/** A new element from a template, with its marked nodes by name. */
export function make(template) {
  const root = $(template).content.firstElementChild.cloneNode(true);
  const fields = Object.fromEntries([...root.querySelectorAll("[data-f]")].map((node) => [node.dataset.f, node]));
  return { root, fields };
}

const kept = new WeakMap();

/**
 * Keeps `container` in step with `items`: one element for each key, made once, updated in place, moved only when its place
 * changed. One item that cannot be shown does not cost the others.
 */
export function keyed(container, items, keyOf, template, update, settled = true) {
  const rows = kept.get(container) ?? new Map();
  const wanted = new Map();
  for (const item of items) {
    const key = item && keyOf(item);
    if (!key || wanted.has(key)) continue;
    const row = rows.get(key) ?? make(template);
    try {
      update(row, item);
      wanted.set(key, row);
    } catch (error) {
      console.error(`${key} cannot be shown`, error);
    }
  }
  for (const [key, row] of rows) if (!wanted.has(key)) row.root.remove();
  kept.set(container, wanted);

  const focused = document.activeElement;
  let place = container.firstElementChild;
  for (const { root } of wanted.values()) {
    if (root === place) place = place.nextElementSibling;
    else if (settled || !root.isConnected) container.insertBefore(root, place);
  }
  // Moving an element takes its focus away.
  if (focused !== document.activeElement && container.contains(focused)) focused.focus({ preventScroll: true });
  return wanted.size;
}

const FLASH = 900;
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Shows that `node` changed: a colour that fades, or for those who want no motion one that stays a moment. */
export function flash(node, direction) {
  if (!direction) return;
  const tint = direction > 0 ? "var(--up-soft)" : "var(--down-soft)";
  const frames = still.matches ? [tint, tint] : [tint, "transparent"];
  node.animate(frames.map((backgroundColor) => ({ backgroundColor })), { duration: FLASH, easing: "ease-out" });
}
