// One song in the list: what is known of it, how far it is, and what can be done with it.

import * as bar from "./bar.js";
import { confirm } from "./dialog.js";
import { announce, bytes, clock, counted, el, icon, iconButton, say, when } from "./dom.js";
import { editor } from "./edit.js";
import { bpm, key, loudness } from "./facts.js";
import { change } from "./jobs.js";
import { openMenu } from "./menu.js";
import { ask, tell } from "./net.js";
import { addToPlaylist } from "./pick.js";
import { separate } from "./separate.js";
import { Separations } from "./separations.js";
import { mayChange, mayShare, user } from "./session.js";
import { share } from "./share.js";
import { Work, tried } from "./work.js";

const WORDS = {
  UPLOADED: "waiting", SPLITTING: "splitting", SPLIT: "ready", FAILED: "failed", CANCELLED: "cancelled",
};
export const isOpen = (status) => status === "UPLOADED" || status === "SPLITTING";

const cell = (name, ...children) => el("td", { class: name, role: "cell" }, ...children);

export class Row {
  /** `list` says which songs stand around this one, filters by an artist, an album or a genre, and drops the row. */
  constructor(song, list) {
    this.song = song;
    this.list = list;
    this.job = null;
    this.panel = null;
    this.editor = null;
    this.play = el("button", { class: "play", type: "button", onclick: () => bar.play(...list.around(this)) }, icon("play"));
    this.cover = el("img", { class: "cover", alt: "", width: 44, height: 44, loading: "lazy" });
    this.title = el("span", { class: "title-text", id: `song-${song.id}` });
    this.from = el("span", { class: "quiet from" });
    this.texts = {};
    for (const name of ["artist", "album", "genre"]) {
      this.texts[name] = el("button", {
        class: "link", type: "button", onclick: () => list.filter(name, this.song[name]),
      });
    }
    this.bpm = cell("bpm number");
    this.key = cell("key");
    this.length = cell("length number");
    this.status = el("span", { class: "status" });
    this.favourite = iconButton("heart", "", () => this.toggleFavourite(), "heart");
    this.open = el("button", {
      class: "button small", type: "button", "aria-expanded": "false", onclick: () => this.toggle(),
    });
    this.cancel = el("button", { class: "button small", type: "button", onclick: () => this.change("cancel") }, "Stop");
    this.again = el("button", { class: "button small", type: "button", onclick: () => this.change("retry") }, "Try again");
    this.more = iconButton("more", "", () => this.showMenu());
    this.more.setAttribute("aria-haspopup", "menu");
    this.problem = el("p", { class: "bad quiet", role: "alert", hidden: true });
    this.attempts = el("ol", { class: "quiet" });
    this.why = el("details", { hidden: true }, el("summary", { class: "quiet" }, "What was tried"), this.attempts);
    this.work = new Work();
    this.below = el("td", { colSpan: 10, role: "cell" }, this.problem, this.why, this.work.element);
    this.belowRow = el("tr", { class: "below", role: "row" }, this.below);
    this.element = el("tbody", { class: "song", role: "rowgroup", "aria-labelledby": this.title.id },
      el("tr", { role: "row" },
        cell("playing", this.play),
        cell("picture", this.cover),
        cell("title", el("div", { ondblclick: () => this.edit("title") }, this.title, this.from)),
        cell("artist", this.texts.artist),
        cell("album", this.texts.album),
        cell("genre", this.texts.genre),
        this.bpm, this.key, this.length,
        cell("actions", el("div", { class: "row end" },
          this.status, this.open, this.cancel, this.again, this.favourite, this.more))),
      this.belowRow);
    this.element.dataset.id = song.id;
  }

  /** Events about a song may know nothing of the listener's own, which stays then. */
  update(song) {
    this.song = song = { ...this.song, ...song };
    const changes = mayChange(song);
    say(this.title, song.title);
    say(this.from, song.uploader && user && song.uploader.id !== user.id ? `from ${song.uploader.name}` : "");
    for (const [name, button] of Object.entries(this.texts)) {
      say(button, song[name] ?? "");
      button.hidden = !song[name];
      button.title = `Only this ${name}`;
    }
    const cover = song.cover ?? "/icon.svg";
    if (this.cover.getAttribute("src") !== cover) this.cover.src = cover;
    this.cover.classList.toggle("none", !song.cover);
    say(this.bpm, bpm(song));
    say(this.key, key(song));
    say(this.length, clock(song.seconds));
    this.status.className = `status ${song.status}`;
    say(this.status, WORDS[song.status] ?? song.status.toLowerCase());
    this.status.hidden = song.status === "SPLIT";
    this.open.hidden = song.status !== "SPLIT";
    this.cancel.hidden = !changes || !isOpen(song.status);
    this.again.hidden = !changes || (song.status !== "FAILED" && song.status !== "CANCELLED");
    this.cancel.setAttribute("aria-label", `Stop splitting ${song.title}`);
    this.again.setAttribute("aria-label", `Try to split ${song.title} again`);
    this.more.setAttribute("aria-label", `More about ${song.title}`);
    this.favourite.hidden = !user;
    this.drawFavourite();
    this.say(song.status === "FAILED" ? `It could not be split: ${song.error ?? "the reason is not known"}.` : "");
    if (song.status !== "SPLIT") this.close();
    this.drawPlay();
    this.drawWork();
    this.drawOpen();
  }

