// The list of jobs, with search and filters by state.

import { confirm } from "./dialog.js";
import { announce, debounce, formatDate, formatDuration, h, setText } from "./dom.js";
import { STALE, mutate, readPages } from "./net.js";
import { setQuery } from "./router.js";
import { ALL_STEMS, stemsOf } from "./stems.js";

export const title = "Jobs";

const PAGE_SIZE = 30;
const STATES = [
  ["", "All"], ["pending", "Queued"], ["running", "Running"], ["done", "Done"], ["failed", "Failed"],
  ["cancelled", "Cancelled"],
];
export const STATE_LABELS = { pending: "queued", running: "running", done: "done", failed: "failed", cancelled: "cancelled" };

/** The label of a job's state. For external workers the queue does not report whether a worker has taken the job. */
export const stateLabel = (job) =>
  job.state === "pending" && job.workers === "outside" ? "external" : STATE_LABELS[job.state] ?? job.state;

export const isFinished = (job) => job.state !== "pending" && job.state !== "running";

/** The name of a job: its song, or the first of several. */
export function jobName(job) {
  const [first, ...others] = job.songs ?? [];
  if (!first) return `Job ${job.id}`;
  return others.length ? `${first.title} and ${others.length} more` : first.title;
}

/** Cancels or retries a job. Returns the job that is then responsible for the song, or null if the user declined. */
export async function changeJob(job, action) {
  const question = `Cancel the separation of “${jobName(job)}”? Finished tasks are kept for a retry.`;
  if (action === "cancel" && !await confirm(question, "Cancel job", "Keep running")) return null;
  const data = await mutate("POST", `/jobs/${job.id}/${action}`);
  announce(action === "cancel" ? `${jobName(job)} cancelled.` : `Retrying ${jobName(job)}.`);
  return data.job;
}

export function open(main, { query }) {
  return new Jobs(main, query);
}

class Jobs {
  constructor(main, query) {
    this.query = query;
    this.items = new Map();
    this.cursor = null;
    this.newest = 0;
    this.request = null;
    this.reloadSoon = debounce(400, () => this.reload().catch(() => {}));
    this.searchSoon = debounce(250, () => this.search({ q: this.input.value.trim() }));
    this.on = { job: (job) => this.show(job) };
    this.input = h("input", {
      type: "search", placeholder: "Search by title, node:2, after:2026-01-31…", "aria-label": "Search jobs", autocomplete: "off",
      value: query.q ?? "", oninput: () => this.searchSoon(),
    });
    this.filters = STATES.map(([state, words]) => h("button", {
      class: "button", type: "button", onclick: () => this.search({ state }),
    }, words));
    this.problem = h("p", { class: "bad", role: "alert", hidden: true });
    this.list = h("ul", { class: "jobs", "aria-label": "Jobs" });
    this.placeholder = h("p", { class: "empty", role: "status" }, "Loading jobs…");
    this.more = h("button", { class: "button", type: "button", hidden: true, onclick: () => this.readMore() }, "Load more");
    main.replaceChildren(
      h("div", { class: "head" }, h("h1", {}, "Jobs"), h("a", { class: "button", href: "#statistics" }, "Statistics")),
      h("div", { class: "toolbar", role: "search" }, this.input,
        h("div", { class: "row", role: "group", "aria-label": "State" }, ...this.filters)),
      this.problem, this.list, this.placeholder, this.more);
    this.drawControls();
  }

  focusSearch() {
    this.input.focus();
  }

  search(change) {
    this.searchSoon.stop();
    this.query = Object.fromEntries(Object.entries({ ...this.query, ...change }).filter(([, value]) => value));
    setQuery(this.query);
    this.drawControls();
    this.reload({ fromStart: true }).catch((problem) => this.showError(problem.message));
  }

  drawControls() {
    const now = this.query.state ?? "";
    STATES.forEach(([state], place) => this.filters[place].setAttribute("aria-pressed", String(now === state)));
  }

  path(cursor = null) {
    const { state, q } = this.query;
    const query = new URLSearchParams({ limit: PAGE_SIZE });
    const all = [state ? `state:${state}` : "", q].filter(Boolean).join(" ");
    if (all) query.set("q", all);
    if (cursor !== null) query.set("cursor", cursor);
    return `/jobs/?${query}`;
  }

