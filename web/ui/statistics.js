// Figures over time: what was done, what waited, how busy each node was, how long songs took.

import { Chart } from "./chart.js";
import { counted, el, nowAndAgain, say, when } from "./dom.js";
import { ask } from "./net.js";
import { setQuery } from "./router.js";
import { user } from "./session.js";

export const title = "Statistics";

const AGAIN = 10000;
const HOUR = 3600;
/** What can be looked at: seconds, seconds to a point, and the words. */
const SPANS = [
  { name: "hour", span: HOUR, step: 60, words: "1 hour", last: "hour" },
  { name: "day", span: 24 * HOUR, step: 900, words: "24 hours", last: "24 hours" },
  { name: "week", span: 7 * 24 * HOUR, step: 2 * HOUR, words: "7 days", last: "7 days" },
  { name: "month", span: 30 * 24 * HOUR, step: 8 * HOUR, words: "30 days", last: "30 days" },
];
const TINTS = 6;

const sum = (series, name) => series.reduce((all, point) => all + point[name], 0);
const short = (value) => String(Number(value.toPrecision(2)));
const hundredths = (value) => (value > 0 && value < 0.01 ? "less than 0.01" : value.toFixed(2));
const tenths = (value) => String(Math.round(value * 10) / 10);
const seconds = (value) => (value >= 600 ? `${tenths(value / 60)} min` : `${tenths(value)} s`);

export function open(main, { query }) {
  return new Statistics(main, query);
}

class Statistics {
  constructor(main, query) {
    this.shown = SPANS.find(({ name }) => name === query.span) ?? SPANS[0];
    this.request = null;
    this.buttons = SPANS.map((one) => el("button", {
      class: "button", type: "button", onclick: () => this.choose(one),
    }, one.words));
    this.note = el("p", { class: "quiet", role: "status" });
    this.charts = {
      throughput: new Chart({ title: "Jobs that ended", kind: "bars", whole: true }),
      queue: new Chart({ title: "Open jobs", kind: "lines", whole: true }),
      nodes: new Chart({ title: "Work per node", kind: "lines", format: short }),
      time: new Chart({ title: "Time per song", kind: "dots", format: seconds }),
    };
    this.head = el("tr");
    this.rows = el("tbody");
    this.noRows = el("p", { class: "quiet" }, "Nothing happened in this time.");
    this.table = el("div", { class: "scrolls figures", tabIndex: 0, role: "region", "aria-label": "The figures" },
      el("table", { class: "grid" }, el("caption", { class: "hidden-heading" }, "The figures"),
        el("thead", {}, this.head), this.rows));
    main.replaceChildren(
      el("p", { class: "crumb" }, el("a", { href: "#jobs" }, "Jobs")),
      el("div", { class: "head" }, el("h1", {}, "Statistics"),
        el("div", { class: "row", role: "group", "aria-label": "Time" }, ...this.buttons)),
      this.note,
      el("div", { class: "charts" }, ...Object.values(this.charts).map((chart) => chart.element)),
      el("details", { class: "as-table" }, el("summary", {}, "The figures as a table"), this.table, this.noRows));
    this.stopLooking = nowAndAgain(AGAIN, () => this.reload().catch(() => {}));
    this.drawButtons();
  }

  choose(one) {
    this.shown = one;
    setQuery(one === SPANS[0] ? {} : { span: one.name });
    this.drawButtons();
    this.reload().catch((problem) => say(this.note, problem.message));
  }

  drawButtons() {
    SPANS.forEach((one, place) => this.buttons[place].setAttribute("aria-pressed", String(one === this.shown)));
  }

  async reload() {
    this.request?.abort();
    this.request = new AbortController();
    const { span, step } = this.shown;
    try {
      this.draw(await ask(`/stats/series?span=${span}&step=${step}`, { signal: this.request.signal }));
    } catch (problem) {
      if (problem.name !== "AbortError") throw problem;
    }
    return false;
  }

