// The list of jobs: what the nodes do, did and could not do.

import { confirm } from "./dialog.js";
import { announce, el, say, settled, span, when } from "./dom.js";
import { STALE, collect, tell } from "./net.js";
import { ALL, stemsOf } from "./parts.js";
import { setQuery } from "./router.js";

export const title = "Jobs";

const PAGE = 30;
const STATES = [
  ["", "All"], ["pending", "Waiting"], ["running", "Running"], ["done", "Done"], ["failed", "Failed"],
  ["cancelled", "Cancelled"],
];
export const WORDS = { pending: "waiting", running: "running", done: "done", failed: "failed", cancelled: "cancelled" };

/** A job's state in a word. The queue does not tell a song that waits for an outside worker from one that has been taken. */
export const wordOf = (job) =>
  job.state === "pending" && job.workers === "outside" ? "outside" : WORDS[job.state] ?? job.state;

export const hasEnded = (job) => job.state !== "pending" && job.state !== "running";

/** What people know a job by: the song that it is for, or the first of several. */
export function nameOf(job) {
  const [first, ...others] = job.songs ?? [];
  if (!first) return `Job ${job.id}`;
  return others.length ? `${first.title} and ${others.length} more` : first.title;
}

/** Stops a job or tries it again. Returns the job that then has the song, or null when it was not done after all. */
export async function change(job, what) {
  const question = `Stop splitting “${nameOf(job)}”? What is done so far stays for when it is tried again.`;
  if (what === "cancel" && !await confirm(question, "Stop it", "Go on")) return null;
  const data = await tell("POST", `/jobs/${job.id}/${what}`);
  announce(what === "cancel" ? `${nameOf(job)} was stopped.` : `${nameOf(job)} is tried again.`);
  return data.job;
}

export function open(main, { query }) {
  return new Jobs(main, query);
}

class Jobs {
  constructor(main, query) {
    this.asked = query;
    this.items = new Map();
    this.cursor = null;
    this.newest = 0;
    this.request = null;
    this.soon = settled(400, () => this.reload().catch(() => {}));
    this.typed = settled(250, () => this.search({ q: this.input.value.trim() }));
    this.on = { job: (job) => this.show(job) };
    this.input = el("input", {
      type: "search", placeholder: "Search: a title, node:2, after:2026-01-31…", "aria-label": "Search jobs", autocomplete: "off",
      value: query.q ?? "", oninput: () => this.typed(),
    });
    this.filters = STATES.map(([state, words]) => el("button", {
      class: "button", type: "button", onclick: () => this.search({ state }),
    }, words));
    this.problem = el("p", { class: "bad", role: "alert", hidden: true });
    this.list = el("ul", { class: "jobs", "aria-label": "Jobs" });
    this.none = el("p", { class: "empty", role: "status" }, "Reading the jobs…");
    this.more = el("button", { class: "button", type: "button", hidden: true, onclick: () => this.readMore() }, "Show older jobs");
    main.replaceChildren(
      el("div", { class: "head" }, el("h1", {}, "Jobs"), el("a", { class: "button", href: "#statistics" }, "Statistics")),
      el("div", { class: "toolbar", role: "search" }, this.input,
        el("div", { class: "row", role: "group", "aria-label": "State" }, ...this.filters)),
      this.problem, this.list, this.none, this.more);
    this.drawControls();
  }

  focusSearch() {
    this.input.focus();
  }

  search(change) {
    this.typed.stop();
    this.asked = Object.fromEntries(Object.entries({ ...this.asked, ...change }).filter(([, value]) => value));
    setQuery(this.asked);
    this.drawControls();
    this.reload({ anew: true }).catch((problem) => this.say(problem.message));
  }

  drawControls() {
    const now = this.asked.state ?? "";
    STATES.forEach(([state], place) => this.filters[place].setAttribute("aria-pressed", String(now === state)));
  }

  path(cursor = null) {
    const { state, q } = this.asked;
    const query = new URLSearchParams({ limit: PAGE });
    const all = [state ? `state:${state}` : "", q].filter(Boolean).join(" ");
    if (all) query.set("q", all);
    if (cursor !== null) query.set("cursor", cursor);
    return `/jobs/?${query}`;
  }

