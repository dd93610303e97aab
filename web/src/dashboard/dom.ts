// Small helpers around elements: nothing is written that has not changed.

export function element<T extends Element = HTMLElement>(id: string): T {
  return document.getElementById(id) as unknown as T;
}

type Child = Node | string | null;

/** `h("span", {class: "dot"}, "text")`. */
export function h<K extends keyof HTMLElementTagNameMap>(
  name: K, attributes: Readonly<Record<string, string | boolean>> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  setAttributes(made, attributes);
  for (const child of children) if (child !== null) made.append(child);
  return made;
}

export function svg(name: string, attributes: Readonly<Record<string, string>> = {}, ...children: Node[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  setAttributes(made, attributes);
  made.append(...children);
  return made;
}

function setAttributes(target: Element, attributes: Readonly<Record<string, string | boolean>>): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) target.setAttribute(name, "");
    else if (value !== false) target.setAttribute(name, value);
  }
}

/** Only a change is written: a live region would be read out again, and layout done again. */
export function text(target: Element, value: string): void {
  if (target.textContent !== value) target.textContent = value;
}

export function attribute(target: Element, name: string, value: string | null): void {
  if (value === null) {
    if (target.hasAttribute(name)) target.removeAttribute(name);
  } else if (target.getAttribute(name) !== value) target.setAttribute(name, value);
}

/**
 * The children of an element as a list of items, each with a key. An item that is equal to what its row shows already is
 * not touched; rows move only when their order changes.
 */
export class Rows<T> {
  readonly #rows = new Map<string, { node: HTMLElement; shown: string; update: (item: T) => void }>();

  constructor(
    private readonly parent: Element,
    private readonly keyOf: (item: T) => string,
    private readonly make: (item: T) => { node: HTMLElement; update: (item: T) => void },
  ) {}

  show(items: readonly T[]): void {
    // Two with one key would be one row in two places.
    const wanted = new Map(items.map((item) => [this.keyOf(item), item]));
    for (const [key, { node }] of this.#rows) {
      if (wanted.has(key)) continue;
      node.remove();
      this.#rows.delete(key);
    }
    let place = this.parent.firstElementChild;
    for (const [key, item] of wanted) {
      let row = this.#rows.get(key);
      if (row === undefined) {
        row = { ...this.make(item), shown: "" };
        this.#rows.set(key, row);
      }
      const shown = JSON.stringify(item);
      if (row.shown !== shown) {
        row.update(item);
        row.shown = shown;
      }
      if (row.node === place) place = place.nextElementSibling;
      else this.parent.insertBefore(row.node, place);
    }
  }
}
