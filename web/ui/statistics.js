// Statistics over time: finished and open jobs, load of the nodes, and time per song.

import { Chart } from "./chart.js";
import { formatDate, h, poll, setText } from "./dom.js";
import { get } from "./net.js";
import { setQuery } from "./router.js";
import { user } from "./session.js";

export const title = "Statistics";

const POLL_INTERVAL = 10000;
const HOUR = 3600;
/** Time ranges: length in seconds, seconds per point, and labels. */
const RANGES = [
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
    this.shown = RANGES.find(({ name }) => name === query.span) ?? RANGES[0];
    this.request = null;
    this.buttons = RANGES.map((one) => h("button", {
      class: "button", type: "button", onclick: () => this.choose(one),
    }, one.words));
    this.note = h("p", { class: "quiet", role: "status" });
    this.charts = {
      throughput: new Chart({ title: "Finished jobs", kind: "bars", whole: true }),
      queue: new Chart({ title: "Open jobs", kind: "lines", whole: true }),
      nodes: new Chart({ title: "Running tasks per node", kind: "lines", format: short }),
      time: new Chart({ title: "Time per song", kind: "dots", format: seconds }),
    };
    this.head = h("tr");
    this.rows = h("tbody");
    this.noRows = h("p", { class: "quiet" }, "No activity in this time range.");
    this.table = h("div", { class: "scrolls figures", tabIndex: 0, role: "region", "aria-label": "Data table" },
      h("table", { class: "grid" }, h("caption", { class: "hidden-heading" }, "Data table"),
        h("thead", {}, this.head), this.rows));
    main.replaceChildren(
      h("p", { class: "crumb" }, h("a", { href: "#jobs" }, "Jobs")),
      h("div", { class: "head" }, h("h1", {}, "Statistics"),
        h("div", { class: "row", role: "group", "aria-label": "Time range" }, ...this.buttons)),
      this.note,
      h("div", { class: "charts" }, ...Object.values(this.charts).map((chart) => chart.element)),
      h("details", { class: "as-table" }, h("summary", {}, "Show as table"), this.table, this.noRows));
    this.stopPolling = poll(POLL_INTERVAL, () => this.reload().catch(() => {}));
    this.drawButtons();
  }

  choose(one) {
    this.shown = one;
    setQuery(one === RANGES[0] ? {} : { span: one.name });
    this.drawButtons();
    this.reload().catch((problem) => setText(this.note, problem.message));
  }

  drawButtons() {
    RANGES.forEach((one, place) => this.buttons[place].setAttribute("aria-pressed", String(one === this.shown)));
  }

  async reload() {
    this.request?.abort();
    this.request = new AbortController();
    const { span, step } = this.shown;
    try {
      this.draw(await get(`/stats/series?span=${span}&step=${step}`, { signal: this.request.signal }));
    } catch (problem) {
      if (problem.name !== "AbortError") throw problem;
    }
    return false;
  }

  draw({ series, complete_from: from }) {
    const { last, step, span } = this.shown;
    const at = series.map((point) => point.at);
    const scope = user?.administrator ? "" : "Includes only jobs you can see. ";
    setText(this.note, `${scope}${from > at[0] ? `Too many jobs: data is complete from ${formatDate(from)}.` : ""}`);
    const clock = { hour: "numeric", minute: "2-digit" };
    const day = { month: "short", day: "numeric" };
    const format = (time, how) => new Date(time).toLocaleString([], how);
    const formatPoint = (time, whole) => {
      if (whole) return `${format(time, span > HOUR ? { ...day, ...clock } : clock)} to ${format(time + step * 1000, clock)}`;
      return format(time, span > 24 * HOUR ? day : clock);
    };
    const values = (name) => series.map((point) => point[name]);
    const draw = (chart, lines, summary) => this.charts[chart].draw({ at, formatPoint, summary, series: lines });

    const [done, failed, cancelled] = ["finished", "failed", "cancelled"].map((name) => sum(series, name));
    draw("throughput", [
      { name: "done", kind: "tint-done", values: values("finished") },
      { name: "failed", kind: "tint-failed", values: values("failed") },
      { name: "cancelled", kind: "tint-cancelled", values: values("cancelled") },
    ], `Last ${last}: ${done} done, ${failed} failed, ${cancelled} cancelled.`);

    const now = series.at(-1);
    const most = Math.max(...values("queued"));
    draw("queue", [
      { name: "queued", kind: "tint-1", values: values("queued") },
      { name: "running", kind: "tint-0", values: values("running") },
    ], `Now: ${now.queued} queued, ${now.running} running. Maximum queued: ${most}.`);

    const nodes = [...new Set(series.flatMap((point) => Object.keys(point.nodes)))].sort((a, b) => a - b);
    const busy = (node) => series.map((point) => point.nodes[node] ?? 0);
    const average = (all) => all.reduce((total, one) => total + one, 0) / all.length;
    const each = nodes.map((node) => `node ${node}: ${hundredths(average(busy(node)))}`).join(", ");
    draw("nodes", nodes.map((node) => ({ name: `node ${node}`, kind: `tint-${node % TINTS}`, values: busy(node) })),
      nodes.length
        ? `Average running tasks in the last ${last}: ${each}.`
        : `No tasks ran in the last ${last}.`);

    const took = series.reduce((total, point) => total + (point.seconds_per_song ?? 0) * point.finished, 0);
    draw("time", [{ name: "first task to last task", kind: "tint-0", values: values("seconds_per_song") }],
      done ? `Average in the last ${last}: ${seconds(took / done)} per song.` : `No songs finished in the last ${last}.`);
    this.drawTable(series, nodes, formatPoint);
  }

  drawTable(series, nodes, formatPoint) {
    const columns = [
      "Time", "Done", "Failed", "Cancelled", "Queued", "Running", "Time per song", ...nodes.map((node) => `Node ${node}`),
    ];
    this.head.replaceChildren(...columns.map((words) => h("th", { scope: "col" }, words)));
    const row = (point) => [
      point.finished, point.failed, point.cancelled, point.queued, point.running,
      point.seconds_per_song === null ? 0 : seconds(point.seconds_per_song), ...nodes.map((node) => short(point.nodes[node] ?? 0)),
    ].map(String);
    const rows = series.map((point) => [point, row(point)]).filter(([, cells]) => cells.some((cell) => cell !== "0")).reverse();
    this.rows.replaceChildren(...rows.map(([point, cells]) => h("tr", {}, h("th", { scope: "row" }, formatPoint(point.at, true)),
      ...cells.map((cell) => h("td", { class: "number" }, cell === "0" ? "–" : cell)))));
    this.table.hidden = rows.length === 0;
    this.noRows.hidden = rows.length > 0;
  }

  close() {
    this.request?.abort();
    this.stopPolling();
    Object.values(this.charts).forEach((chart) => chart.close());
  }
}