  async reload({ fromStart = false } = {}) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    let stale = false;
    try {
      const wanted = fromStart ? PAGE_SIZE : Math.max(PAGE_SIZE, this.items.size);
      const options = { stale: () => { stale = true; }, signal: request.signal };
      const { items: jobs, next } = await readPages("jobs", (cursor) => this.path(cursor), wanted, options);
      this.cursor = next;
      const here = new Set(jobs.map((job) => job.id));
      for (const [id, item] of this.items) {
        if (here.has(id)) continue;
        item.element.remove();
        this.items.delete(id);
      }
      jobs.forEach((job, place) => {
        const { element } = this.upsert(job);
        if (this.list.children[place] !== element) this.list.insertBefore(element, this.list.children[place] ?? null);
      });
      this.showError("");
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
      const { items: jobs, next } = await readPages("jobs", (cursor) => this.path(cursor), 1, options);
      jobs.forEach((job) => this.list.append(this.upsert(job).element));
      this.cursor = next;
      this.finish();
    } catch (problem) {
      this.showError(problem.message);
    }
    this.more.disabled = false;
  }

  upsert(job) {
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
    this.placeholder.hidden = this.items.size > 0;
    setText(this.placeholder, this.query.q || this.query.state
      ? "No jobs match. Try fewer words or another state."
      : "No jobs yet. Each upload creates a job.");
    this.more.hidden = this.cursor === null;
  }

  show(job) {
    const item = this.items.get(job.id);
    if (item) {
      const moved = item.job.state !== job.state;
      item.update(job);
      // The job may no longer match the filter.
      if (moved && this.query.state) this.reloadSoon();
    } else if (job.id > this.newest || (this.query.state && job.state === this.query.state)) {
      this.newest = Math.max(this.newest, job.id);
      this.reloadSoon();
    }
  }

  showError(problem) {
    setText(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  close() {
    this.request?.abort();
    this.reloadSoon.stop();
    this.searchSoon.stop();
  }
}

class Item {
  constructor(page) {
    this.job = {};
    this.name = h("a", { class: "job-name" });
    this.about = h("p", { class: "quiet" });
    this.state = h("span", { class: "status" });
    this.progress = h("progress", { max: 1, value: 0 });
    this.error = h("p", { class: "bad quiet" });
    const run = (action) => async () => {
      try {
        const job = await changeJob(this.job, action);
        if (job?.id === this.job.id) this.update(job);
        else if (job) page.reloadSoon();
      } catch (problem) {
        page.showError(problem.message);
      }
    };
    this.cancel = h("button", { class: "button small", type: "button", onclick: run("cancel") }, "Cancel");
    this.again = h("button", { class: "button small", type: "button", onclick: run("retry") }, "Retry");
    this.element = h("li", { class: "job" },
      h("div", { class: "job-head" }, h("div", {}, this.name, this.about),
        h("div", { class: "row end" }, this.state, this.cancel, this.again)),
      this.progress, this.error);
  }

  update(job) {
    this.job = job;
    setText(this.name, jobName(job));
    this.name.href = `#jobs/${job.id}`;
    const took = job.finished_at
      ? formatDuration(job.finished_at - (job.started_at ?? job.created_at))
      : `${job.tasks_done} of ${job.tasks_total} tasks done`;
    const stems = stemsOf(job) === ALL_STEMS ? null : stemsOf(job);
    const about = [`job ${job.id}`, job.model, stems, formatDate(job.created_at), took];
    setText(this.about, about.filter(Boolean).join(" · "));
    this.state.className = `status ${job.state}`;
    setText(this.state, stateLabel(job));
    this.progress.hidden = isFinished(job);
    this.progress.max = Math.max(job.tasks_total, 1);
    this.progress.value = job.tasks_done;
    this.progress.setAttribute("aria-label", `${jobName(job)}: ${job.tasks_done} of ${job.tasks_total} tasks done`);
    setText(this.error, job.error ?? "");
    this.error.hidden = !job.error;
    this.cancel.hidden = isFinished(job);
    this.again.hidden = job.state !== "failed" && job.state !== "cancelled";
    this.cancel.setAttribute("aria-label", `Cancel ${jobName(job)}`);
    this.again.setAttribute("aria-label", `Retry ${jobName(job)}`);
  }
}
