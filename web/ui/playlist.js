// The page of a playlist: play, reorder and remove its songs.

import { confirm, openDialog } from "./dialog.js";
import { announce, debounce, formatTime, h, icon, iconButton, plural, poll, setText } from "./dom.js";
import { tempoAndKey } from "./facts.js";
import { field, form } from "./form.js";
import { get, getOrStale, mutate } from "./net.js";
import * as playerBar from "./player_bar.js";
import { reorderable } from "./reorder.js";
import { user } from "./session.js";
import { openShareDialog } from "./share_dialog.js";

export const title = "Playlist";

/** Poll interval in milliseconds: there are no events for playlists. */
const POLL_INTERVAL = 5000;
/** How often reading is restarted when the playlist changes between two pages. */
const MAX_READS = 3;

export function open(main, { argument }) {
  return new Playlist(main, argument);
}

class Playlist {
  constructor(main, id) {
    this.address = `/playlists/${encodeURIComponent(id)}`;
    this.main = main;
    this.playlist = null;
    this.moving = false;
    this.saveSoon = debounce(500, () => this.saveOrder());
    this.reloadSoon = debounce(500, () => this.reload().catch(() => {}));
    this.stopWatching = playerBar.watch(() => this.drawPlaying());
    this.stopPolling = poll(POLL_INTERVAL, () => this.refresh());
    this.on = { song: (song) => this.showSong(song), song_removed: ({ id: gone }) => this.showRemoved(gone) };
    main.replaceChildren(h("p", { class: "empty", role: "status" }, "Loading playlist…"));
  }

  async reload() {
    let stale = false;
    try {
      const playlist = await this.read(() => { stale = true; });
      // Do not overwrite a move that is not saved yet.
      if (!this.isMoved && !this.closed) this.draw(playlist);
    } catch (problem) {
      if (problem.offline || problem.code === "no_majority" || this.playlist) throw problem;
      this.main.replaceChildren(h("div", { class: "empty" }, h("h1", {}, "Playlist not found"), h("p", {}, problem.message),
        h("a", { href: "#playlists" }, "All playlists")));
    }
    return stale;
  }

  /** Reloads the playlist if it changed elsewhere. */
  async refresh() {
    if (!this.playlist || this.isMoved) return;
    try {
      const { playlist } = await get(`${this.address}?limit=1`);
      if (playlist.updated_at !== this.playlist.updated_at) await this.reload();
    } catch {
      // Background polling ignores errors; actions of the user report them.
    }
  }

  /** Reads all pages of the playlist. Shows a long one while its other pages load. */
  async read(stale) {
    for (let left = MAX_READS; ; left -= 1) {
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
      const data = await getOrStale(next === null ? this.address : `${this.address}?cursor=${next}`, stale);
      const { entries, hidden } = data.playlist;
      playlist ??= { ...data.playlist, entries: [], hidden: 0 };
      playlist.entries.push(...entries);
      playlist.hidden += hidden;
      next = data.next;
      if (next !== null && !this.playlist && !this.closed) this.draw({ ...playlist, partial: true });
    } while (next !== null && !this.closed);
    return playlist;
  }

  /** Saving an order needs the ids of all entries, so playlists with hidden entries cannot be reordered. */
  get canReorder() {
    return this.canEdit && this.playlist.hidden === 0 && !this.playlist.partial;
  }

  get canEdit() {
    return this.playlist.mine || user?.administrator === true;
  }

  get isMoved() {
    return this.moving || Boolean(this.list?.querySelector(".dragged"));
  }

  draw(playlist) {
    const held = document.activeElement?.closest(".entry");
    const focused = held && [held.dataset.entry, [...held.querySelectorAll("button")].indexOf(document.activeElement)];
    this.playlist = playlist;
    const { entries } = playlist;
    const button = (words, onclick, kind = "") => h("button", { class: `button ${kind}`, type: "button", onclick }, words);
    this.problem = h("p", { class: "bad", role: "alert", hidden: true });
    this.list = h("ol", { class: "entries" }, ...entries.map((entry) => this.item(entry)));
    if (this.canReorder) {
      reorderable(this.list, {
        grip: ".grip",
        step: (item, to) => announce(`${item.dataset.title}: position ${to + 1} of ${this.list.children.length}.`),
        moved: () => {
          this.moving = true;
          this.number();
          this.saveSoon();
        },
      });
    }
    const owner = playlist.owner && playlist.owner.id !== user?.id ? `Shared by ${playlist.owner.name} · ` : "";
    this.main.replaceChildren(...[
      h("p", { class: "crumb" }, h("a", { href: "#playlists" }, "Playlists")),
      h("div", { class: "head" },
        h("div", {}, h("h1", {}, playlist.name), playlist.description ? h("p", {}, playlist.description) : null,
          h("p", { class: "quiet" }, `${owner}${plural(playlist.songs, "song")} · ${formatTime(playlist.duration)}`)),
        h("div", { class: "row" },
          entries.length ? button("Play all", () => this.play(0), "primary") : null,
          this.canEdit ? button("Edit…", () => this.edit()) : null,
          this.canEdit ? button("Share…", () => openShareDialog("playlist", playlist)) : null,
          this.canEdit ? button("Delete…", () => this.delete()) : null)),
      this.problem, this.list,
      playlist.hidden
        ? h("p", { class: "quiet" }, `You don’t have access to ${plural(playlist.hidden, "song")} in this playlist.`)
        : null,
      entries.length
        ? h("p", { class: "quiet", hidden: !this.canReorder },
          "Drag a handle to move a song, or focus it and press the arrow keys.")
        : h("p", { class: "empty" }, "This playlist is empty. Add songs from the menu of a song in the ",
          h("a", { href: "#songs" }, "library"), "."),
      playlist.partial ? h("p", { class: "quiet", role: "status" }, "Loading more songs…") : null,
    ].filter(Boolean));
    this.number();
    this.drawPlaying();
    if (focused) this.list.children[this.indexOf(Number(focused[0]))]?.querySelectorAll("button")[focused[1]]?.focus();
  }

