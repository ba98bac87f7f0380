// Progress of a job: a summary line, a progress bar and one cell per task.

import { formatDuration, formatTime, h, plural, setText } from "./dom.js";
import { STATE_LABELS } from "./jobs.js";

const OUTCOMES = {
  failed: "failed", expired: "expired", handed_back: "returned", withdrawn: "withdrawn", done: "done", running: "running",
};

export const outcomeLabel = (attempt) => OUTCOMES[attempt.outcome] ?? attempt.outcome;
export const taskName = (task) => (task.kind === "merge" ? "Merge" : `Segment ${task.index + 1}`);

/** One line per attempt of every task with failures. */
export function failedAttempts(job) {
  const failed = (job?.tasks ?? []).filter((task) => task.failures > 0);
  return failed.flatMap((task) => task.attempts.map((attempt) => {
    const when = new Date(attempt.started).toLocaleTimeString();
    const lasted = attempt.ended === null ? "" : ` after ${formatDuration(attempt.ended - attempt.started)}`;
    const why = attempt.error ? `: ${attempt.error}` : "";
    return `${taskName(task)}, node ${attempt.node}, ${when}: ${outcomeLabel(attempt)}${lasted}${why}`;
  }));
}

/** The progress of a job, below its song or on its page. */
export class JobProgress {
  constructor() {
    this.progress = h("progress", { max: 1, value: 0 });
    this.count = h("span");
    this.status = h("span", { class: "quiet" });
    this.tasks = h("ol", { class: "tasks", "aria-label": "Tasks" });
    this.element = h("div", { class: "work" },
      h("div", { class: "work-line" }, this.count, this.status), this.progress, this.tasks);
  }

  draw(done, total, job) {
    setText(this.count, `${done} of ${total} tasks done`);
    this.progress.max = Math.max(total, 1);
    this.progress.value = done;
    this.progress.setAttribute("aria-label", `${done} of ${total} tasks done`);
    const tasks = job?.tasks ?? [];
    setText(this.status, job?.finished_at
      ? `Time: ${formatTime((job.finished_at - (job.started_at ?? job.created_at)) / 1000)}`
      : summary(job, tasks));
    this.drawTasks(tasks);
  }

  drawTasks(tasks) {
    while (this.tasks.children.length > tasks.length) this.tasks.lastElementChild.remove();
    tasks.forEach((task, place) => {
      const cell = this.tasks.children[place] ?? this.tasks.appendChild(h("li"));
      const node = task.node === null ? "" : ` on node ${task.node}`;
      const failed = task.failures ? `, ${plural(task.failures, "failure")}` : "";
      if (cell.className !== task.state) cell.className = task.state;
      const words = `${taskName(task)}: ${STATE_LABELS[task.state] ?? task.state}${node}${failed}`;
      if (cell.title !== words) {
        cell.title = words;
        cell.setAttribute("aria-label", words);
      }
      setText(cell, task.node === null ? "·" : String(task.node));
    });
  }
}

function summary(job, tasks) {
  const nodes = new Map();
  for (const task of tasks) {
    if (task.state === "running") nodes.set(task.node, [...(nodes.get(task.node) ?? []), task]);
  }
  const name = (task) => (task.kind === "merge" ? "merge" : `segment ${task.index + 1}`);
  const lines = [...nodes].sort(([a], [b]) => a - b).map(([node, running]) => `node ${node}: ${running.map(name).join(", ")}`);
  const urgent = job && job.priority !== "normal" ? `${job.priority} priority, ` : "";
  const awaited = job?.workers === "outside" ? "an external worker" : "a node";
  return urgent + (lines.length ? lines.join(" · ") : `waiting for ${awaited}`);
}
