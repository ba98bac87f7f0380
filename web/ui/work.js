// How far a job is, in a line, a bar and one cell for each task.

import { clock, el, say, span } from "./dom.js";

const OUTCOMES = {
  failed: "failed", expired: "was given up", handed_back: "was handed back", withdrawn: "did not count", done: "was done",
  running: "is running",
};

export const outcome = (attempt) => OUTCOMES[attempt.outcome] ?? attempt.outcome;
export const taskName = (task) => (task.kind === "merge" ? "Putting the stems together" : `Part ${task.index + 1}`);

/** Every attempt at the tasks that failed, in words. */
export function tried(job) {
  const failed = (job?.tasks ?? []).filter((task) => task.failures > 0);
  return failed.flatMap((task) => task.attempts.map((attempt) => {
    const when = new Date(attempt.started).toLocaleTimeString();
    const lasted = attempt.ended === null ? "" : ` after ${span(attempt.ended - attempt.started)}`;
    const why = attempt.error ? `: ${attempt.error}` : "";
    return `${taskName(task)} by node ${attempt.node} at ${when} ${outcome(attempt)}${lasted}${why}`;
  }));
}

/** What stands below a song or job that is being worked on. */
export class Work {
  constructor() {
    this.progress = el("progress", { max: 1, value: 0 });
    this.count = el("span");
    this.who = el("span", { class: "quiet" });
    this.tasks = el("ol", { class: "tasks", "aria-label": "Tasks" });
    this.element = el("div", { class: "work" },
      el("div", { class: "work-line" }, this.count, this.who), this.progress, this.tasks);
  }

  draw(done, total, job) {
    say(this.count, `${done} of ${total} tasks done`);
    this.progress.max = Math.max(total, 1);
    this.progress.value = done;
    this.progress.setAttribute("aria-label", `${done} of ${total} tasks done`);
    const tasks = job?.tasks ?? [];
    say(this.who, job?.finished_at ? `It took ${clock((job.finished_at - (job.started_at ?? job.created_at)) / 1000)}.` : doing(job, tasks));
    this.drawTasks(tasks);
  }

  drawTasks(tasks) {
    while (this.tasks.children.length > tasks.length) this.tasks.lastElementChild.remove();
    tasks.forEach((task, place) => {
      const cell = this.tasks.children[place] ?? this.tasks.appendChild(el("li"));
      const node = task.node === null ? "" : ` by node ${task.node}`;
      const failed = task.failures ? `, failed ${task.failures} times` : "";
      if (cell.className !== task.state) cell.className = task.state;
      const words = `${taskName(task)}: ${task.state}${node}${failed}`;
      if (cell.title !== words) {
        cell.title = words;
        cell.setAttribute("aria-label", words);
      }
      say(cell, task.node === null ? "·" : String(task.node));
    });
  }
}

function doing(job, tasks) {
  const nodes = new Map();
  for (const task of tasks) {
    if (task.state === "running") nodes.set(task.node, [...(nodes.get(task.node) ?? []), task]);
  }
  const name = (task) => (task.kind === "merge" ? "puts the stems together" : `separates part ${task.index + 1}`);
  const said = [...nodes].sort(([a], [b]) => a - b).map(([node, running]) => `node ${node} ${running.map(name).join(" and ")}`);
  const urgent = job && job.priority !== "normal" ? `${job.priority} priority, ` : "";
  const awaited = job?.workers === "outside" ? "an outside worker to deliver" : "a node to take a task";
  return urgent + (said.length ? said.join(", ") : `waiting for ${awaited}`);
}
