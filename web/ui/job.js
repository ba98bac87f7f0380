// The page of a job: progress, state history, attempts of its tasks, stems and log.

import { debounce, formatDuration, h, plural, poll, setText } from "./dom.js";
import { JobProgress, outcomeLabel, taskName } from "./job_progress.js";
import { STATE_LABELS, changeJob, isFinished, jobName, stateLabel } from "./jobs.js";
import { get, getOrStale, mutate } from "./net.js";
import { recordPlay } from "./player_bar.js";
import { separationOfJob, separationPanel } from "./separations.js";
import { formatName, stemsOf } from "./stems.js";

export const title = "Job";

const LOG_INTERVAL = 5000;
const COLUMNS = ["Task", "Attempt", "Outcome", "Node", "Started", "Duration"];
const PRIORITIES = [["high", "High"], ["normal", "Normal"], ["low", "Low"]];
const formatClock = (milliseconds) => new Date(milliseconds).toLocaleTimeString([], { timeStyle: "medium" });

const formatDateTime = (milliseconds) =>
  new Date(milliseconds).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });

export function open(main, { argument }) {
  return new Job(main, argument);
}

class Job {
  constructor(main, id) {
    this.address = `/jobs/${encodeURIComponent(id)}`;
    this.id = id;
    this.main = main;
    this.job = null;
    this.panel = null;
    // There are no events for new log lines.
    this.stopPolling = poll(LOG_INTERVAL, () => { if (this.job && !isFinished(this.job)) this.readLog(); });
    this.reloadSoon = debounce(500, () => this.reload().catch(() => {}));
    this.on = { job: (job) => this.show(job) };
    main.replaceChildren(h("p", { class: "empty", role: "status" }, "Loading job…"));
  }

  async reload() {
    let stale = false;
    try {
      this.draw((await getOrStale(this.address, () => { stale = true; })).job);
      await Promise.all([this.readLog(), this.readStems()]);
    } catch (problem) {
      if (problem.offline || problem.code === "no_majority" || this.job) throw problem;
      this.main.replaceChildren(h("div", { class: "empty" }, h("h1", {}, "Job not found"), h("p", {}, problem.message),
        h("a", { href: "#jobs" }, "All jobs")));
    }
    return stale;
  }

  build() {
    this.name = h("h1");
    this.about = h("p", { class: "quiet" });
    this.state = h("span", { class: "status" });
    this.problem = h("p", { class: "bad", role: "alert", hidden: true });
    const run = (action) => async () => {
      try {
        const job = await changeJob(this.job, action);
        if (job && String(job.id) !== this.id) location.hash = `#jobs/${job.id}`;
        else if (job) await this.reload();
      } catch (problem) {
        this.showError(problem.message);
      }
    };
    this.cancel = h("button", { class: "button", type: "button", onclick: run("cancel") }, "Cancel job");
    this.again = h("button", { class: "button", type: "button", onclick: run("retry") }, "Retry");
    this.priority = h("select", {
      id: "priority",
      onchange: async () => {
        try {
          this.draw((await mutate("PATCH", this.address, { priority: this.priority.value })).job);
          this.showError("");
        } catch (problem) {
          this.priority.value = this.job.priority;
          this.showError(problem.message);
        }
      },
    }, ...PRIORITIES.map(([value, words]) => h("option", { value }, words)));
    this.priorityField = h("p", { class: "check" }, h("label", { for: "priority" }, "Priority"), this.priority);
    this.progress = new JobProgress();
    this.history = h("ol", { class: "history" });
    this.tasks = h("tbody");
    this.stems = h("div", { class: "card job-stems", hidden: true });
    this.log = h("ol", { class: "log", tabIndex: 0, "aria-label": "Log" });
    this.logNote = h("p", { class: "quiet" });
    this.main.replaceChildren(
      h("p", { class: "crumb" }, h("a", { href: "#jobs" }, "Jobs")),
      h("div", { class: "head" }, h("div", {}, this.name, this.about),
        h("div", { class: "row" }, this.state, this.cancel, this.again)),
      this.problem,
      h("div", { class: "card" }, this.progress.element, this.priorityField),
      this.stems,
      h("h2", {}, "History"), this.history,
      h("h2", {}, "Attempts"),
      h("div", { class: "scrolls", tabIndex: 0, role: "region", "aria-label": "Attempts" },
        h("table", { class: "grid attempts" },
          h("thead", {}, h("tr", {}, ...COLUMNS.map((words) => h("th", { scope: "col" }, words)))),
          this.tasks)),
      h("h2", {}, "Log"), this.log, this.logNote);
  }

