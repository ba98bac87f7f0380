// What opens below a song: the stems of its separations, one at a time. Most songs have one, and then there is no choice.

import { confirm } from "./dialog.js";
import { announce, el, say, settled } from "./dom.js";
import { WORDS } from "./jobs.js";
import { ask, tell } from "./net.js";
import { panel } from "./panel.js";
import { formatName, stemsOf } from "./parts.js";
import { mayChange } from "./session.js";

const isReady = (separation) => separation.job.state === "done";

/** The stems of one separation, to be heard and fetched. */
export function heard(song, { own, job, parts }, began) {
  const of = { ...song, parts: { song: song.parts.song, ...parts } };
  return panel(of, { base: `/songs/${song.id}`, job: own ? null : job.id, began });
}

/** The one of a song's separations that this job is, if it is one. */
export async function separationBy(job, song) {
  const { separations } = await ask(`/songs/${song}/separations`);
  return separations.find((one) => one.job.id === job) ?? null;
}

export class Separations {
  /** `began` is called when the song is heard. */
  constructor(song, began) {
    this.song = song;
    this.began = began;
    this.all = [];
    this.shown = null;
    this.soon = settled(400, () => this.reload());
    this.choice = el("select", { "aria-label": "Separation", onchange: () => this.draw() });
    this.job = el("a", { class: "button small" }, "Its job");
    this.remove = el("button", { class: "button small", type: "button", onclick: () => this.delete() }, "Delete…");
    this.chooser = el("div", { class: "row separations check", hidden: true },
      el("span", { class: "quiet" }, "Separation"), this.choice, this.job, this.remove);
    this.told = el("p", { class: "quiet", role: "status", hidden: true });
    this.place = el("div");
    this.element = el("div", {}, this.chooser, this.told, this.place);
    // The song's own is known already; whether there are others is asked.
    this.show({ own: true, job: { id: song.job_id, state: "done" }, parts: song.parts });
    this.reload();
  }

  get chosen() {
    return this.all.find(({ job }) => String(job.id) === this.choice.value);
  }

  /** Reads which there are. What plays plays on. */
  async reload() {
    try {
      this.all = (await ask(`/songs/${this.song.id}/separations`)).separations;
    } catch (problem) {
      this.say(problem.message);
      return;
    }
    if (this.closed) return;
    const before = this.choice.value;
    this.choice.replaceChildren(...this.all.map((one) => el("option", { value: one.job.id }, called(one))));
    this.choice.value = this.all.some(({ job }) => String(job.id) === before) ? before : this.all[0].job.id;
    this.chooser.hidden = this.all.length < 2;
    this.draw();
  }

  draw() {
    const { chosen } = this;
    this.job.href = `#jobs/${chosen.job.id}`;
    this.remove.hidden = chosen.own || !mayChange(this.song);
    this.say(isReady(chosen) ? "" : `Its stems are not there: it is ${WORDS[chosen.job.state]}. Its job says more.`);
    this.show(chosen);
  }

  show(separation) {
    const key = isReady(separation) ? separation.job.id : null;
    if (this.key === key) return;
    this.key = key;
    this.shown?.close();
    this.shown = key === null ? null : heard(this.song, separation, this.began);
    this.place.replaceChildren(...(this.shown ? [this.shown.element] : []));
  }

  showJob(job) {
    const known = this.all.find((one) => one.job.id === job.id);
    if (!known || known.job.state !== job.state) this.soon();
  }

  async delete() {
    const { chosen, song } = this;
    if (!await confirm(`Delete the separation “${called(chosen)}” of “${song.title}”, on all nodes?`, "Delete")) return;
    try {
      await tell("DELETE", `/songs/${song.id}/separations/${chosen.job.id}`);
      announce("The separation was deleted.");
      this.choice.focus();
      await this.reload();
    } catch (problem) {
      this.say(problem.message);
    }
  }

  say(problem) {
    say(this.told, problem);
    this.told.hidden = problem === "";
  }

  close() {
    this.closed = true;
    this.soon.stop();
    this.shown?.close();
  }
}

function called({ own, job }) {
  const state = job.state === "done" ? "" : ` (${WORDS[job.state]})`;
  return `${own ? "The song’s own: " : ""}${job.model}, ${stemsOf(job)} · ${job.formats.map(formatName).join(" · ")}${state}`;
}
