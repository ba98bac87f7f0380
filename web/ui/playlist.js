// One playlist: its songs in their order, to be played, moved and taken out.

import * as bar from "./bar.js";
import { confirm, sheet } from "./dialog.js";
import { announce, clock, counted, el, icon, iconButton, nowAndAgain, say, settled } from "./dom.js";
import { tempoAndKey } from "./facts.js";
import { field, form } from "./form.js";
import { ask, askOrStale, tell } from "./net.js";
import { reorderable } from "./reorder.js";
import { user } from "./session.js";
import { share } from "./share.js";

export const title = "Playlist";

/** How often it is looked whether somebody changed it: the nodes tell of songs and jobs alone. */
const LOOK_EVERY = 5000;
/** How often it is read from its beginning when it changes while it is read. */
const READS = 3;

export function open(main, { argument }) {
  return new Playlist(main, argument);
}

class Playlist {
  constructor(main, id) {
    this.address = `/playlists/${encodeURIComponent(id)}`;
    this.main = main;
    this.playlist = null;
    this.moving = false;
    this.save = settled(500, () => this.saveOrder());
    this.soon = settled(500, () => this.reload().catch(() => {}));
    this.unwatch = bar.watch(() => this.drawPlaying());
    this.stopLooking = nowAndAgain(LOOK_EVERY, () => this.look());
    this.on = { song: (song) => this.showSong(song), song_removed: ({ id: gone }) => this.showRemoved(gone) };
    main.replaceChildren(el("p", { class: "empty", role: "status" }, "Reading the playlist…"));
  }

  async reload() {
    let stale = false;
    try {
      const playlist = await this.read(() => { stale = true; });
      // What is being moved is newer than what was read.
      if (!this.isMoved && !this.closed) this.draw(playlist);
    } catch (problem) {
      if (problem.away || problem.code === "no_majority" || this.playlist) throw problem;
      this.main.replaceChildren(el("div", { class: "empty" }, el("h1", {}, "Nothing here"), el("p", {}, problem.message),
        el("a", { href: "#playlists" }, "All playlists")));
    }
    return stale;
  }

  /** Reads it again if it has changed, in another window or at another node. */
  async look() {
    if (!this.playlist || this.isMoved) return;
    try {
      const { playlist } = await ask(`${this.address}?limit=1`);
      if (playlist.updated_at !== this.playlist.updated_at) await this.reload();
    } catch {
      // Who looks by itself need not complain; what is done says why it fails.
    }
  }

  /** The playlist with all its entries, page by page. Of a long one the first page is shown while the others come. */
  async read(stale) {
    for (let left = READS; ; left -= 1) {
      try {
        return await this.readPages(stale);
      } catch (problem) {
        if (problem.code !== "conflict" || left === 1) throw problem;
      }
    }
  }

  async readPages(stale) {
    let playlist = null;
    let next = null;
    do {
      const data = await askOrStale(next === null ? this.address : `${this.address}?cursor=${next}`, stale);
      const { entries, hidden } = data.playlist;
      playlist ??= { ...data.playlist, entries: [], hidden: 0 };
      playlist.entries.push(...entries);
      playlist.hidden += hidden;
      next = data.next;
      if (next !== null && !this.playlist && !this.closed) this.draw({ ...playlist, partly: true });
    } while (next !== null && !this.closed);
    return playlist;
  }

  /** An order names all entries, those too that one does not see. */
  get mayMove() {
    return this.mayChange && this.playlist.hidden === 0 && !this.playlist.partly;
  }

  get mayChange() {
    return this.playlist.mine || user?.administrator === true;
  }

  get isMoved() {
    return this.moving || Boolean(this.list?.querySelector(".carried"));
  }

  draw(playlist) {
    const held = document.activeElement?.closest(".entry");
    const focused = held && [held.dataset.entry, [...held.querySelectorAll("button")].indexOf(document.activeElement)];
    this.playlist = playlist;
    const { entries } = playlist;
    const button = (words, onclick, kind = "") => el("button", { class: `button ${kind}`, type: "button", onclick }, words);
    this.problem = el("p", { class: "bad", role: "alert", hidden: true });
    this.list = el("ol", { class: "entries" }, ...entries.map((entry) => this.item(entry)));
    if (this.mayMove) {
      reorderable(this.list, {
        grip: ".grip",
        step: (item, to) => announce(`${item.dataset.title}: place ${to + 1} of ${this.list.children.length}.`),
        moved: () => {
          this.moving = true;
          this.number();
          this.save();
        },
      });
    }
    const owner = playlist.owner && playlist.owner.id !== user?.id ? `from ${playlist.owner.name} · ` : "";
    this.main.replaceChildren(...[
      el("p", { class: "crumb" }, el("a", { href: "#playlists" }, "Playlists")),
      el("div", { class: "head" },
        el("div", {}, el("h1", {}, playlist.name), playlist.description ? el("p", {}, playlist.description) : null,
          el("p", { class: "quiet" }, `${owner}${counted(playlist.songs, "song")} · ${clock(playlist.duration)}`)),
        el("div", { class: "row" },
          entries.length ? button("Play all", () => this.play(0), "primary") : null,
          this.mayChange ? button("Rename", () => this.rename()) : null,
          this.mayChange ? button("Share…", () => share("playlist", playlist)) : null,
          this.mayChange ? button("Delete", () => this.delete()) : null)),
      this.problem, this.list,
      playlist.hidden
        ? el("p", { class: "quiet" }, `${counted(playlist.hidden, "more song is", "more songs are")} not yours to hear.`)
        : null,
      entries.length
        ? el("p", { class: "quiet", hidden: !this.mayMove }, "Drag the dots to move a song, or press the arrow keys on them.")
        : el("p", { class: "empty" }, "Nothing in it yet. In the list of ", el("a", { href: "#songs" }, "songs"),
          ", the three dots at a song add it here."),
      playlist.partly ? el("p", { class: "quiet", role: "status" }, "Reading the other songs…") : null,
    ].filter(Boolean));
    this.number();
    this.drawPlaying();
    if (focused) this.list.children[this.place(Number(focused[0]))]?.querySelectorAll("button")[focused[1]]?.focus();
  }

