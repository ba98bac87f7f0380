// The list of songs: how far each is, who works on it, and what can be done with it.

import { announce, byId, bytes, clock, el, say } from "./dom.js";
import { STALE, ask, askOrStale } from "./net.js";
import { panel } from "./panel.js";

const PAGE = 50;
const WORDS = {
  UPLOADED: "waiting", SPLITTING: "splitting", SPLIT: "ready", FAILED: "failed", CANCELLED: "cancelled",
};
const isOpen = (status) => status === "UPLOADED" || status === "SPLITTING";

const cards = new Map();
let next = null;

/**
 * Reads what is there now. Cards that stay keep what is open and playing in them. Returns whether this
 * is only what the node knew last.
 */
export async function reload() {
  let stale = false;
  const read = (path) => askOrStale(path, () => { stale = true; });
  const data = await read(`/songs/?limit=${PAGE}`);
  const here = new Set(data.songs.map((song) => song.id));
  const oldest = data.songs.at(-1)?.id ?? 0;
  for (const [id, card] of cards) {
    // Older pages stay; within this page, what is not in it is gone.
    if ((id >= oldest || data.next === null) && !here.has(id)) remove(id, card);
  }
  data.songs.forEach(show);
  if (next === null || cards.size <= data.songs.length) next = data.next;
  finish();
  const told = (song) => isOpen(song.status) || song.status === "FAILED";
  await Promise.all(data.songs.filter(told).map(async (song) => {
    showJob((await read(`/jobs/${song.job_id}`)).job);
  }));
  return stale;
}

async function more() {
  const button = byId("more");
  button.disabled = true;
  try {
    const data = await askOrStale(`/songs/?limit=${PAGE}&before=${next}`, () => announce(STALE));
    data.songs.forEach(show);
    next = data.next;
  } catch (problem) {
    announce(problem.message);
  }
  button.disabled = false;
  finish();
}

export function start() {
  byId("more").addEventListener("click", more);
}

function finish() {
  byId("none").hidden = cards.size > 0;
  byId("more").hidden = next === null;
}

/** Shows a song as it is now. */
export function show(song) {
  let card = cards.get(song.id);
  if (!card) {
    card = new Card(song);
    cards.set(song.id, card);
    const list = byId("songs");
    const after = [...list.children].find((other) => Number(other.dataset.id) < song.id);
    list.insertBefore(card.element, after ?? null);
  } else if (song.status === "SPLIT" && card.song.status !== "SPLIT") {
    announce(`${song.title} is split.`);
  }
  card.update(song);
  finish();
}

/** Shows how far a job is, at every song that has it. */
export function showJob(job) {
  for (const card of cards.values()) if (card.song.job_id === job.id) card.updateJob(job);
}

export function showRemoved({ id }) {
  const card = cards.get(id);
  if (card) remove(id, card);
  finish();
}

function remove(id, card) {
  card.close();
  card.element.remove();
  cards.delete(id);
}

const OUTCOMES = {
  failed: "failed", expired: "was given up", handed_back: "was handed back", withdrawn: "did not count", done: "was done",
  running: "is running",
};

/** Every attempt at the tasks that failed, in words. */
function tried(job) {
  const failed = (job?.tasks ?? []).filter((task) => task.failures > 0);
  return failed.flatMap((task) => task.attempts.map((attempt) => {
    const what = task.kind === "merge" ? "Putting the stems together" : `Part ${task.index + 1}`;
    const when = new Date(attempt.started).toLocaleTimeString();
    const lasted = attempt.ended === null ? "" : ` after ${((attempt.ended - attempt.started) / 1000).toFixed(1)} s`;
    const why = attempt.error ? `: ${attempt.error}` : "";
    return `${what} by node ${attempt.node} at ${when} ${OUTCOMES[attempt.outcome] ?? attempt.outcome}${lasted}${why}`;
  }));
}

/** What musicians ask first, as far as it was found and is likely. */
function facts(found) {
  const sure = 0.3;
  const words = [];
  if (found?.tempo && found.tempo_confidence >= sure) words.push(`${Math.round(found.tempo)} BPM`);
  if (found?.key && found.key_confidence >= sure) words.push(found.key);
  if (typeof found?.loudness === "number") words.push(`${found.loudness.toFixed(1)} LUFS`);
  return words;
}

class Card {
  constructor(song) {
    this.song = song;
    this.job = null;
    this.panel = null;
    this.title = el("h3", { id: `song-${song.id}` });
    this.credits = el("p", { class: "quiet", hidden: true });
    this.cover = el("img", { class: "cover", alt: "", width: 48, height: 48, loading: "lazy", hidden: true });
    this.about = el("p", { class: "quiet" });
    this.status = el("span", { class: "status" });
    this.open = el("button", {
      class: "button primary", type: "button", "aria-expanded": "false", onclick: () => this.toggle(),
    });
    this.again = el("button", { class: "button", type: "button", onclick: () => this.change("retry") }, "Try again");
    this.cancel = el("button", { class: "button", type: "button", onclick: () => this.change("cancel") }, "Stop");
    this.delete = el("button", { class: "button", type: "button", onclick: () => this.confirm() }, "Delete");
    this.problem = el("p", { class: "bad quiet", role: "alert", hidden: true });
    this.attempts = el("ol", { class: "quiet" });
    this.why = el("details", { hidden: true }, el("summary", { class: "quiet" }, "What was tried"), this.attempts);
    this.progress = el("progress", { max: 1, value: 0 });
    this.count = el("span");
    this.who = el("span", { class: "quiet" });
    this.tasks = el("ol", { class: "tasks", "aria-label": "Tasks" });
    this.work = el("div", { class: "work", hidden: true },
      el("div", { class: "work-line" }, this.count, this.who), this.progress, this.tasks);
    this.element = el("article", { class: "song", "aria-labelledby": this.title.id },
      el("div", { class: "song-head" },
        this.cover,
        el("div", { class: "song-name" }, this.title, this.credits, this.about),
        el("div", { class: "row" }, this.status, this.open, this.again, this.cancel, this.delete)),
      this.problem, this.why, this.work);
    this.element.dataset.id = song.id;
  }

