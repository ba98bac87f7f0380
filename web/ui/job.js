// One job: how far it is, what became of it and when, every attempt at its tasks, and what the workers wrote.

import { heard as noteHeard } from "./bar.js";
import { el, nowAndAgain, say, settled, span } from "./dom.js";
import { WORDS, change, hasEnded, nameOf, wordOf } from "./jobs.js";
import { ask, askOrStale, tell } from "./net.js";
import { formatName, stemsOf } from "./parts.js";
import { heard, separationBy } from "./separations.js";
import { Work, outcome, taskName } from "./work.js";

export const title = "Job";

const LOG_EVERY = 5000;
const COLUMNS = ["Task", "Attempt", "How it ended", "Node", "Began", "Took"];
const PRIORITIES = [["high", "high"], ["normal", "normal"], ["low", "low"]];
const time = (milliseconds) => new Date(milliseconds).toLocaleTimeString([], { timeStyle: "medium" });

const moment = (milliseconds) => new Date(milliseconds).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });

export function open(main, { argument }) {
  return new Page(main, argument);
}

class Page {
  constructor(main, id) {
    this.address = `/jobs/${encodeURIComponent(id)}`;
    this.id = id;
    this.main = main;
    this.job = null;
    this.panel = null;
    // Workers write without an event.
    this.stopLooking = nowAndAgain(LOG_EVERY, () => { if (this.job && !hasEnded(this.job)) this.readLog(); });
    this.soon = settled(500, () => this.reload().catch(() => {}));
    this.on = { job: (job) => this.show(job) };
    main.replaceChildren(el("p", { class: "empty", role: "status" }, "Reading the job…"));
  }

  async reload() {
    let stale = false;
    try {
      this.draw((await askOrStale(this.address, () => { stale = true; })).job);
      await Promise.all([this.readLog(), this.readStems()]);
    } catch (problem) {
      if (problem.away || problem.code === "no_majority" || this.job) throw problem;
      this.main.replaceChildren(el("div", { class: "empty" }, el("h1", {}, "Nothing here"), el("p", {}, problem.message),
        el("a", { href: "#jobs" }, "All jobs")));
    }
    return stale;
  }

  build() {
    this.name = el("h1");
    this.about = el("p", { class: "quiet" });
    this.state = el("span", { class: "status" });
    this.problem = el("p", { class: "bad", role: "alert", hidden: true });
    const act = (what) => async () => {
      try {
        const job = await change(this.job, what);
        if (job && String(job.id) !== this.id) location.hash = `#jobs/${job.id}`;
        else if (job) await this.reload();
      } catch (problem) {
        this.say(problem.message);
      }
    };
    this.cancel = el("button", { class: "button", type: "button", onclick: act("cancel") }, "Stop");
    this.again = el("button", { class: "button", type: "button", onclick: act("retry") }, "Try again");
    this.priority = el("select", {
      id: "priority",
      onchange: async () => {
        try {
          this.draw((await tell("PATCH", this.address, { priority: this.priority.value })).job);
          this.say("");
        } catch (problem) {
          this.priority.value = this.job.priority;
          this.say(problem.message);
        }
      },
    }, ...PRIORITIES.map(([value, words]) => el("option", { value }, words)));
    this.hurry = el("p", { class: "check" }, el("label", { for: "priority" }, "Priority"), this.priority);
    this.work = new Work();
    this.history = el("ol", { class: "history" });
    this.tasks = el("tbody");
    this.stems = el("div", { class: "card job-stems", hidden: true });
    this.log = el("ol", { class: "log", tabIndex: 0, "aria-label": "What the workers wrote" });
    this.noLog = el("p", { class: "quiet" });
    this.main.replaceChildren(
      el("p", { class: "crumb" }, el("a", { href: "#jobs" }, "Jobs")),
      el("div", { class: "head" }, el("div", {}, this.name, this.about),
        el("div", { class: "row" }, this.state, this.cancel, this.again)),
      this.problem,
      el("div", { class: "card" }, this.work.element, this.hurry),
      this.stems,
      el("h2", {}, "History"), this.history,
      el("h2", {}, "Attempts"),
      el("div", { class: "scrolls", tabIndex: 0, role: "region", "aria-label": "Attempts" }, el("table", { class: "grid attempts" },
        el("thead", {}, el("tr", {}, ...COLUMNS.map((words) => el("th", { scope: "col" }, words)))),
        this.tasks)),
      el("h2", {}, "Log"), this.log, this.noLog);
  }

