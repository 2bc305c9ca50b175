// The page put together: which cluster is watched, with which token, and who draws what comes.

import { Admin } from "./admin.js";
import { explanation } from "./explain.js";
import { ask, NeedsToken, Watch } from "./feed.js";
import { Figures } from "./figures.js";
import { Happenings } from "./happenings.js";
import { Ring } from "./ring.js";
import { at, element, say } from "./text.js";

let token = ""; // in this tab's memory and nowhere else
let cluster = new URLSearchParams(location.search).get("cluster") ?? "";
let watch = null;
let explained = 0;

const parameters = () => ({ cluster });
const ring = new Ring();
const happenings = new Happenings();
const admin = new Admin(parameters);
const figures = new Figures({ chooseShard: (id) => ring.chooseShard(id), explain: (key) => {
  at("explain-key").value = key.key;
  if (key.is_cut) at("explain-key").focus(); // only its beginning is known: the rest is to be typed
  else explain({ key64: key.key64 });
} });

function state(word, text) {
  at("state").className = word;
  say(at("state"), text);
}

function take(name, document_) {
  if (name === "ring") ring.show(document_);
  if (name === "trouble") state("lost", document_.text);
  if (name !== "tick") return;
  figures.show(document_);
  happenings.show(document_);
  admin.show(document_);
  say(document.querySelector("title"), `raycache: ${document_.cluster}`);
  state("live", `live: ${document_.cluster}`);
}

function start() {
  watch?.stop();
  watch = null;
  if (document.hidden) return; // nobody looks: nothing is asked
  watch = new Watch(parameters(), token, { event: take, state, token: wantToken });
}

function wantToken(trouble) {
  watch = null;
  state("lost", "a token is needed");
  at("token-form").hidden = false;
  say(at("token-trouble"), trouble);
  at("token").focus();
}

async function listClusters() {
  try {
    const { clusters } = await (await ask("page/clusters", {}, token)).json();
    const names = cluster && !clusters.includes(cluster) ? [cluster, ...clusters] : clusters;
    at("clusters").replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    if (!cluster && clusters.length > 1) [cluster] = clusters;
    at("clusters").value = cluster || clusters[0] || "";
    return true;
  } catch (error) {
    if (error instanceof NeedsToken) { wantToken(token ? error.message : ""); return false; }
    return true; // the feed says what is wrong, and tries again
  }
}

async function explain(which) {
  const mine = ++explained;
  const box = at("explained");
  let parts;
  let slot = null;
  try {
    const found = await (await ask("page/explain", { ...parameters(), ...which }, token)).json();
    parts = explanation(found);
    ({ slot } = found);
  } catch (error) {
    parts = [element("p", { role: "alert" }, error.message)];
  }
  if (mine !== explained) return; // another key was asked for meanwhile
  box.replaceChildren(...parts);
  ring.mark(slot);
}

at("explain-form").addEventListener("submit", (event) => {
  event.preventDefault();
  explain({ key: at("explain-key").value });
});
at("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = at("token").value;
  at("token").value = "";
  at("token-form").hidden = true;
  if (await listClusters()) start();
});
at("clusters").addEventListener("change", () => {
  cluster = at("clusters").value;
  happenings.reset();
  at("explained").replaceChildren();
  ring.mark(null);
  start();
});
document.addEventListener("visibilitychange", start);

if (await listClusters()) start();