  /** One of the song's jobs: its own, or that of another separation. */
  updateJob(job) {
    this.panel?.showJob(job);
    if (job.id !== this.song.job_id) return;
    this.job = job;
    this.drawWork();
    this.drawBelow();
  }

  drawPlay() {
    const playing = bar.sounding() === this.song.id;
    if (this.playing !== playing) this.play.replaceChildren(icon(playing ? "pause" : "play"));
    this.playing = playing;
    this.play.setAttribute("aria-pressed", String(playing));
    this.play.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${this.song.title}`);
  }

  drawFavourite() {
    const is = this.song.favourite === true;
    this.favourite.setAttribute("aria-pressed", String(is));
    const words = is ? `${this.song.title} is a favourite` : `Make ${this.song.title} a favourite`;
    this.favourite.setAttribute("aria-label", words);
    this.favourite.title = is ? "A favourite" : "Make it a favourite";
  }

  drawWork() {
    const { song } = this;
    const job = this.job?.id === song.job_id ? this.job : null;
    this.work.element.hidden = !isOpen(song.status);
    if (isOpen(song.status)) this.work.draw(job?.tasks_done ?? song.tasks_done, job?.tasks_total ?? song.tasks_total, job);
    const lines = song.status === "FAILED" ? tried(job) : [];
    this.why.hidden = lines.length === 0;
    if (this.why.hidden || this.why.dataset.key === lines.join("\n")) return;
    this.why.dataset.key = lines.join("\n");
    this.attempts.replaceChildren(...lines.map((line) => el("li", {}, line)));
  }

  drawOpen() {
    const shown = this.panel !== null;
    say(this.open, shown ? "Close" : "Stems");
    this.open.setAttribute("aria-expanded", String(shown));
    this.open.setAttribute("aria-label", `${shown ? "Close the stems" : "Stems"} of ${this.song.title}`);
    this.drawBelow();
  }

  drawBelow() {
    this.belowRow.hidden = [...this.below.children].every((one) => one.hidden);
  }

  toggle() {
    if (this.panel) {
      this.close();
      return;
    }
    const { song } = this;
    this.panel = new Separations(song, () => bar.heard(song));
    this.below.append(this.panel.element);
    this.drawOpen();
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
    this.drawBelow();
  }

  /** Opens the fields below the row, with this one focused. */
  edit(name) {
    if (!mayChange(this.song) || this.editor) return;
    const done = (song) => {
      this.editor.remove();
      this.editor = null;
      if (song) this.update(song);
      this.drawBelow();
      this.more.focus();
    };
    this.editor = editor(this.song, done);
    this.below.prepend(this.editor);
    this.drawBelow();
    const input = this.editor.querySelector(`[name="${name}"]`);
    input.focus();
    input.select();
  }

  showMenu() {
    const { song } = this;
    const about = [song.format.toUpperCase(), bytes(song.size), `added ${when(song.added_at)}`,
      song.plays ? `heard ${counted(song.plays, "time")}` : null, loudness(song)].filter(Boolean).join(" · ");
    openMenu(this.more, [
      mayChange(song) && ["Edit title, artist, album…", () => this.edit("title")],
      user && ["Add to a playlist…", () => addToPlaylist(this.more, [song])],
      mayShare(song) && ["Share…", () => share("song", song)],
      mayChange(song) && ["Separate again…", () => separate(song)],
      ["What was done for it", () => { location.hash = `#jobs/${song.job_id}`; }],
      mayChange(song) && ["Delete…", () => this.delete(), "bad"],
      [about, null],
    ]);
  }

  async toggleFavourite() {
    const wanted = !this.song.favourite;
    try {
      await tell(wanted ? "PUT" : "DELETE", `/songs/${this.song.id}/favourite`);
      this.song.favourite = wanted;
      this.drawFavourite();
    } catch (problem) {
      this.say(problem.message);
    }
  }

  async change(what) {
    try {
      const job = await change({ id: this.song.job_id, songs: [this.song] }, what);
      if (!job) return;
      this.updateJob(job);
      this.update((await ask(`/songs/${this.song.id}`)).song);
    } catch (problem) {
      this.say(problem.message);
    }
  }

  async delete() {
    const { song } = this;
    if (!await confirm(`Delete “${song.title}” and its stems, on all nodes?`, "Delete")) return;
    try {
      await tell("DELETE", `/songs/${song.id}`);
      announce(`${song.title} was deleted.`);
      this.list.drop(song.id);
    } catch (problem) {
      this.say(problem.message);
    }
  }
}
