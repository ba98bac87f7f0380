// One job: how far it is, what became of it and when, every attempt at its tasks, and what the workers wrote.

import { el, say, settled, span } from "./dom.js";
import { WORDS, change, hasEnded, nameOf } from "./jobs.js";
import { ask, askOrStale, tell } from "./net.js";
import { Work, outcome, taskName } from "./work.js";

export const title = "Job";

const COLUMNS = ["Task", "How it ended", "Node", "Began", "Took"];
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
    this.soon = settled(500, () => this.reload().catch(() => {}));
    this.on = { job: (job) => this.show(job) };
    main.replaceChildren(el("p", { class: "empty", role: "status" }, "Reading the job…"));
  }

  async reload() {
    let stale = false;
    try {
      this.draw((await askOrStale(this.address, () => { stale = true; })).job);
      await this.readLog();
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
    this.log = el("ol", { class: "log", tabIndex: 0, "aria-label": "What the workers wrote" });
    this.noLog = el("p", { class: "quiet" });
    this.main.replaceChildren(
      el("p", { class: "crumb" }, el("a", { href: "#jobs" }, "Jobs")),
      el("div", { class: "head" }, el("div", {}, this.name, this.about),
        el("div", { class: "row" }, this.state, this.cancel, this.again)),
      this.problem,
      el("div", { class: "card" }, this.work.element, this.hurry),
      el("h2", {}, "History"), this.history,
      el("h2", {}, "Attempts"),
      el("div", { class: "scrolls", tabIndex: 0, role: "region", "aria-label": "Attempts" }, el("table", { class: "grid" },
        el("thead", {}, el("tr", {}, ...COLUMNS.map((words) => el("th", { scope: "col" }, words)))),
        this.tasks)),
      el("h2", {}, "Log"), this.log, this.noLog);
  }

  draw(job) {
    if (!this.job) this.build();
    this.job = job = { ...this.job, ...job };
    say(this.name, nameOf(job));
    const where = job.workers === "outside" ? "done by an outside worker" : null;
    say(this.about, [`Job ${job.id}`, job.model, job.formats.join(", "), `at most ${job.max_attempts} failures a task`, where]
      .filter(Boolean).join(" · "));
    this.state.className = `status ${job.state}`;
    say(this.state, WORDS[job.state] ?? job.state);
    this.cancel.hidden = hasEnded(job);
    this.again.hidden = job.state !== "failed" && job.state !== "cancelled";
    this.hurry.hidden = hasEnded(job);
    if (document.activeElement !== this.priority) this.priority.value = job.priority;
    this.say(job.error ? `It could not be done: ${job.error}` : "");
    this.work.draw(job.tasks_done, job.tasks_total, job);
    this.history.replaceChildren(...(job.history ?? []).map((one) => el("li", {},
      el("span", { class: `status ${one.state}` }, WORDS[one.state] ?? one.state), " ",
      el("span", { class: "quiet" }, moment(one.at)))));
    this.tasks.replaceChildren(...(job.tasks ?? []).flatMap(attempts));
  }

  show(job) {
    if (String(job.id) !== this.id || !this.job) return;
    this.draw(job);
    // The history and the log come with an answer alone.
    this.soon();
  }

  async readLog() {
    try {
      const { log } = await ask(`${this.address}/log`);
      this.log.replaceChildren(...log.map((line) => el("li", { class: line.level },
        el("span", { class: "quiet" }, `${time(line.at)} node ${line.node}, ${line.task}, attempt ${line.attempt} `),
        line.message)));
      this.log.hidden = log.length === 0;
      say(this.noLog, log.length ? "" : "The workers have written nothing so far.");
    } catch (problem) {
      this.log.hidden = true;
      say(this.noLog, problem.message);
    }
  }

  say(problem) {
    say(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  close() {
    this.soon.stop();
  }
}

function attempts(task) {
  const row = (...cells) =>
    el("tr", {}, el("th", { scope: "row" }, taskName(task)), ...cells.map((words) => el("td", {}, words)));
  if (task.attempts.length === 0) return [row("not begun", "", "", "")];
  return task.attempts.map((attempt) => row(
    attempt.error ? `${outcome(attempt)}: ${attempt.error}` : outcome(attempt),
    String(attempt.node), time(attempt.started), attempt.ended === null ? "" : span(attempt.ended - attempt.started)));
}
