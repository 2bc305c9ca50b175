// Changes that an operator wants. The secret is asked for each time, sent in a header, and forgotten.

import { ask } from "./feed.js";
import { at, element, say } from "./text.js";

export class Admin {
  constructor(parameters) {
    this.parameters = parameters;
    this.dialog = at("confirm");
    at("scale-form").addEventListener("submit", (event) => this.wish(event, () => {
      const shards = at("scale-to").valueAsNumber;
      return [`Scale to ${shards} shards?`, "scale", { shards }];
    }));
    at("drain-form").addEventListener("submit", (event) => this.wish(event, () => {
      const target = at("drain-target").value;
      const undo = event.submitter?.value === "undo";
      return [undo ? `Let ${target} have slots again?` : `Drain ${target}?`, "drain", { target, undo }];
    }));
    at("cancel-form").addEventListener("submit", (event) => this.wish(event, () => [
      "Go back to how it was before the change under way?", "cancel", {}]));
    at("confirm-no").addEventListener("click", () => this.close());
    this.dialog.addEventListener("close", () => { at("admin-secret").value = ""; });
    this.dialog.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
  }

  show(tick) {
    const select = at("drain-target");
    const ids = tick.shards.map((shard) => shard.id);
    if ([...select.options].map((option) => option.value).join() !== ids.join()) {
      const { value } = select;
      select.replaceChildren(...ids.map((id) => element("option", { value: id }, id)));
      if (ids.includes(value)) select.value = value;
    }
    if (!at("scale-to").value && document.activeElement !== at("scale-to")) at("scale-to").value = ids.length;
  }

  wish(event, read) {
    event.preventDefault();
    const [question, action, wish] = read();
    this.wanted = { action, wish };
    say(at("confirm-text"), question);
    say(at("confirm-trouble"), "");
    this.dialog.showModal();
    at("admin-secret").focus();
  }

  async send() {
    const secret = at("admin-secret").value;
    at("admin-secret").value = "";
    const { action, wish } = this.wanted;
    try {
      await ask(`page/admin/${action}`, this.parameters(), secret, {
        method: "POST", body: JSON.stringify(wish), headers: { "Content-Type": "application/json" } });
      this.close();
      say(at("admin-result"), "It has begun; what happens is shown on this page.");
    } catch (error) {
      say(at("confirm-trouble"), error.message);
      at("admin-secret").focus();
    }
  }

  close() { this.dialog.close(); }
}
