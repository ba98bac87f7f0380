// Charts of figures over time, drawn as SVG: stacked bars, lines, or dots. What a chart shows is said in words too, for
// those who do not see it, and the time under the pointer is read out beside the names.

import { el, say } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 190;
const EDGE = { left: 44, right: 10, top: 10, bottom: 26 };
/** How near marks below may stand to each other, and the times that may lie between them. */
const MARK_WIDTH = 70;
const MINUTE = 60_000;
const APART = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14_400].map((minutes) => minutes * MINUTE);
const MARKS_UP = 4;

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The step that marks up to `most` stand apart by: 1, 2 or 5 times a power of ten. */
function stepFor(most, whole) {
  const rough = most / MARKS_UP;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough);
  return whole ? Math.max(1, step) : step;
}

/** Where times are written: where a new quarter of an hour, hour, day begins on the reader's clock, as there is room. */
function marksBelow(at, column) {
  const apart = APART.find((time) => (time / (at[1] - at[0])) * column >= MARK_WIDTH) ?? APART.at(-1);
  const part = (time) => Math.floor((time - new Date(time).getTimezoneOffset() * MINUTE) / apart);
  return [...at.keys()].slice(1).filter((index) => part(at[index]) !== part(at[index - 1])
    && column * index > MARK_WIDTH / 3 && column * (at.length - index) > MARK_WIDTH / 3);
}

export class Chart {
  /** `kind` is "bars", "lines" or "dots"; `whole` says that there are no halves; `format` writes a value. */
  constructor({ title, kind, whole = false, format = String }) {
    Object.assign(this, { title, kind, whole, format, data: null, names: [] });
    this.heading = el("h2", {}, title);
    this.time = el("p", { class: "quiet chart-time" });
    this.legend = el("ul", { class: "legend" });
    this.place = el("div", { class: "chart-place" });
    this.summary = el("p", { class: "quiet" });
    this.element = el("figure", { class: "card chart" },
      el("figcaption", {}, this.heading, this.summary), this.place,
      el("div", { class: "chart-foot" }, this.legend, this.time));
    this.watcher = new ResizeObserver(() => this.paint());
    this.watcher.observe(this.place);
  }

  /** Shows values at times: `series` are { name, kind, values }, null where there is none. `summary` says it in words. */
  draw({ at, series, summary, said }) {
    this.data = { at, series, said };
    say(this.summary, summary);
    this.values = series.map(() => el("span", { class: "number" }));
    this.legend.replaceChildren(...series.map(({ name, kind }, place) => el("li", { class: kind },
      el("span", { class: "swatch", "aria-hidden": "true" }), name, " ", this.values[place])));
    this.paint();
  }

  paint() {
    const width = Math.floor(this.place.clientWidth);
    if (!this.data || width < 80) return;
    const { at, series, said } = this.data;
    const wide = width - EDGE.left - EDGE.right;
    const high = HEIGHT - EDGE.top - EDGE.bottom;
    const stacked = at.map((_, index) => series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0));
    const single = series.flatMap(({ values }) => values.map((value) => value ?? 0));
    const highest = Math.max(0, ...(this.kind === "bars" ? stacked : single));
    const step = stepFor(highest || 1, this.whole);
    const top = Math.ceil((highest || 1) / step - 1e-9) * step;
    const column = wide / at.length;
    const x = (index) => EDGE.left + column * (index + 0.5);
    const y = (value) => EDGE.top + high * (1 - value / top);

    const grid = svg("g", { class: "chart-grid" });
    for (let mark = 0; mark <= top * 1.001; mark += step) {
      grid.append(svg("line", { x1: EDGE.left, x2: width - EDGE.right, y1: y(mark), y2: y(mark) }),
        svg("text", { x: EDGE.left - 6, y: y(mark) + 4, "text-anchor": "end" }, this.format(mark)));
    }
    for (const index of marksBelow(at, column)) {
      grid.append(svg("text", { x: x(index), y: HEIGHT - 6, "text-anchor": "middle" }, said(at[index], false)));
    }
    const cursor = svg("line", { class: "chart-cursor", y1: EDGE.top, y2: EDGE.top + high, visibility: "hidden" });
    const picture = svg("svg", {
      viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img",
      "aria-label": `${this.title}: ${this.summary.textContent}`,
    }, grid, ...this.marks(series, at.length, { x, y, column }), cursor);
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      const index = Math.floor((event.clientX - box.left - EDGE.left) / column);
      this.point(index, cursor, x);
    });
    picture.addEventListener("pointerleave", () => this.point(-1, cursor, x));
    this.place.replaceChildren(picture);
    this.point(-1, cursor, x);
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
      // A line breaks off where there is no value.
      const path = there.map((index) =>
        `${values[index - 1] === null || index === 0 ? "M" : "L"}${x(index).toFixed(1)} ${y(values[index]).toFixed(1)}`);
      const dots = this.kind === "dots"
        ? there.map((index) => svg("circle", { cx: x(index), cy: y(values[index]), r: 3 }))
        : [];
      return svg("g", { class: `lines ${kind}` }, svg("path", { d: path.join("") }), ...dots);
    });
  }

  /** Reads out the values at one time, or none. */
  point(index, cursor, x) {
    const { at, series, said } = this.data;
    const shown = index >= 0 && index < at.length;
    cursor.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) {
      cursor.setAttribute("x1", x(index));
      cursor.setAttribute("x2", x(index));
    }
    say(this.time, shown ? said(at[index], true) : "");
    series.forEach(({ values }, place) => {
      const value = shown ? values[index] : undefined;
      say(this.values[place], value === undefined ? "" : value === null ? "–" : this.format(value));
    });
  }

  close() {
    this.watcher.disconnect();
  }
}
