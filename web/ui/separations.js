// The separations of a song and the stems of the chosen one. Songs with a single separation show no chooser.

import { confirm } from "./dialog.js";
import { announce, debounce, h, setText } from "./dom.js";
import { STATE_LABELS } from "./jobs.js";
import { get, mutate } from "./net.js";
import { canEdit } from "./session.js";
import { formatName, stemsOf } from "./stems.js";
import { stemsPanel } from "./stems_panel.js";

const isReady = (separation) => separation.job.state === "done";

/** The stems panel of one separation. */
export function separationPanel(song, { own, job, parts }, onFirstPlay) {
  const of = { ...song, parts: { song: song.parts.song, ...parts } };
  return stemsPanel(of, { base: `/songs/${song.id}`, job: own ? null : job.id, onFirstPlay });
}

/** The separation of a song that a job produced, or null. */
export async function separationOfJob(job, song) {
  const { separations } = await get(`/songs/${song}/separations`);
  return separations.find((one) => one.job.id === job) ?? null;
}

export class Separations {
  /** `onFirstPlay` is called when the original is first played. */
  constructor(song, onFirstPlay) {
    this.song = song;
    this.onFirstPlay = onFirstPlay;
    this.all = [];
    this.shown = null;
    this.reloadSoon = debounce(400, () => this.reload());
    this.choice = h("select", { "aria-label": "Separation", onchange: () => this.draw() });
    this.job = h("a", { class: "button small" }, "Show job");
    this.remove = h("button", { class: "button small", type: "button", onclick: () => this.delete() }, "Delete…");
    this.chooser = h("div", { class: "row separations check", hidden: true },
      h("span", { class: "quiet" }, "Separation"), this.choice, this.job, this.remove);
    this.message = h("p", { class: "quiet", role: "status", hidden: true });
    this.content = h("div");
    this.element = h("div", {}, this.chooser, this.message, this.content);
    // Show the primary separation, which is known already, while the others load.
    this.show({ own: true, job: { id: song.job_id, state: "done" }, parts: song.parts });
    this.reload();
  }

  get chosen() {
    return this.all.find(({ job }) => String(job.id) === this.choice.value);
  }

  /** Reloads the separations. Playback continues. */
  async reload() {
    try {
      this.all = (await get(`/songs/${this.song.id}/separations`)).separations;
    } catch (problem) {
      this.showError(problem.message);
      return;
    }
    if (this.closed) return;
    const before = this.choice.value;
    this.choice.replaceChildren(...this.all.map((one) => h("option", { value: one.job.id }, separationLabel(one))));
    this.choice.value = this.all.some(({ job }) => String(job.id) === before) ? before : this.all[0].job.id;
    this.chooser.hidden = this.all.length < 2;
    this.draw();
  }

  draw() {
    const { chosen } = this;
    this.job.href = `#jobs/${chosen.job.id}`;
    this.remove.hidden = chosen.own || !canEdit(this.song);
    this.showError(isReady(chosen) ? "" : `No stems yet. The job is ${STATE_LABELS[chosen.job.state]}.`);
    this.show(chosen);
  }

  show(separation) {
    const key = isReady(separation) ? separation.job.id : null;
    if (this.key === key) return;
    this.key = key;
    this.shown?.close();
    this.shown = key === null ? null : separationPanel(this.song, separation, this.onFirstPlay);
    this.content.replaceChildren(...(this.shown ? [this.shown.element] : []));
  }

  showJob(job) {
    const known = this.all.find((one) => one.job.id === job.id);
    if (!known || known.job.state !== job.state) this.reloadSoon();
  }

  async delete() {
    const { chosen, song } = this;
    if (!await confirm(`Delete the separation “${separationLabel(chosen)}” of “${song.title}” from all nodes?`, "Delete")) return;
    try {
      await mutate("DELETE", `/songs/${song.id}/separations/${chosen.job.id}`);
      announce("Separation deleted.");
      this.choice.focus();
      await this.reload();
    } catch (problem) {
      this.showError(problem.message);
    }
  }

  showError(problem) {
    setText(this.message, problem);
    this.message.hidden = problem === "";
  }

  close() {
    this.closed = true;
    this.reloadSoon.stop();
    this.shown?.close();
  }
}

function separationLabel({ own, job }) {
  const state = job.state === "done" ? "" : ` (${STATE_LABELS[job.state]})`;
  return `${own ? "Primary: " : ""}${job.model}, ${stemsOf(job)} · ${job.formats.map(formatName).join(" · ")}${state}`;
}
