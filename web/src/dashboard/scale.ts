// The arithmetic of the charts: round steps, lines with holes where nobody has measured. Pure.

/** An axis from a round value at or below `least` to a little above `most`, with lines at round values on it. */
export function ticks(least: number, most: number, wanted = 3): { from: number; to: number; at: number[] } {
  const room = most - least || 1;
  const rough = room / wanted;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * magnitude).find((candidate) => candidate >= rough - 1e-9) ?? 10 * magnitude;
  const from = Math.floor(least / step + 1e-9) * step;
  // Never less than one line above the floor; a line that would be just above the highest value is kept.
  const to = Math.max(from + step, most + 0.04 * room);
  const at: number[] = [];
  for (let value = from; value <= to + step / 1e6; value += step) at.push(Math.round(value * 1e6) / 1e6);
  return { from, to, at };
}

export interface Place {
  x: number;
  y: number;
}

/** The stretches without a hole; one that stands alone is a stretch of one. */
export function stretches(places: readonly (Place | null)[]): Place[][] {
  const all: Place[][] = [];
  let current: Place[] = [];
  for (const place of places) {
    if (place !== null) current.push(place);
    else if (current.length > 0) {
      all.push(current);
      current = [];
    }
  }
  if (current.length > 0) all.push(current);
  return all;
}

const short = (n: number) => String(Math.round(n * 10) / 10);

export function linePath(stretch: readonly Place[]): string {
  if (stretch.length === 1) {
    // A dot: a line of no length, round at its ends.
    const { x, y } = stretch[0]!;
    return `M${short(x)} ${short(y)}h0`;
  }
  return stretch.map(({ x, y }, index) => `${index === 0 ? "M" : "L"}${short(x)} ${short(y)}`).join("");
}

export function areaPath(stretch: readonly Place[], floor: number): string {
  if (stretch.length < 2) return "";
  return `${linePath(stretch)}V${short(floor)}H${short(stretch[0]!.x)}Z`;
}

/** Index of the nearest value in an ascending list. */
export function nearest(sorted: readonly number[], wanted: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < wanted) low = middle;
    else high = middle;
  }
  return high >= 0 && Math.abs(sorted[high]! - wanted) < Math.abs((sorted[low] ?? Infinity) - wanted) ? high : low;
}