  item(entry) {
    const { song } = entry;
    const facts = [song.artist, ...tempoAndKey(song)].filter(Boolean).join(" · ");
    const grip = iconButton("grip", `Move ${song.title} with the arrow keys`, null, "grip");
    const play = el("button", {
      class: "play", type: "button", "aria-label": `Play ${song.title}`, "aria-pressed": "false",
      onclick: () => this.play(this.place(entry.id)),
    }, icon("play"));
    const item = el("li", { class: "entry" },
      this.mayMove ? grip : null,
      el("span", { class: "place quiet number", "aria-hidden": "true" }),
      play,
      el("div", { class: "entry-name" }, el("strong", {}, song.title), el("span", { class: "quiet" }, facts)),
      el("span", { class: "quiet number" }, clock(song.seconds)),
      this.mayChange ? iconButton("close", `Take ${song.title} out`, () => this.takeOut(entry, item)) : null);
    item.dataset.entry = entry.id;
    item.dataset.song = song.id;
    item.dataset.title = song.title;
    return item;
  }

  get order() {
    return [...this.list.children].map((item) => Number(item.dataset.entry));
  }

  place(entry) {
    return this.order.indexOf(entry);
  }

  get songs() {
    const of = new Map(this.playlist.entries.map((entry) => [entry.id, entry.song]));
    return this.order.map((id) => of.get(id));
  }

  play(place) {
    bar.play(this.songs, place);
  }

  number() {
    [...this.list.children].forEach((item, place) => say(item.querySelector(".place"), String(place + 1)));
  }

  drawPlaying() {
    if (!this.playlist) return;
    const now = String(bar.sounding());
    // Of thousands of entries those alone that play now, or did.
    for (const button of this.list.querySelectorAll(`[data-song="${now}"] .play, .play[aria-pressed="true"]`)) {
      const item = button.closest(".entry");
      const playing = item.dataset.song === now;
      button.replaceChildren(icon(playing ? "pause" : "play"));
      button.setAttribute("aria-pressed", String(playing));
      button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${item.dataset.title}`);
    }
  }

  say(problem) {
    say(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  async saveOrder() {
    try {
      const { playlist } = await tell("PUT", `${this.address}/order`, { entries: this.order });
      this.playlist.updated_at = playlist.updated_at;
      this.say("");
      this.moving = false;
    } catch (problem) {
      this.moving = false;
      await this.reload().catch(() => {});
      this.say(problem.message);
    }
  }

  async takeOut(entry, item) {
    try {
      await tell("DELETE", `${this.address}/songs/${entry.id}`);
      const after = item.nextElementSibling ?? item.previousElementSibling;
      const focus = after?.dataset.entry;
      await this.reload();
      announce(`${entry.song.title} was taken out.`);
      (focus ? this.list.children[this.place(Number(focus))]?.querySelector("button") : this.main)?.focus();
    } catch (problem) {
      this.say(problem.message);
    }
  }

  rename() {
    const close = sheet("Rename the playlist", form({
      fields: [
        field({ name: "name", label: "Name", required: true, maxLength: 200, autocomplete: "off", value: this.playlist.name }),
        field({
          name: "description", label: "Description", maxLength: 1000, autocomplete: "off",
          value: this.playlist.description ?? "",
        }),
      ],
      submit: "Save",
      action: async ({ name, description }) => {
        await tell("PATCH", this.address, { name: name.trim(), description: description.trim() });
        close();
        await this.reload();
      },
    }));
  }

  async delete() {
    if (!await confirm(`Delete the playlist “${this.playlist.name}”? Its songs stay.`, "Delete")) return;
    try {
      await tell("DELETE", this.address);
      announce(`${this.playlist.name} was deleted.`);
      location.hash = "#playlists";
    } catch (problem) {
      this.say(problem.message);
    }
  }

  showSong(song) {
    if (this.playlist?.entries.some((entry) => entry.song.id === song.id)) this.soon();
  }

  showRemoved(id) {
    if (this.playlist?.entries.some((entry) => entry.song.id === id)) this.soon();
  }

  close() {
    this.closed = true;
    this.stopLooking();
    if (this.moving) {
      this.save.stop();
      this.saveOrder();
    }
    this.soon.stop();
    this.unwatch();
  }
}
