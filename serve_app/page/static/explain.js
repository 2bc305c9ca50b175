// One key: where it lives, and why it was missed last.

import { bytes, count, element, span } from "./text.js";

const WORDS = { invalidated: "invalidated", never: "never written", expired: "expired", evicted: "evicted",
  deleted: "deleted", moved: "moved" };

function row(one) {
  const { entry } = one;
  const cells = [
    ["Shard", one.shard], ["Role", one.role || "no owner"],
    ["Holds it", entry ? "yes" : "no"],
    ["Version", entry ? entry.version : "–"], ["Kind", entry ? entry.kind : "–"],
    ["Size", entry ? bytes(entry.size_bytes) : "–"], ["Charged", entry ? bytes(entry.charged_bytes) : "–"],
    ["Expires in", entry ? (entry.ttl_s === null ? "never" : span(entry.ttl_s)) : "–"],
    ["Left last", one.left ? `${one.left} ${span(one.left_s)} ago` : "–"],
  ];
  return element("tr", { role: "row" }, ...cells.map(([label, text]) => element(
    "td", { role: "cell", "data-label": label }, text)));
}

export function explanation(found) {
  const heads = ["Shard", "Role", "Holds it", "Version", "Kind", "Size", "Charged", "Expires in", "Left last"];
  const missed = found.missed ? `missed last: ${WORDS[found.missed] ?? found.missed}` : "not missed as far as is known";
  const parts = [
    element("p", {}, element("strong", { class: "key" }, found.key), ` is ${found.present ? "there" : "not there"}; `,
      element("strong", { id: "missed" }, missed)),
    element("p", {}, `${found.sentence}.`),
    element("p", { class: "quiet" }, `Slot ${count(found.slot)}, owned by ${found.owners.join(", ") || "nobody"}; `
      + `${found.copies} of ${found.owners.length} copies are there.`
      + (found.unreachable.length ? ` No answer from ${found.unreachable.join(", ")}.` : "")),
  ];
  if (found.shards.length) {
    parts.push(element("table", { role: "table", "aria-label": "What each shard knows of the key" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads.map((head) => element(
        "th", { scope: "col", role: "columnheader" }, head)))),
      element("tbody", { role: "rowgroup" }, ...found.shards.map(row))));
  }
  return parts;
}