  draw(job) {
    if (!this.job) this.build();
    this.job = job = { ...this.job, ...job };
    say(this.name, nameOf(job));
    const where = job.workers === "outside" ? outside(job) : null;
    say(this.about, [`Job ${job.id}`, job.model, stemsOf(job), ...job.formats.map(formatName),
      `at most ${job.max_attempts} failures a task`, where].filter(Boolean).join(" · "));
    this.state.className = `status ${job.state}`;
    say(this.state, wordOf(job));
    this.cancel.hidden = hasEnded(job);
    this.again.hidden = job.state !== "failed" && job.state !== "cancelled";
    this.hurry.hidden = hasEnded(job);
    if (document.activeElement !== this.priority) this.priority.value = job.priority;
    this.say(job.error ? `It could not be done: ${job.error}` : "");
    this.work.draw(job.tasks_done, job.tasks_total, job);
    const history = job.history ?? [];
    this.history.replaceChildren(...history.map((one, place) => el("li", {},
      el("span", { class: `status ${one.state}` }, WORDS[one.state] ?? one.state), " ",
      el("span", { class: "quiet" }, moment(one.at) + lasted(one, history[place + 1])))));
    this.tasks.replaceChildren(...(job.tasks ?? []).flatMap(attempts));
  }

  show(job) {
    if (String(job.id) !== this.id || !this.job) return;
    this.draw(job);
    // The history and the log come with an answer alone.
    this.soon();
  }

  /** The log grows at its end; what stands there stays, so that it can be read and marked meanwhile. */
  async readLog() {
    try {
      const { log } = await ask(`${this.address}/log`);
      const down = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 8;
      const names = new Map((this.job.tasks ?? []).map((task) => [task.id, taskName(task)]));
      const lines = log.map((line) => {
        const words = `${time(line.at)} node ${line.node} · ${names.get(line.task) ?? line.task}, attempt ${line.attempt} `;
        return { ...line, words, key: `${words}${line.level}${line.message}` };
      });
      lines.forEach((line, place) => {
        const now = this.log.children[place];
        if (now?.dataset.key === line.key) return;
        const item = el("li", { class: line.level }, el("span", { class: "quiet" }, line.words), line.message);
        item.dataset.key = line.key;
        if (now) now.replaceWith(item);
        else this.log.append(item);
      });
      while (this.log.children.length > lines.length) this.log.lastElementChild.remove();
      this.log.hidden = log.length === 0;
      say(this.noLog, log.length ? "" : "The workers have written nothing so far.");
      // Who reads along sees what comes; what has ended is read from its beginning.
      if (down && !hasEnded(this.job)) this.log.scrollTop = this.log.scrollHeight;
    } catch (problem) {
      say(this.noLog, problem.message);
    }
  }

  /** The stems, once they are there, if the job still stands for one of the songs. */
  async readStems() {
    const [first] = this.job.songs;
    const wanted = this.job.state === "done" && first !== undefined;
    if (wanted === (this.panel !== null)) return;
    this.panel?.close();
    this.panel = null;
    this.stems.hidden = true;
    if (!wanted) return;
    try {
      const [{ song }, separation] = await Promise.all([ask(`/songs/${first.id}`), separationBy(this.job.id, first.id)]);
      if (!separation || this.closed || this.panel) return;
      this.panel = heard(song, separation, () => noteHeard(song));
      this.stems.replaceChildren(el("h2", {}, `Stems of “${song.title}”`), this.panel.element);
      this.stems.hidden = false;
    } catch (problem) {
      this.say(problem.message);
    }
  }

  say(problem) {
    say(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  close() {
    this.closed = true;
    this.soon.stop();
    this.stopLooking();
    this.panel?.close();
  }
}

/** What is known of a job whose whole song goes to a worker that is none of the cluster's. */
function outside(job) {
  if (job.state === "done") return "done by an outside worker";
  return hasEnded(job) ? "was for an outside worker" : "waits for an outside worker or is with one: the queue does not tell which";
}

/** How long a job was in a state, once it is in another. */
const lasted = (was, next) => (next ? `, for ${span(next.at - was.at)}` : "");

function attempts(task) {
  const row = (...cells) =>
    el("tr", {}, el("th", { scope: "row" }, taskName(task)), ...cells.map((words) => el("td", {}, words)));
  if (task.attempts.length === 0) return [row("", "not begun", "", "", "")];
  return task.attempts.map((attempt) => row(String(attempt.number),
    attempt.error ? `${outcome(attempt)}: ${attempt.error}` : outcome(attempt),
    String(attempt.node), time(attempt.started), attempt.ended === null ? "" : span(attempt.ended - attempt.started)));
}