  draw({ series, complete_from: from }) {
    const { last, step, span } = this.shown;
    const at = series.map((point) => point.at);
    const whose = user?.administrator ? "" : "Of the jobs that are yours to see. ";
    say(this.note, `${whose}${from > at[0] ? `There are very many jobs: the figures are whole from ${when(from)} on.` : ""}`);
    const clock = { hour: "numeric", minute: "2-digit" };
    const day = { month: "short", day: "numeric" };
    const format = (time, how) => new Date(time).toLocaleString([], how);
    const said = (time, whole) => {
      if (whole) return `${format(time, span > HOUR ? { ...day, ...clock } : clock)} to ${format(time + step * 1000, clock)}`;
      return format(time, span > 24 * HOUR ? day : clock);
    };
    const values = (name) => series.map((point) => point[name]);
    const draw = (chart, lines, summary) => this.charts[chart].draw({ at, said, summary, series: lines });

    const [done, failed, cancelled] = ["finished", "failed", "cancelled"].map((name) => sum(series, name));
    draw("throughput", [
      { name: "done", kind: "tint-done", values: values("finished") },
      { name: "failed", kind: "tint-failed", values: values("failed") },
      { name: "cancelled", kind: "tint-cancelled", values: values("cancelled") },
    ], `In the last ${last} ${counted(done, "job was", "jobs were")} done, ${failed} failed and ${
      counted(cancelled, "was", "were")} cancelled.`);

    const now = series.at(-1);
    const most = Math.max(...values("queued"));
    draw("queue", [
      { name: "waiting", kind: "tint-1", values: values("queued") },
      { name: "worked on", kind: "tint-0", values: values("running") },
    ], `Now ${counted(now.queued, "job waits", "jobs wait")} and ${
      counted(now.running, "is", "are")} worked on; at most ${most} waited.`);

    const nodes = [...new Set(series.flatMap((point) => Object.keys(point.nodes)))].sort((a, b) => a - b);
    const busy = (node) => series.map((point) => point.nodes[node] ?? 0);
    const average = (all) => all.reduce((total, one) => total + one, 0) / all.length;
    const each = nodes.map((node) => `${hundredths(average(busy(node)))} at node ${node}`).join(", ");
    draw("nodes", nodes.map((node) => ({ name: `node ${node}`, kind: `tint-${node % TINTS}`, values: busy(node) })),
      nodes.length
        ? `Tasks at a time, on average over the last ${last}: ${each}.`
        : `No node worked in the last ${last}.`);

    const took = series.reduce((total, point) => total + (point.seconds_per_song ?? 0) * point.finished, 0);
    draw("time", [{ name: "from the first task to the last", kind: "tint-0", values: values("seconds_per_song") }],
      done ? `A song took ${seconds(took / done)} on average in the last ${last}.` : `No song was done in the last ${last}.`);
    this.drawTable(series, nodes, said);
  }

  drawTable(series, nodes, said) {
    const columns = [
      "Time", "Done", "Failed", "Cancelled", "Waiting", "Worked on", "Time per song", ...nodes.map((node) => `Node ${node}`),
    ];
    this.head.replaceChildren(...columns.map((words) => el("th", { scope: "col" }, words)));
    const row = (point) => [
      point.finished, point.failed, point.cancelled, point.queued, point.running,
      point.seconds_per_song === null ? 0 : seconds(point.seconds_per_song), ...nodes.map((node) => short(point.nodes[node] ?? 0)),
    ].map(String);
    const rows = series.map((point) => [point, row(point)]).filter(([, cells]) => cells.some((cell) => cell !== "0")).reverse();
    this.rows.replaceChildren(...rows.map(([point, cells]) => el("tr", {}, el("th", { scope: "row" }, said(point.at, true)),
      ...cells.map((cell) => el("td", { class: "number" }, cell === "0" ? "–" : cell)))));
    this.table.hidden = rows.length === 0;
    this.noRows.hidden = rows.length > 0;
  }

  close() {
    this.request?.abort();
    this.stopLooking();
    Object.values(this.charts).forEach((chart) => chart.close());
  }
}