  draw(job) {
    if (!this.job) this.build();
    this.job = job = { ...this.job, ...job };
    setText(this.name, jobName(job));
    const where = job.workers === "outside" ? externalState(job) : null;
    setText(this.about, [`Job ${job.id}`, job.model, stemsOf(job), ...job.formats.map(formatName),
      `up to ${plural(job.max_attempts, "failure")} per task`, where].filter(Boolean).join(" · "));
    this.state.className = `status ${job.state}`;
    setText(this.state, stateLabel(job));
    this.cancel.hidden = isFinished(job);
    this.again.hidden = job.state !== "failed" && job.state !== "cancelled";
    this.priorityField.hidden = isFinished(job);
    if (document.activeElement !== this.priority) this.priority.value = job.priority;
    this.showError(job.error ? `Job failed: ${job.error}` : "");
    this.progress.draw(job.tasks_done, job.tasks_total, job);
    const history = job.history ?? [];
    this.history.replaceChildren(...history.map((one, place) => h("li", {},
      h("span", { class: `status ${one.state}` }, STATE_LABELS[one.state] ?? one.state), " ",
      h("span", { class: "quiet" }, formatDateTime(one.at) + stateDuration(one, history[place + 1])))));
    this.tasks.replaceChildren(...(job.tasks ?? []).flatMap(attempts));
  }

  show(job) {
    if (String(job.id) !== this.id || !this.job) return;
    this.draw(job);
    // Events carry neither the history nor the log.
    this.reloadSoon();
  }

  /** Appends new log lines and keeps existing ones, so that scrolling and text selection are not disturbed. */
  async readLog() {
    try {
      const { log } = await get(`${this.address}/log`);
      const atEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 8;
      const names = new Map((this.job.tasks ?? []).map((task) => [task.id, taskName(task)]));
      const lines = log.map((line) => {
        const task = names.get(line.task) ?? line.task;
        const words = `${formatClock(line.at)} node ${line.node} · ${task}, attempt ${line.attempt} `;
        return { ...line, words, key: `${words}${line.level}${line.message}` };
      });
      lines.forEach((line, place) => {
        const now = this.log.children[place];
        if (now?.dataset.key === line.key) return;
        const item = h("li", { class: line.level }, h("span", { class: "quiet" }, line.words), line.message);
        item.dataset.key = line.key;
        if (now) now.replaceWith(item);
        else this.log.append(item);
      });
      while (this.log.children.length > lines.length) this.log.lastElementChild.remove();
      this.log.hidden = log.length === 0;
      setText(this.logNote, log.length ? "" : "No log lines.");
      // Follow the end of the log while the job runs and the user has not scrolled up.
      if (atEnd && !isFinished(this.job)) this.log.scrollTop = this.log.scrollHeight;
    } catch (problem) {
      setText(this.logNote, problem.message);
    }
  }

  /** Shows the stems of a finished job if it is still a separation of its song. */
  async readStems() {
    const [first] = this.job.songs;
    const wanted = this.job.state === "done" && first !== undefined;
    if (wanted === (this.panel !== null)) return;
    this.panel?.close();
    this.panel = null;
    this.stems.hidden = true;
    if (!wanted) return;
    try {
      const [{ song }, separation] = await Promise.all([get(`/songs/${first.id}`), separationOfJob(this.job.id, first.id)]);
      if (!separation || this.closed || this.panel) return;
      this.panel = separationPanel(song, separation, () => recordPlay(song));
      this.stems.replaceChildren(h("h2", {}, `Stems of “${song.title}”`), this.panel.element);
      this.stems.hidden = false;
    } catch (problem) {
      this.showError(problem.message);
    }
  }

  showError(problem) {
    setText(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  close() {
    this.closed = true;
    this.reloadSoon.stop();
    this.stopPolling();
    this.panel?.close();
  }
}

/** The state of a job for external workers. The queue does not report whether a worker has taken it. */
function externalState(job) {
  if (job.state === "done") return "processed by an external worker";
  return isFinished(job) ? "for an external worker" : "queued for an external worker or running there";
}

/** The duration of a past state. */
const stateDuration = (was, next) => (next ? ` · ${formatDuration(next.at - was.at)}` : "");

function attempts(task) {
  const row = (...cells) =>
    h("tr", {}, h("th", { scope: "row" }, taskName(task)), ...cells.map((words) => h("td", {}, words)));
  if (task.attempts.length === 0) return [row("", "not started", "", "", "")];
  return task.attempts.map((attempt) => row(String(attempt.number),
    attempt.error ? `${outcomeLabel(attempt)}: ${attempt.error}` : outcomeLabel(attempt),
    String(attempt.node), formatClock(attempt.started),
    attempt.ended === null ? "" : formatDuration(attempt.ended - attempt.started)));
}
