// The warmer: what it keeps warm, what failed, and the sources.

import { list, number, span } from "./format.js";
import { $, keyed, put } from "./page.js";

/** A moment in Unix microseconds, seen from `now` in seconds. */
const ago = (at, now) => (number(at) === null ? null : `${span(now - at / 1e6)} ago`);
const ahead = (at, now) => (number(at) === null ? null : at / 1e6 <= now ? "due" : `in ${span(at / 1e6 - now)}`);

export function showWarmer({ warmer, sources, at: now }) {
  const { plans, tasks, tasks_total: all } = warmer;
  const made = plans.failures ? `${plans.failures} plans in a row failed: ${plans.error}` : `planned ${ago(plans.last_at, now) ?? "never"}`;
  put($("plans"), all > tasks.length ? `${made}; ${tasks.length} of ${all} keys` : made);
  put($("tasks-empty"), tasks.length ? "" : "The warmer keeps no key warm.");
  keyed($("tasks"), list(tasks), (task) => task.key, "task-row", ({ root, fields }, task) => {
    root.dataset.state = task.failures ? "stale" : task.warm ? "live" : "missing";
    put(fields.key, task.key);
    put(fields.badge, task.failures ? "Fails" : task.warm ? "Warm" : "Cold");
    put(fields.last, ago(task.last_warmed_at, now));
    put(fields.next, ahead(task.next_attempt_at, now));
    put(fields.failures, String(task.failures));
    put(fields.why, task.detail ? `${task.reason}; ${task.detail}` : task.reason);
  });
  put($("sources-empty"), list(sources).length ? "" : "No source is configured.");
  keyed($("sources"), list(sources), (source) => source.name, "source-row", ({ root, fields }, source) => {
    const failures = source.failures ?? 0;
    const last = ago(source.last_success_at, now);
    root.dataset.state = failures ? "stale" : last ? "live" : "missing";
    put(fields.name, source.name);
    put(fields.note, `${source.key}${failures ? `: ${source.last_error}` : ""}`);
    put(fields.badge, failures ? `${failures} failures in a row` : last ? `Fetched ${last}` : "Not fetched yet");
  });
}