  async reload({ anew = false } = {}) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    let stale = false;
    try {
      const wanted = anew ? PAGE : Math.max(PAGE, this.items.size);
      const options = { stale: () => { stale = true; }, signal: request.signal };
      const { items: jobs, next } = await collect("jobs", (cursor) => this.path(cursor), wanted, options);
      this.cursor = next;
      const here = new Set(jobs.map((job) => job.id));
      for (const [id, item] of this.items) {
        if (here.has(id)) continue;
        item.element.remove();
        this.items.delete(id);
      }
      jobs.forEach((job, place) => {
        const { element } = this.put(job);
        if (this.list.children[place] !== element) this.list.insertBefore(element, this.list.children[place] ?? null);
      });
      this.say("");
      this.finish();
    } catch (problem) {
      if (problem.name !== "AbortError") throw problem;
    }
    return stale;
  }

  async readMore() {
    this.more.disabled = true;
    try {
      const options = { from: this.cursor, stale: () => announce(STALE) };
      const { items: jobs, next } = await collect("jobs", (cursor) => this.path(cursor), 1, options);
      jobs.forEach((job) => this.list.append(this.put(job).element));
      this.cursor = next;
      this.finish();
    } catch (problem) {
      this.say(problem.message);
    }
    this.more.disabled = false;
  }

  put(job) {
    let item = this.items.get(job.id);
    if (!item) {
      item = new Item(this);
      this.items.set(job.id, item);
    }
    item.update(job);
    this.newest = Math.max(this.newest, job.id);
    return item;
  }

  finish() {
    this.none.hidden = this.items.size > 0;
    say(this.none, this.asked.q || this.asked.state
      ? "No job is like that."
      : "No jobs yet. Each song that is added becomes one.");
    this.more.hidden = this.cursor === null;
  }

  show(job) {
    const item = this.items.get(job.id);
    if (item) {
      const moved = item.job.state !== job.state;
      item.update(job);
      // It may belong to another filter now.
      if (moved && this.asked.state) this.soon();
    } else if (job.id > this.newest || (this.asked.state && job.state === this.asked.state)) {
      this.newest = Math.max(this.newest, job.id);
      this.soon();
    }
  }

  say(problem) {
    say(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  close() {
    this.request?.abort();
    this.soon.stop();
    this.typed.stop();
  }
}

class Item {
  constructor(page) {
    this.job = {};
    this.name = el("a", { class: "job-name" });
    this.about = el("p", { class: "quiet" });
    this.state = el("span", { class: "status" });
    this.progress = el("progress", { max: 1, value: 0 });
    this.error = el("p", { class: "bad quiet" });
    const act = (what) => async () => {
      try {
        const job = await change(this.job, what);
        if (job?.id === this.job.id) this.update(job);
        else if (job) page.soon();
      } catch (problem) {
        page.say(problem.message);
      }
    };
    this.cancel = el("button", { class: "button small", type: "button", onclick: act("cancel") }, "Stop");
    this.again = el("button", { class: "button small", type: "button", onclick: act("retry") }, "Try again");
    this.element = el("li", { class: "job" },
      el("div", { class: "job-head" }, el("div", {}, this.name, this.about),
        el("div", { class: "row end" }, this.state, this.cancel, this.again)),
      this.progress, this.error);
  }

  update(job) {
    this.job = job;
    say(this.name, nameOf(job));
    this.name.href = `#jobs/${job.id}`;
    const took = job.finished_at
      ? `took ${span(job.finished_at - (job.started_at ?? job.created_at))}`
      : `${job.tasks_done} of ${job.tasks_total} tasks done`;
    say(this.about, [`job ${job.id}`, job.model, stemsOf(job) === ALL ? null : stemsOf(job), when(job.created_at), took].filter(Boolean).join(" · "));
    this.state.className = `status ${job.state}`;
    say(this.state, wordOf(job));
    this.progress.hidden = hasEnded(job);
    this.progress.max = Math.max(job.tasks_total, 1);
    this.progress.value = job.tasks_done;
    this.progress.setAttribute("aria-label", `${nameOf(job)}: ${job.tasks_done} of ${job.tasks_total} tasks done`);
    say(this.error, job.error ?? "");
    this.error.hidden = !job.error;
    this.cancel.hidden = hasEnded(job);
    this.again.hidden = job.state !== "failed" && job.state !== "cancelled";
    this.cancel.setAttribute("aria-label", `Stop ${nameOf(job)}`);
    this.again.setAttribute("aria-label", `Try ${nameOf(job)} again`);
  }
}
