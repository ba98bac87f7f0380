// SVG charts of values over time: stacked bars, lines or dots. Each chart has a summary for screen readers. The legend
// shows the values under the pointer.

import { h, setText } from "./dom.js";

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 190;
const MARGIN = { left: 44, right: 10, top: 10, bottom: 26 };
/** Minimum distance of time labels in pixels, and the allowed intervals between them. */
const LABEL_WIDTH = 70;
const MINUTE = 60_000;
const INTERVALS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14_400].map((minutes) => minutes * MINUTE);
const VALUE_STEPS = 4;

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG_NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The step of the value axis up to `most`: 1, 2 or 5 times a power of ten. */
function stepFor(most, whole) {
  const rough = most / VALUE_STEPS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough);
  return whole ? Math.max(1, step) : step;
}

/** The indices with a time label: the starts of intervals in local time, as many as there is room for. */
function timeLabels(at, column) {
  const interval = INTERVALS.find((time) => (time / (at[1] - at[0])) * column >= LABEL_WIDTH) ?? INTERVALS.at(-1);
  const part = (time) => Math.floor((time - new Date(time).getTimezoneOffset() * MINUTE) / interval);
  return [...at.keys()].slice(1).filter((index) => part(at[index]) !== part(at[index - 1])
    && column * index > LABEL_WIDTH / 3 && column * (at.length - index) > LABEL_WIDTH / 3);
}

export class Chart {
  /** `kind` is "bars", "lines" or "dots". `whole` limits the axis to integers. `format` formats a value. */
  constructor({ title, kind, whole = false, format = String }) {
    Object.assign(this, { title, kind, whole, format, data: null, names: [] });
    this.heading = h("h2", {}, title);
    this.time = h("p", { class: "quiet chart-time" });
    this.legend = h("ul", { class: "legend" });
    this.place = h("div", { class: "chart-place" });
    this.summary = h("p", { class: "quiet" });
    this.element = h("figure", { class: "card chart" },
      h("figcaption", {}, this.heading, this.summary), this.place,
      h("div", { class: "chart-foot" }, this.legend, this.time));
    this.watcher = new ResizeObserver(() => this.paint());
    this.watcher.observe(this.place);
  }

  /** Draws `series`, a list of { name, kind, values }; missing values are null. `summary` describes them as text. */
  draw({ at, series, summary, formatPoint }) {
    this.data = { at, series, formatPoint };
    setText(this.summary, summary);
    this.values = series.map(() => h("span", { class: "number" }));
    this.legend.replaceChildren(...series.map(({ name, kind }, place) => h("li", { class: kind },
      h("span", { class: "swatch", "aria-hidden": "true" }), name, " ", this.values[place])));
    this.paint();
  }

  paint() {
    const width = Math.floor(this.place.clientWidth);
    if (!this.data || width < 80) return;
    const { at, series, formatPoint } = this.data;
    const wide = width - MARGIN.left - MARGIN.right;
    const high = HEIGHT - MARGIN.top - MARGIN.bottom;
    const stacked = at.map((_, index) => series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0));
    const single = series.flatMap(({ values }) => values.map((value) => value ?? 0));
    const highest = Math.max(0, ...(this.kind === "bars" ? stacked : single));
    const step = stepFor(highest || 1, this.whole);
    const top = Math.ceil((highest || 1) / step - 1e-9) * step;
    const column = wide / at.length;
    const x = (index) => MARGIN.left + column * (index + 0.5);
    const y = (value) => MARGIN.top + high * (1 - value / top);

    const grid = svg("g", { class: "chart-grid" });
    for (let mark = 0; mark <= top * 1.001; mark += step) {
      grid.append(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(mark), y2: y(mark) }),
        svg("text", { x: MARGIN.left - 6, y: y(mark) + 4, "text-anchor": "end" }, this.format(mark)));
    }
    for (const index of timeLabels(at, column)) {
      grid.append(svg("text", { x: x(index), y: HEIGHT - 6, "text-anchor": "middle" }, formatPoint(at[index], false)));
    }
    const cursor = svg("line", { class: "chart-cursor", y1: MARGIN.top, y2: MARGIN.top + high, visibility: "hidden" });
    const picture = svg("svg", {
      viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img",
      "aria-label": `${this.title}: ${this.summary.textContent}`,
    }, grid, ...this.marks(series, at.length, { x, y, column }), cursor);
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      const index = Math.floor((event.clientX - box.left - MARGIN.left) / column);
      this.showValues(index, cursor, x);
    });
    picture.addEventListener("pointerleave", () => this.showValues(-1, cursor, x));
    this.place.replaceChildren(picture);
    this.showValues(-1, cursor, x);
  }

  marks(series, count, { x, y, column }) {
    const indices = [...Array(count).keys()];
    if (this.kind === "bars") {
      const below = indices.map(() => 0);
      const gap = column > 4 ? 1 : 0;
      return series.map(({ kind, values }) => {
        const shapes = indices.filter((index) => values[index] > 0).map((index) => {
          const [from, to] = [below[index], below[index] + values[index]];
          below[index] = to;
          return svg("rect", {
            x: x(index) - column / 2 + gap / 2, y: y(to), width: Math.max(1, column - gap), height: y(from) - y(to),
          });
        });
        return svg("g", { class: `bars ${kind}` }, ...shapes);
      });
    }
    return series.map(({ kind, values }) => {
      const there = indices.filter((index) => values[index] !== null);
      // A missing value interrupts the line.
      const path = there.map((index) =>
        `${values[index - 1] === null || index === 0 ? "M" : "L"}${x(index).toFixed(1)} ${y(values[index]).toFixed(1)}`);
      const dots = this.kind === "dots"
        ? there.map((index) => svg("circle", { cx: x(index), cy: y(values[index]), r: 3 }))
        : [];
      return svg("g", { class: `lines ${kind}` }, svg("path", { d: path.join("") }), ...dots);
    });
  }

  /** Shows the values at an index in the legend, or none if it is out of range. */
  showValues(index, cursor, x) {
    const { at, series, formatPoint } = this.data;
    const shown = index >= 0 && index < at.length;
    cursor.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) {
      cursor.setAttribute("x1", x(index));
      cursor.setAttribute("x2", x(index));
    }
    setText(this.time, shown ? formatPoint(at[index], true) : "");
    series.forEach(({ values }, place) => {
      const value = shown ? values[index] : undefined;
      setText(this.values[place], value === undefined ? "" : value === null ? "–" : this.format(value));
    });
  }

  close() {
    this.watcher.disconnect();
  }
}
