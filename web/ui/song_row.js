// One song of the library: its metadata, progress and actions.

import { confirm } from "./dialog.js";
import { announce, formatBytes, formatDate, formatTime, h, icon, iconButton, plural, setText } from "./dom.js";
import { bpm, key, loudness } from "./facts.js";
import { JobProgress, failedAttempts } from "./job_progress.js";
import { changeJob } from "./jobs.js";
import { openMenu } from "./menu.js";
import { get, mutate } from "./net.js";
import * as playerBar from "./player_bar.js";
import { addToPlaylist } from "./playlist_picker.js";
import { openSeparateDialog } from "./separate_dialog.js";
import { Separations } from "./separations.js";
import { canEdit, canShare, user } from "./session.js";
import { openShareDialog } from "./share_dialog.js";
import { songEditor } from "./song_editor.js";

const STATUS_LABELS = {
  UPLOADED: "queued", SPLITTING: "separating", SPLIT: "ready", FAILED: "failed", CANCELLED: "cancelled",
};
export const isPending = (status) => status === "UPLOADED" || status === "SPLITTING";

const cell = (name, ...children) => h("td", { class: name, role: "cell" }, ...children);

export class SongRow {
  /** `list` returns the queue that starts at this song, filters by artist, album or genre, and removes rows. */
  constructor(song, list) {
    this.song = song;
    this.list = list;
    this.job = null;
    this.panel = null;
    this.editor = null;
    this.play = h("button", {
      class: "play", type: "button", onclick: () => playerBar.play(...list.queueFrom(this)),
    }, icon("play"));
    this.cover = h("img", { class: "cover", alt: "", width: 44, height: 44, loading: "lazy" });
    this.title = h("span", { class: "title-text", id: `song-${song.id}` });
    this.owner = h("span", { class: "quiet owner" });
    this.texts = {};
    for (const name of ["artist", "album", "genre"]) {
      this.texts[name] = h("button", {
        class: "link", type: "button", onclick: () => list.filter(name, this.song[name]),
      });
    }
    this.bpm = cell("bpm number");
    this.key = cell("key");
    this.length = cell("length number");
    this.status = h("span", { class: "status" });
    this.favourite = iconButton("heart", "", () => this.toggleFavourite(), "heart");
    this.open = h("button", {
      class: "button small", type: "button", "aria-expanded": "false", onclick: () => this.toggle(),
    });
    this.cancel = h("button", { class: "button small", type: "button", onclick: () => this.change("cancel") }, "Cancel");
    this.again = h("button", { class: "button small", type: "button", onclick: () => this.change("retry") }, "Retry");
    this.more = iconButton("more", "", () => this.showMenu());
    this.more.setAttribute("aria-haspopup", "menu");
    this.problem = h("p", { class: "bad quiet", role: "alert", hidden: true });
    this.attempts = h("ol", { class: "quiet" });
    this.attemptsDetails = h("details", { hidden: true }, h("summary", { class: "quiet" }, "Attempts"), this.attempts);
    this.progress = new JobProgress();
    this.below = h("td", { colSpan: 10, role: "cell" }, this.problem, this.attemptsDetails, this.progress.element);
    this.belowRow = h("tr", { class: "below", role: "row" }, this.below);
    this.element = h("tbody", { class: "song", role: "rowgroup", "aria-labelledby": this.title.id },
      h("tr", { role: "row" },
        cell("playing", this.play),
        cell("picture", this.cover),
        cell("title", h("div", { ondblclick: () => this.edit("title") }, this.title, this.owner)),
        cell("artist", this.texts.artist),
        cell("album", this.texts.album),
        cell("genre", this.texts.genre),
        this.bpm, this.key, this.length,
        cell("actions", h("div", { class: "row end" },
          this.status, this.open, this.cancel, this.again, this.favourite, this.more))),
      this.belowRow);
    this.element.dataset.id = song.id;
  }

  /** Merges new data. Events can lack the fields of the user, such as the favourite; those keep their values. */
  update(song) {
    this.song = song = { ...this.song, ...song };
    const editable = canEdit(song);
    setText(this.title, song.title);
    setText(this.owner, song.uploader && user && song.uploader.id !== user.id ? `Shared by ${song.uploader.name}` : "");
    for (const [name, button] of Object.entries(this.texts)) {
      setText(button, song[name] ?? "");
      button.hidden = !song[name];
      button.title = `Filter by this ${name}`;
    }
    const cover = song.cover ?? "/icon.svg";
    if (this.cover.getAttribute("src") !== cover) this.cover.src = cover;
    this.cover.classList.toggle("none", !song.cover);
    setText(this.bpm, bpm(song));
    setText(this.key, key(song));
    setText(this.length, formatTime(song.seconds));
    this.status.className = `status ${song.status}`;
    setText(this.status, STATUS_LABELS[song.status] ?? song.status.toLowerCase());
    this.status.hidden = song.status === "SPLIT";
    this.open.hidden = song.status !== "SPLIT";
    this.cancel.hidden = !editable || !isPending(song.status);
    this.again.hidden = !editable || (song.status !== "FAILED" && song.status !== "CANCELLED");
    this.cancel.setAttribute("aria-label", `Cancel the separation of ${song.title}`);
    this.again.setAttribute("aria-label", `Retry the separation of ${song.title}`);
    this.more.setAttribute("aria-label", `Actions for ${song.title}`);
    this.favourite.hidden = !user;
    this.drawFavourite();
    this.showError(song.status === "FAILED" ? `Separation failed: ${song.error ?? "unknown error"}.` : "");
    if (song.status !== "SPLIT") this.close();
    this.drawPlay();
    this.drawProgress();
    this.drawOpen();
  }

