// The ring: 16,384 slots as a circle, in three bands: the slots' shards, those shards' machines, and their zones.

import { at, colour, count, element, say } from "./text.js";

const BANDS = [
  { name: "Shards", of: (shard) => shard.id, inner: 82, outer: 104 },
  { name: "Machines", of: (shard) => shard.machine || "unknown", inner: 68, outer: 79 },
  { name: "Zones", of: (shard) => shard.zone || "no zone", inner: 56, outer: 65 },
];
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const point = (radius, turn) => {
  const angle = 2 * Math.PI * turn - Math.PI / 2;
  return `${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`;
};

// One piece of a band, from one part of the circle to another, both 0 to 1.
export function arc(inner, outer, from, to) {
  const end = Math.min(to, from + 0.99999); // a whole circle would begin where it ends, and be nothing
  const large = end - from > 0.5 ? 1 : 0;
  return `M${point(outer, from)}A${outer} ${outer} 0 ${large} 1 ${point(outer, end)}`
    + `L${point(inner, end)}A${inner} ${inner} 0 ${large} 0 ${point(inner, from)}Z`;
}

// Runs of slots -> for each value of `of` the pieces that it has, neighbours joined.
export function pieces(ring, of) {
  const found = new Map();
  let start = 0;
  let last = null;
  for (const [length, index] of ring.runs) {
    const name = index < 0 ? null : of(ring.shards[index]);
    if (last && last.name === name) last.end += length;
    else {
      last = { name, start, end: start + length };
      if (!found.has(name)) found.set(name, []);
      found.get(name).push(last);
    }
    start += length;
  }
  return found;
}

export class Ring {
  constructor() {
    this.canvas = at("ring");
    this.legend = at("legend");
    this.chosen = null;
    this.slot = null;
  }

  show(ring) {
    const before = this.parts ?? [];
    this.ring = ring;
    this.parts = [];
    const legend = [];
    const drawn = BANDS.map((band) => this.band(band, legend));
    const focused = before.find((part) => part.button === document.activeElement)?.key;
    this.canvas.replaceChildren(...drawn.flat());
    this.legend.replaceChildren(...legend);
    this.parts.find((part) => part.key === focused)?.button.focus(); // a new epoch must not throw anybody off
    const names = (of) => new Set(ring.shards.map(of)).size;
    const free = ring.runs.reduce((sum, [length, index]) => sum + (index < 0 ? length : 0), 0);
    say(at("ring-text"), `${count(ring.slots)} slots, ${ring.copies} ${ring.copies > 1 ? "copies" : "copy"} of each, on `
      + `${ring.shards.length} shards, ${names(BANDS[1].of)} machines and ${names(BANDS[2].of)} zones; epoch ${ring.epoch}.`
      + ` Outside the slots' primaries, inside their machines, innermost their zones.`
      + (free ? ` ${count(free)} slots are served by nobody.` : ""));
    this.choose(this.parts.some((part) => part.key === this.chosen) ? this.chosen : null);
    this.mark(this.slot);
  }

  band(band, legend) {
    const found = pieces(this.ring, band.of);
    const names = [...new Set(this.ring.shards.map(band.of))];
    const list = element("ul");
    const paths = [];
    for (const name of [...names, null]) {
      const runs = found.get(name) ?? [];
      if (name === null && !runs.length) continue;
      const slots = runs.reduce((sum, run) => sum + run.end - run.start, 0);
      const text = `${name ?? "nobody"}: ${count(slots)} slots`;
      const d = runs.map((run) => arc(band.inner, band.outer, run.start / this.ring.slots, run.end / this.ring.slots));
      const path = svg("path", { d: d.join(""), fill: colour(names.indexOf(name)) }, svg("title", {}));
      path.firstChild.textContent = text;
      if (name === null) path.setAttribute("class", "nobody");
      paths.push(path);
      const key = `${band.name} ${name}`;
      const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = colour(names.indexOf(name));
      const button = element("button", { type: "button", "aria-pressed": "false" }, swatch, text);
      button.addEventListener("click", () => this.choose(this.chosen === key ? null : key));
      path.addEventListener("click", () => button.click());
      this.parts.push({ key, path, button });
      list.append(element("li", {}, button));
    }
    legend.push(element("h3", {}, band.name), list);
    return paths;
  }

  // Highlights one shard, machine or zone.
  choose(key) {
    this.chosen = key;
    this.canvas.classList.toggle("some-chosen", key !== null);
    for (const part of this.parts) {
      part.path.classList.toggle("chosen", part.key === key);
      part.button.setAttribute("aria-pressed", String(part.key === key));
    }
  }

  chooseShard(id) { this.choose(this.chosen === `Shards ${id}` ? null : `Shards ${id}`); }

  // Shows where a slot is.
  mark(slot) {
    this.slot = slot;
    this.canvas.querySelectorAll(".mark").forEach((old) => old.remove());
    if (slot === null || !this.ring) return;
    const turn = (slot + 0.5) / this.ring.slots;
    const [x1, y1] = point(50, turn).split(" ");
    const [x2, y2] = point(109, turn).split(" ");
    this.canvas.append(svg("g", { class: "mark" }, svg("line", { class: "marker", x1, y1, x2, y2 }),
      svg("text", { x: 0, y: 2 }, `slot ${count(slot)}`)));
  }
}
