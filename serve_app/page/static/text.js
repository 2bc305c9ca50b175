// Figures as words, and the few ways in which this page makes elements. Whatever comes from outside becomes text nodes.

const whole = new Intl.NumberFormat("en");

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(Math.round(value)));

export function rate(value) {
  if (value === null || value === undefined) return "–";
  return value < 10 ? value.toFixed(1) : whole.format(Math.round(value));
}

export const share = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`);

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return `${at && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

export function micros(value) {
  if (value === null || value === undefined) return "–";
  return value < 1000 ? `${Math.round(value)} µs` : `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} ms`;
}

export function span(seconds) {
  if (seconds < 0.0005) return "0";
  if (seconds < 1) return `${Math.round(1000 * seconds)} ms`;
  for (const [limit, unit, name] of [[120, 1, "s"], [7200, 60, "min"], [172800, 3600, "h"]]) {
    if (seconds < limit) return `${(seconds / unit).toFixed(seconds / unit < 10 ? 1 : 0)} ${name}`;
  }
  return `${(seconds / 86400).toFixed(1)} d`;
}

// What waits on its way to copies: how many writes, how large, how old.
export const waiting = (one) => (one.mutations ? `${count(one.mutations)} (${bytes(one.bytes)}, ${span(one.age_s)})` : "0");

export const at = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Colours that stand apart, of a middle lightness that is readable on white and on black. No colour says anything alone.
export const colour = (index) => (index < 0 ? "gray" : `hsl(${Math.round((index * 137.508 + 210) % 360)} 62% 52%)`);
