// A line chart in SVG: a few series over time, what the pointer is on as figures, a sentence for readers.

import { attribute, h, svg, text } from "./dom";
import { timeOfDay } from "./format";
import { areaPath, linePath, nearest, stretches, ticks, type Place } from "./scale";

export interface Line {
  name: string;
  /** One of the classes `c1` to `c4`, or `bad`. */
  colour: string;
  values: readonly (number | null)[];
  area?: boolean;
}

export interface ChartData {
  /** Unix ms, ascending. */
  times: readonly number[];
  /** The axis goes back at least so far from the last time, ms. */
  span?: number;
  lines: readonly Line[];
  /** What the axis has at least. */
  least: number;
  most: number;
  format(value: number | null): string;
  /** For readers: what the chart shows. */
  title: string;
}

const LEFT = 40;
const BOTTOM = 20;
const TOP = 8;
const RIGHT = 6;

export class Chart {
  readonly node = h("div", { class: "chart" });
  readonly #svg = svg("svg", { role: "img", "aria-label": "" });
  readonly #tip = h("div", { class: "tip", "aria-hidden": "true" });
  readonly #cursor = svg("line", { class: "cursor", visibility: "hidden" });
  #data: ChartData | null = null;
  #width = 0;
  #height = 0;

  constructor() {
    this.node.append(this.#svg, this.#tip);
    new ResizeObserver(([entry]) => {
      const { width, height } = entry!.contentRect;
      if (width === this.#width && height === this.#height) return;
      this.#width = width;
      this.#height = height;
      this.#draw();
    }).observe(this.node);
    this.node.addEventListener("pointermove", (event) => this.#point(event.clientX));
    this.node.addEventListener("pointerleave", () => this.#point(null));
  }

  show(data: ChartData): void {
    this.#data = data;
    this.#draw();
  }

  /** The axis' ends. */
  #ends(): { first: number; last: number } {
    const { times, span = 1 } = this.#data!;
    const last = times.at(-1) ?? 0;
    return { first: Math.min(times[0] ?? 0, last - span), last };
  }

  #x(at: number): number {
    const { first, last } = this.#ends();
    return LEFT + ((at - first) / (last - first)) * (this.#width - LEFT - RIGHT);
  }

  #draw(): void {
    const data = this.#data;
    if (data === null || this.#width < 60 || this.#height < 40) return;
    const { times, lines } = data;
    const size = parseFloat(getComputedStyle(this.node).fontSize);
    const known = lines.flatMap(({ values }) => values.filter((value) => value !== null));
    const { from, to, at } = ticks(Math.min(data.least, ...known), Math.max(data.most, ...known), this.#height > 150 ? 4 : 2);
    const floor = this.#height - BOTTOM;
    const y = (value: number) => floor - ((Math.min(Math.max(value, from), to) - from) / (to - from)) * (floor - TOP);
    const parts: Node[] = [];
    for (const value of at) {
      parts.push(svg("line", { class: "grid", x1: String(LEFT), x2: String(this.#width - RIGHT), y1: String(y(value)), y2: String(y(value)) }));
      const figure = svg("text", { class: "axis", x: String(LEFT - 6), y: String(y(value) + size * 0.35), "text-anchor": "end" });
      figure.textContent = String(value);
      parts.push(figure);
    }
    const { first, last } = this.#ends();
    for (const [index, when] of times.length === 0 ? [] : [first, (first + last) / 2, last].entries()) {
      if (index === 1 && this.#width < 260) continue;
      const mark = svg("text", {
        class: "axis", x: String(this.#x(when)), y: String(this.#height - 4), "text-anchor": index === 0 ? "start" : index === 1 ? "middle" : "end",
      });
      mark.textContent = timeOfDay(when).slice(0, last - first < 600_000 ? 8 : 5);
      parts.push(mark);
    }
    for (const line of lines) {
      const places: (Place | null)[] = times.map((when, index) => {
        const value = line.values[index] ?? null;
        return value === null ? null : { x: this.#x(when), y: y(value) };
      });
      for (const stretch of stretches(places)) {
        if (line.area) parts.push(svg("path", { class: `area ${line.colour}`, d: areaPath(stretch, floor) }));
        parts.push(svg("path", { class: `line ${line.colour}${stretch.length === 1 ? " lone" : ""}`, d: linePath(stretch) }));
      }
    }
    attribute(this.#cursor, "y1", String(TOP));
    attribute(this.#cursor, "y2", String(floor));
    parts.push(this.#cursor);
    attribute(this.#svg, "viewBox", `0 0 ${this.#width} ${this.#height}`);
    attribute(this.#svg, "aria-label", sentence(data));
    this.#svg.replaceChildren(...parts);
  }

  #point(clientX: number | null): void {
    const data = this.#data;
    if (clientX === null || data === null || data.times.length === 0) {
      this.#tip.classList.remove("shown");
      attribute(this.#cursor, "visibility", "hidden");
      return;
    }
    const box = this.node.getBoundingClientRect();
    const { first, last } = this.#ends();
    const index = nearest(data.times, first + ((clientX - box.left - LEFT) / (this.#width - LEFT - RIGHT)) * (last - first));
    const x = this.#x(data.times[index]!);
    attribute(this.#cursor, "x1", String(x));
    attribute(this.#cursor, "x2", String(x));
    attribute(this.#cursor, "visibility", "visible");
    const figures = data.lines.map(({ name, values }) => `${name} ${data.format(values[index] ?? null)}`);
    text(this.#tip, `${timeOfDay(data.times[index]!)}  ${figures.join("  ")}`);
    this.#tip.classList.add("shown");
    this.#tip.classList.toggle("left", x > this.#width / 2);
  }
}

/** `MOS: mean now 4.3, lowest 3.9, highest 4.4.` */
function sentence({ title, lines, format }: ChartData): string {
  const told = lines.map(({ name, values }) => {
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return `${name} not measured`;
    return `${name} now ${format(known.at(-1)!)}, lowest ${format(Math.min(...known))}, highest ${format(Math.max(...known))}`;
  });
  return `${title}: ${told.join("; ")}.`;
}