  update(song) {
    this.song = song;
    say(this.title, song.title);
    const credits = [song.artist, song.album].filter(Boolean).join(", ");
    say(this.credits, credits);
    this.credits.hidden = credits === "";
    this.cover.hidden = !song.cover;
    if (song.cover && this.cover.getAttribute("src") !== song.cover) this.cover.src = song.cover;
    const when = new Date(song.added_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    say(this.about, [clock(song.seconds), ...facts(song.facts), song.format.toUpperCase(), bytes(song.size), when].join(" · "));
    this.status.className = `status ${song.status}`;
    say(this.status, WORDS[song.status] ?? song.status.toLowerCase());
    this.open.hidden = song.status !== "SPLIT";
    this.again.hidden = song.status !== "FAILED" && song.status !== "CANCELLED";
    this.cancel.hidden = !isOpen(song.status);
    this.delete.setAttribute("aria-label", `Delete ${song.title}`);
    if (song.status === "FAILED") this.say(`It could not be split: ${song.error ?? "the reason is not known"}.`);
    else this.say("");
    if (song.status !== "SPLIT") this.close();
    this.drawWork();
    this.drawTried();
    this.drawOpen();
  }

  updateJob(job) {
    this.job = job;
    this.drawWork();
    this.drawTried();
  }

  drawTried() {
    const job = this.job?.id === this.song.job_id ? this.job : null;
    const lines = this.song.status === "FAILED" ? tried(job) : [];
    this.why.hidden = lines.length === 0;
    if (this.why.hidden || this.why.dataset.key === lines.join("\n")) return;
    this.why.dataset.key = lines.join("\n");
    this.attempts.replaceChildren(...lines.map((line) => el("li", {}, line)));
  }

  drawWork() {
    this.work.hidden = !isOpen(this.song.status);
    if (this.work.hidden) return;
    const job = this.job?.id === this.song.job_id ? this.job : null;
    const done = job?.tasks_done ?? this.song.tasks_done;
    const total = job?.tasks_total ?? this.song.tasks_total;
    say(this.count, `${done} of ${total} tasks done`);
    this.progress.max = Math.max(total, 1);
    this.progress.value = done;
    this.progress.setAttribute("aria-label", `${done} of ${total} tasks done`);
    const tasks = job?.tasks ?? [];
    const nodes = new Map();
    for (const task of tasks) {
      if (task.state === "running") nodes.set(task.node, [...(nodes.get(task.node) ?? []), task]);
    }
    const name = (task) => (task.kind === "merge" ? "puts the stems together" : `separates part ${task.index + 1}`);
    const said = [...nodes].sort(([a], [b]) => a - b)
      .map(([node, running]) => `node ${node} ${running.map(name).join(" and ")}`);
    const urgent = job && job.priority !== "normal" ? `${job.priority} priority, ` : "";
    say(this.who, urgent + (said.length ? said.join(", ") : "waiting for a node to take a task"));
    this.drawTasks(tasks);
  }

  drawTasks(tasks) {
    while (this.tasks.children.length > tasks.length) this.tasks.lastElementChild.remove();
    tasks.forEach((task, place) => {
      const cell = this.tasks.children[place] ?? this.tasks.appendChild(el("li"));
      const node = task.node === null ? "" : ` by node ${task.node}`;
      const what = task.kind === "merge" ? "Putting the stems together" : `Part ${task.index + 1}`;
      const failed = task.failures ? `, failed ${task.failures} times` : "";
      if (cell.className !== task.state) cell.className = task.state;
      const words = `${what}: ${task.state}${node}${failed}`;
      if (cell.title !== words) {
        cell.title = words;
        cell.setAttribute("aria-label", words);
      }
      say(cell, task.node === null ? "·" : String(task.node));
    });
  }

  toggle() {
    if (this.panel) {
      this.close();
    } else {
      this.panel = panel(this.song);
      this.element.append(this.panel.element);
    }
    this.drawOpen();
  }

  drawOpen() {
    const isOpen = this.panel !== null;
    say(this.open, isOpen ? "Close" : "Listen");
    this.open.setAttribute("aria-expanded", String(isOpen));
    this.open.setAttribute("aria-label", `${isOpen ? "Close" : "Listen to"} ${this.song.title}`);
  }

  close() {
    this.panel?.close();
    this.panel?.element.remove();
    this.panel = null;
    this.drawOpen();
  }

  say(problem) {
    say(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  async change(what) {
    try {
      const data = await ask(`/jobs/${this.song.job_id}/${what}`, { method: "POST" });
      this.updateJob(data.job);
      show((await ask(`/songs/${this.song.id}`)).song);
    } catch (problem) {
      this.say(problem.message);
    }
  }

  confirm() {
    const dialog = byId("confirm");
    say(byId("confirm-question"), `Delete “${this.song.title}” and its stems, on all nodes?`);
    dialog.returnValue = "no";
    dialog.addEventListener("close", async () => {
      if (dialog.returnValue !== "yes") return;
      this.delete.disabled = true;
      try {
        await ask(`/songs/${this.song.id}`, { method: "DELETE" });
        announce(`${this.song.title} was deleted.`);
        showRemoved(this.song);
        byId("songs").focus();
      } catch (problem) {
        this.delete.disabled = false;
        this.say(problem.message);
      }
    }, { once: true });
    dialog.showModal();
  }
}
