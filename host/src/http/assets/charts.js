// The last hour of the few numbers that matter, as lines.

import { call } from "./ask.js";
import { clockTime, compact, fixed, list, number, percent, span } from "./format.js";
import { $, keyed, put } from "./page.js";

const WIDTH = 360; // samples of an hour
const HEIGHT = 60;

const share = (value) => (number(value) === null ? null : percent(value * 100, 1));
const age = (value) => (number(value) === null ? null : span(value));

const CHARTS = [
  { of: "requests_per_second", name: "Requests a second", say: (value) => (value < 100 ? fixed(value, 1) : compact(value)) },
  { of: "hit_ratio", name: "Hit ratio", say: share, top: 1 },
  { of: "oldest_age_seconds", name: "Oldest document", say: age },
  { of: "lane_depth", name: "Waiting for tiers", say: (value) => fixed(value, 0) },
];

let shownAt;

/** Draws the hour again when there is a new sample. */
export function showHour(state) {
  if (state.history_at === shownAt) return;
  shownAt = state.history_at;
  call("/api/admin/history").then(show, (error) => {
    shownAt = undefined;
    console.warn("the last hour cannot be shown", error);
  });
}

function show({ samples, samples_max: max }) {
  keyed($("charts"), CHARTS, (chart) => chart.of, "chart", ({ fields }, chart) => {
    const values = list(samples).map((sample) => number(sample[chart.of]));
    const known = values.filter((value) => value !== null);
    const top = chart.top ?? Math.max(...known, 0);
    put(fields.name, chart.name);
    put(fields.value, chart.say(values.at(-1)));
    put(fields.low, known.length ? `least ${chart.say(Math.min(...known))}` : "");
    put(fields.high, known.length ? `most ${chart.say(Math.max(...known))}` : "");
    const line = path(values, max, top);
    fields.line.setAttribute("d", line.map(({ points }) => `M${points.join("L")}`).join(""));
    const area = line.map(({ points, from, to }) => `M${from} ${HEIGHT}L${points.join("L")}L${to} ${HEIGHT}Z`).join("");
    fields.area.setAttribute("d", area);
  });
  put($("hour-note"), samples.length ? `since ${clockTime(samples[0].at / 1e6)}` : "nothing measured yet");
}

/** Runs of known values; what is not known leaves a gap. The newest stands at the right edge. */
function path(values, max, top) {
  const runs = [];
  let run = null;
  values.forEach((value, at) => {
    if (value === null) return void (run = null);
    const x = WIDTH - ((values.length - 1 - at) / Math.max(1, max - 1)) * WIDTH;
    const y = top > 0 ? HEIGHT - 2 - (value / top) * (HEIGHT - 4) : HEIGHT - 2;
    if (!run) runs.push((run = { points: [], from: x.toFixed(1) }));
    run.points.push(`${x.toFixed(1)} ${y.toFixed(1)}`);
    run.to = x.toFixed(1);
  });
  // A single point would not be seen.
  for (const one of runs) if (one.points.length === 1) one.points.push(one.points[0]);
  return runs;
}