  /** Updates one of the song's jobs: that of the primary separation or of another one. */
  updateJob(job) {
    this.panel?.showJob(job);
    if (job.id !== this.song.job_id) return;
    this.job = job;
    this.drawProgress();
    this.drawBelow();
  }

  drawPlay() {
    const playing = playerBar.playingSong() === this.song.id;
    if (this.playing !== playing) this.play.replaceChildren(icon(playing ? "pause" : "play"));
    this.playing = playing;
    this.play.setAttribute("aria-pressed", String(playing));
    this.play.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${this.song.title}`);
  }

  drawFavourite() {
    const is = this.song.favourite === true;
    this.favourite.setAttribute("aria-pressed", String(is));
    this.favourite.setAttribute("aria-label", `Favourite: ${this.song.title}`);
    this.favourite.title = is ? "Remove from favourites" : "Add to favourites";
  }

  drawProgress() {
    const { song } = this;
    const job = this.job?.id === song.job_id ? this.job : null;
    this.progress.element.hidden = !isPending(song.status);
    if (isPending(song.status)) this.progress.draw(job?.tasks_done ?? song.tasks_done, job?.tasks_total ?? song.tasks_total, job);
    const lines = song.status === "FAILED" ? failedAttempts(job) : [];
    this.attemptsDetails.hidden = lines.length === 0;
    if (this.attemptsDetails.hidden || this.attemptsDetails.dataset.key === lines.join("\n")) return;
    this.attemptsDetails.dataset.key = lines.join("\n");
    this.attempts.replaceChildren(...lines.map((line) => h("li", {}, line)));
  }

  drawOpen() {
    const shown = this.panel !== null;
    setText(this.open, shown ? "Close" : "Stems");
    this.open.setAttribute("aria-expanded", String(shown));
    this.open.setAttribute("aria-label", `${shown ? "Close stems" : "Stems"} of ${this.song.title}`);
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
    this.panel = new Separations(song, () => playerBar.recordPlay(song));
    this.below.append(this.panel.element);
    this.drawOpen();
  }

  close() {
    this.panel?.close();
    this.panel?.element.remove();
    this.panel = null;
    this.drawOpen();
  }

  showError(problem) {
    setText(this.problem, problem);
    this.problem.hidden = problem === "";
    this.drawBelow();
  }

  /** Opens the editor below the row and focuses the named field. */
  edit(name) {
    if (!canEdit(this.song) || this.editor) return;
    const done = (song) => {
      this.editor.remove();
      this.editor = null;
      if (song) this.update(song);
      this.drawBelow();
      this.more.focus();
    };
    this.editor = songEditor(this.song, done);
    this.below.prepend(this.editor);
    this.drawBelow();
    const input = this.editor.querySelector(`[name="${name}"]`);
    input.focus();
    input.select();
  }

  showMenu() {
    const { song } = this;
    const about = [song.format.toUpperCase(), formatBytes(song.size), `added ${formatDate(song.added_at)}`,
      song.plays ? plural(song.plays, "play") : null, loudness(song)].filter(Boolean).join(" · ");
    openMenu(this.more, [
      canEdit(song) && ["Edit metadata…", () => this.edit("title")],
      user && ["Add to playlist…", () => addToPlaylist(this.more, [song])],
      canShare(song) && ["Share…", () => openShareDialog("song", song)],
      canEdit(song) && ["Separate again…", () => openSeparateDialog(song)],
      ["Show job", () => { location.hash = `#jobs/${song.job_id}`; }],
      canEdit(song) && ["Delete…", () => this.delete(), "bad"],
      [about, null],
    ]);
  }

  async toggleFavourite() {
    const wanted = !this.song.favourite;
    try {
      await mutate(wanted ? "PUT" : "DELETE", `/songs/${this.song.id}/favourite`);
      this.song.favourite = wanted;
      this.drawFavourite();
    } catch (problem) {
      this.showError(problem.message);
    }
  }

  async change(action) {
    try {
      const job = await changeJob({ id: this.song.job_id, songs: [this.song] }, action);
      if (!job) return;
      this.updateJob(job);
      this.update((await get(`/songs/${this.song.id}`)).song);
    } catch (problem) {
      this.showError(problem.message);
    }
  }

  async delete() {
    const { song } = this;
    if (!await confirm(`Delete “${song.title}” and its stems from all nodes?`, "Delete")) return;
    try {
      await mutate("DELETE", `/songs/${song.id}`);
      announce(`${song.title} deleted.`);
      this.list.removeSong(song.id);
    } catch (problem) {
      this.showError(problem.message);
    }
  }
}
