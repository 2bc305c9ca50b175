// The figures of a tick: sums, shards, hot keys, functions.

import { Table } from "./table.js";
import { at, bytes, count, element, micros, rate, say, share, span, waiting } from "./text.js";

const TOTALS = [
  ["Memory", (t) => `${bytes(t.used_bytes)} of ${bytes(t.capacity_bytes)}`],
  ["Entries", (t) => count(t.entries)],
  ["Operations/s", (t) => rate(t.ops)],
  ["Hit ratio, now", (t) => share(t.hit_ratio_now)],
  ["Hit ratio, since start", (t) => share(t.hit_ratio)],
  ["p50, slowest shard", (t) => micros(t.p50_us)],
  ["p99, slowest shard", (t) => micros(t.p99_us)],
  ["Replication lag", (t) => span(t.lag_s)],
  ["Loss window", (t) => waiting(t.loss)],
];

function stateOf(shard) {
  const remarks = [shard.answers || shard.state !== "up" ? shard.state : "silent"];
  if (!shard.has_lease) remarks.push("no lease");
  if (shard.is_draining) remarks.push("draining");
  if (shard.restarts) remarks.push(`${shard.restarts} restarts`);
  return remarks.join(", ");
}

function memory(shard, cell) {
  if (!cell.firstChild) cell.append(element("meter", { min: "0", max: "1" }), element("span"));
  const [meter, text] = cell.children;
  const used = shard.capacity_bytes ? shard.used_bytes / shard.capacity_bytes : 0;
  meter.setAttribute("value", used.toFixed(3));
  meter.setAttribute("aria-label", `memory of ${shard.id}: ${share(used)}`);
  say(text, ` ${bytes(shard.used_bytes)} of ${bytes(shard.capacity_bytes)}`);
}

// A cell with a button: made once, so that it keeps the focus.
function button(text, label, act) {
  return (record, cell) => {
    if (!cell.firstChild) {
      cell.append(element("button", { type: "button" }));
      cell.firstChild.addEventListener("click", () => act(record));
    }
    say(cell.firstChild, text(record));
    cell.firstChild.setAttribute("aria-label", label(record));
  };
}

export class Figures {
  constructor({ chooseShard, explain }) {
    this.totals = TOTALS.map(([label, text]) => {
      const figure = element("dd", {}, "–");
      at("totals").append(element("div", {}, element("dt", {}, label), figure));
      return [figure, text];
    });
    this.shards = new Table(at("shards"), [
      { label: "Shard", cell: button((s) => s.id, (s) => `show ${s.id} on the ring`, (s) => chooseShard(s.id)) },
      { label: "State", cell: stateOf },
      { label: "Machine", cell: (s) => s.machine },
      { label: "Zone", cell: (s) => s.zone || "–" },
      { label: "Slots", number: true, cell: (s) => `${count(s.slots)}${s.replica_slots ? ` + ${count(s.replica_slots)}` : ""}` },
      { label: "Memory", cell: memory },
      { label: "Entries", number: true, cell: (s) => count(s.entries) },
      { label: "Ops/s", number: true, cell: (s) => rate(s.ops) },
      { label: "Hit ratio", number: true, cell: (s) => share(s.hit_ratio_now ?? s.hit_ratio) },
      { label: "p50", number: true, cell: (s) => micros(s.p50_us) },
      { label: "p99", number: true, cell: (s) => micros(s.p99_us) },
      { label: "Lag", number: true, cell: (s) => waiting(s.lag) },
      { label: "Loss window", number: true, cell: (s) => waiting(s.loss) },
    ]);
    this.hot = new Table(at("hot"), [
      { label: "Key", cell: button((k) => k.key + (k.is_cut ? " …" : ""), (k) => `explain ${k.key}`, explain) },
      { label: "Shard", cell: (k) => k.shard },
      { label: "Share", number: true, cell: (k) => `${share(k.share)} ± ${share(k.error)}` },
      { label: "About/s", number: true, cell: (k) => rate(k.per_s) },
    ], { nothing: "No key stands out." });
    this.functions = new Table(at("functions"), [
      { label: "Function", cell: (f) => f.name },
      { label: "Calls", number: true, cell: (f) => count(f.calls) },
      { label: "Hit ratio", number: true, cell: (f) => share(f.hit_ratio) },
      { label: "Saved", number: true, cell: (f) => span(f.saved_s) },
      { label: "Failed", number: true, cell: (f) => count(f.failures) },
    ], { nothing: "No decorated function has told of itself." });
  }

  show(tick) {
    for (const [figure, text] of this.totals) say(figure, text(tick.totals));
    const copies = tick.copies > 1 ? `${tick.copies} copies (${tick.replication})` : "one copy";
    say(at("summary"), `${tick.serving ? "Serving" : "NOT SERVING"}, ${copies}, policy ${tick.policy}, `
      + `gateways: ${tick.gateways.join(", ") || "none"}.`);
    this.shards.show(tick.shards, (s) => s.id, (s) => (s.state === "up" && s.answers ? "" : "trouble-row"));
    this.hot.show(tick.hot, (k) => `${k.shard} ${k.key64}`);
    this.functions.show(tick.functions, (f) => f.name);
    const list = at("warnings");
    const known = [...list.children].map((one) => one.textContent).join("\n");
    if (known !== tick.warnings.join("\n")) list.replaceChildren(...tick.warnings.map((text) => element("li", {}, text)));
    list.hidden = !tick.warnings.length;
  }
}
