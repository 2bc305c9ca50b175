// What happens: events as they become known, slots on their way, and the change under way.

import { at, bytes, count, element, say, span } from "./text.js";

const KEPT = 60;

const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString("en-GB");

export class Happenings {
  constructor() {
    this.list = at("events");
    this.newest = 0;
    this.epochs = 0;
  }

  // Begins anew: another cluster, or another Serve replica, which numbers what it sees by itself.
  reset() {
    this.newest = 0;
    this.list.setAttribute("aria-live", "off");
    this.list.replaceChildren();
  }

  show(tick) {
    const ids = tick.events.map((event) => event.id);
    const shown = new Set([...this.list.children].map((item) => Number(item.dataset.id)));
    if (this.newest && ids.length && !ids.some((id) => shown.has(id)) && Math.max(...ids) <= this.newest) this.reset();
    const isFirst = !this.newest;
    const news = tick.events.filter((event) => event.id > this.newest).reverse();
    for (const event of news) this.list.prepend(this.item(event));
    if (ids.length) this.newest = Math.max(this.newest, ...ids);
    while (this.list.children.length > KEPT) this.list.lastChild.remove();
    // What was there before the page was opened is not read out.
    if (!isFirst || !ids.length) this.list.setAttribute("aria-live", "polite");
    this.moving(tick);
  }

  item(event) {
    const time = element("time", { datetime: new Date(1000 * event.at).toISOString() }, clock(event.at));
    const kind = element("span", { class: `kind kind-${/^[a-z]+$/.test(event.kind) ? event.kind : "other"}` }, event.kind);
    return element("li", { "data-id": event.id }, time, kind, event.text);
  }

  moving(tick) {
    const { change, transfers } = tick;
    at("change").hidden = !change;
    if (change) say(at("change"), `${change.text}: ${count(change.slots_done)} of ${count(change.slots_total)} slots`);
    at("transfers").hidden = !transfers.length;
    at("transfers").replaceChildren(...transfers.map((one) => element("li", {},
      `${one.giver} → ${one.receiver}, ${count(one.slots)} slots: ${one.state || "not begun"}, ${count(one.entries)} entries, `
      + `${bytes(one.bytes)} in ${span(one.seconds)}${one.misses ? `, ${count(one.misses)} misses` : ""}`)));
  }
}