  item(entry) {
    const { song } = entry;
    const facts = [song.artist, ...tempoAndKey(song)].filter(Boolean).join(" · ");
    const grip = iconButton("grip", `Move ${song.title} with the arrow keys`, null, "grip");
    const play = h("button", {
      class: "play", type: "button", "aria-label": `Play ${song.title}`, "aria-pressed": "false",
      onclick: () => this.play(this.indexOf(entry.id)),
    }, icon("play"));
    const item = h("li", { class: "entry" },
      this.canReorder ? grip : null,
      h("span", { class: "place quiet number", "aria-hidden": "true" }),
      play,
      h("div", { class: "entry-name" }, h("strong", {}, song.title), h("span", { class: "quiet" }, facts)),
      h("span", { class: "quiet number" }, formatTime(song.seconds)),
      this.canEdit ? iconButton("close", `Remove ${song.title} from the playlist`, () => this.remove(entry, item)) : null);
    item.dataset.entry = entry.id;
    item.dataset.song = song.id;
    item.dataset.title = song.title;
    return item;
  }

  get order() {
    return [...this.list.children].map((item) => Number(item.dataset.entry));
  }

  indexOf(entry) {
    return this.order.indexOf(entry);
  }

  get songs() {
    const of = new Map(this.playlist.entries.map((entry) => [entry.id, entry.song]));
    return this.order.map((id) => of.get(id));
  }

  play(index) {
    playerBar.play(this.songs, index);
  }

  number() {
    [...this.list.children].forEach((item, index) => setText(item.querySelector(".place"), String(index + 1)));
  }

  drawPlaying() {
    if (!this.playlist) return;
    const now = String(playerBar.playingSong());
    // Update only the entries that play now or did before: there can be thousands.
    for (const button of this.list.querySelectorAll(`[data-song="${now}"] .play, .play[aria-pressed="true"]`)) {
      const item = button.closest(".entry");
      const playing = item.dataset.song === now;
      button.replaceChildren(icon(playing ? "pause" : "play"));
      button.setAttribute("aria-pressed", String(playing));
      button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${item.dataset.title}`);
    }
  }

  showError(problem) {
    setText(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  async saveOrder() {
    try {
      const { playlist } = await mutate("PUT", `${this.address}/order`, { entries: this.order });
      this.playlist.updated_at = playlist.updated_at;
      this.showError("");
      this.moving = false;
    } catch (problem) {
      this.moving = false;
      await this.reload().catch(() => {});
      this.showError(problem.message);
    }
  }

  async remove(entry, item) {
    try {
      await mutate("DELETE", `${this.address}/songs/${entry.id}`);
      const after = item.nextElementSibling ?? item.previousElementSibling;
      const focus = after?.dataset.entry;
      await this.reload();
      announce(`${entry.song.title} removed from the playlist.`);
      (focus ? this.list.children[this.indexOf(Number(focus))]?.querySelector("button") : this.main)?.focus();
    } catch (problem) {
      this.showError(problem.message);
    }
  }

  edit() {
    const close = openDialog("Edit playlist", form({
      fields: [
        field({ name: "name", label: "Name", required: true, maxLength: 200, autocomplete: "off", value: this.playlist.name }),
        field({
          name: "description", label: "Description (optional)", maxLength: 1000, autocomplete: "off",
          value: this.playlist.description ?? "",
        }),
      ],
      submit: "Save",
      action: async ({ name, description }) => {
        await mutate("PATCH", this.address, { name: name.trim(), description: description.trim() });
        close();
        await this.reload();
      },
    }));
  }

  async delete() {
    if (!await confirm(`Delete the playlist “${this.playlist.name}”? Its songs are kept.`, "Delete")) return;
    try {
      await mutate("DELETE", this.address);
      announce(`${this.playlist.name} deleted.`);
      location.hash = "#playlists";
    } catch (problem) {
      this.showError(problem.message);
    }
  }

  showSong(song) {
    if (this.playlist?.entries.some((entry) => entry.song.id === song.id)) this.reloadSoon();
  }

  showRemoved(id) {
    if (this.playlist?.entries.some((entry) => entry.song.id === id)) this.reloadSoon();
  }

  close() {
    this.closed = true;
    this.stopPolling();
    if (this.moving) {
      this.saveSoon.stop();
      this.saveOrder();
    }
    this.reloadSoon.stop();
    this.stopWatching();
  }
}
