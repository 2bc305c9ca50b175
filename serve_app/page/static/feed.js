// The feed: server-sent events, read by hand because a token travels in a header, which EventSource cannot send.

const SILENT_MS = 15000;
const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 10000;

export class NeedsToken extends Error {}

// Asks for something of the door; `detail` of its answer is the error's text.
export async function ask(path, parameters, token, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`, {
    ...options, headers, cache: "no-store", credentials: "omit", redirect: "error",
  });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const detail = typeof said.detail === "string" ? said.detail : `the door answered ${answer.status}`;
  throw answer.status === 401 ? new NeedsToken(detail) : new Error(detail);
}

// Cuts a stream of text into events.
export class Events {
  constructor() { this.rest = ""; }

  *feed(text) {
    const blocks = (this.rest + text).split("\n\n");
    this.rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => {
        const at = line.indexOf(": ");
        return [line.slice(0, at), line.slice(at + 2)];
      }));
      if (fields.event && fields.data) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

const pause = (milliseconds, signal) => new Promise((done) => {
  const timer = setTimeout(done, milliseconds);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
});

// Watches a cluster until it is stopped; calls `on.event(name, document)`, `on.state(word, text)`, `on.token(text)`.
export class Watch {
  constructor(parameters, token, on) {
    this.stopper = new AbortController();
    this.run(parameters, token, on);
  }

  stop() { this.stopper.abort(); }

  async run(parameters, token, on) {
    const { signal } = this.stopper;
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      try {
        await this.read(parameters, token, on, () => { pauseMs = FIRST_PAUSE_MS; });
        continue; // an answer ends by itself after a while; the next one follows at once
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof NeedsToken) { on.token(token ? error.message : ""); return; }
        on.state("lost", `${error.message || "the door cannot be reached"}; trying again`);
      }
      await pause(pauseMs, signal);
      pauseMs = Math.min(2 * pauseMs, LAST_PAUSE_MS);
    }
  }

  async read(parameters, token, on, worked) {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENT_MS);
    try {
      const signal = AbortSignal.any([this.stopper.signal, silence.signal]);
      const answer = await ask("page/feed", parameters, token, { signal });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const events = new Events();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENT_MS);
        for (const [name, document] of events.feed(value)) { worked(); on.event(name, document); }
      }
    } catch (error) {
      if (silence.signal.aborted) throw new Error("nothing has come for a while");
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}
