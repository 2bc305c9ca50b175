// A table whose rows stay in place while their figures change, so that whoever reads or tabs through it is not thrown off.

import { element, say } from "./text.js";

export class Table {
  // columns: {label, number, cell(row, td)}; cell returns text, or puts something into the td itself and returns nothing.
  constructor(table, columns, { nothing = "Nothing yet." } = {}) {
    this.columns = columns;
    this.body = table.tBodies[0];
    this.rows = new Map();
    this.nothing = nothing;
    table.tHead.rows[0].append(...columns.map((column) => element(
      "th", { scope: "col", role: "columnheader", class: column.number ? "number" : "" }, column.label)));
  }

  show(records, keyOf, mark = () => "") {
    const kept = new Set();
    records.forEach((record, index) => {
      const key = keyOf(record);
      kept.add(key);
      const row = this.rows.get(key) ?? this.make(key);
      row.className = mark(record);
      this.columns.forEach((column, at) => {
        const text = column.cell(record, row.cells[at]);
        if (text !== undefined) say(row.cells[at], text);
      });
      if (this.body.rows[index] !== row) this.body.insertBefore(row, this.body.rows[index] ?? null);
    });
    for (const [key, row] of this.rows) {
      if (!kept.has(key)) { row.remove(); this.rows.delete(key); }
    }
    this.empty?.remove();
    if (!records.length) {
      this.empty = element("tr", { role: "row" }, element(
        "td", { role: "cell", colspan: this.columns.length, class: "quiet" }, this.nothing));
      this.body.append(this.empty);
    }
  }

  make(key) {
    const row = element("tr", { role: "row" }, ...this.columns.map((column) => element(
      "td", { role: "cell", "data-label": column.label, class: column.number ? "number" : "" })));
    this.rows.set(key, row);
    return row;
  }
}
