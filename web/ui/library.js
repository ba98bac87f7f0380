// The library: one row per song. The node searches, sorts and filters.

import { announce, byId, debounce, h, setText } from "./dom.js";
import { STALE, getOrStale, readPages } from "./net.js";
import * as playerBar from "./player_bar.js";
import { setQuery } from "./router.js";
import { access, user } from "./session.js";
import { SongRow, isPending } from "./song_row.js";
import * as uploads from "./uploads.js";

export const title = "Library";

const PAGE_SIZE = 50;
const COLUMNS = [
  ["playing", "Play"], ["picture", "Cover"], ["title", "Title", "title"], ["artist", "Artist", "artist"],
  ["album", "Album", "album"], ["genre", "Genre", "genre"], ["bpm", "BPM", "bpm"], ["key", "Key"],
  ["length", "Length", "duration"], ["actions", "Actions"],
];
const SORTS = [
  ["-added", "Newest first"], ["added", "Oldest first"], ["title", "Title"], ["artist", "Artist"], ["album", "Album"],
  ["bpm", "BPM, low to high"], ["-bpm", "BPM, high to low"], ["duration", "Shortest first"], ["-duration", "Longest first"],
  ["-plays", "Most played"], ["-played", "Recently played"], ["-title", "Title, Z to A"], ["-artist", "Artist, Z to A"],
  ["-album", "Album, Z to A"], ["genre", "Genre"], ["-genre", "Genre, Z to A"],
];
const NEWEST = "-added";
const FILTERS = ["artist", "album", "genre"];

export function open(main, { query }) {
  return new Library(main, query);
}

class Library {
  constructor(main, query) {
    this.rows = new Map();
    this.query = query;
    this.cursor = null;
    this.newest = 0;
    this.request = null;
    this.reloadSoon = debounce(400, () => this.reload({ live: true }).catch(() => {}));
    this.searchSoon = debounce(250, () => this.search({ q: this.input.value.trim() }));
    this.stopWatching = playerBar.watch(() => this.rows.forEach((row) => row.drawPlay()));
    this.on = {
      song: (song) => this.show(song),
      song_removed: ({ id }) => this.removeSong(id),
      job: (job) => this.showJob(job),
    };
    this.build(main);
    this.drawControls();
  }

  build(main) {
    this.input = h("input", {
      type: "search", placeholder: "Search title, artist, album…", "aria-label": "Search songs", value: this.query.q ?? "",
      autocomplete: "off", oninput: () => this.searchSoon(),
    });
    const toggle = (name, words) => h("button", {
      class: "button", type: "button", hidden: !user,
      onclick: () => this.search({ [name]: this.query[name] ? "" : "true" }),
    }, words);
    this.toggles = { mine: toggle("mine", "My songs"), favourite: toggle("favourite", "Favourites") };
    this.sort = h("select", { "aria-label": "Sort by", onchange: () => this.search({ sort: this.sort.value }) },
      ...SORTS.map(([value, words]) => h("option", { value }, words)));
    this.chips = h("div", { class: "row chips" });
    this.headers = new Map();
    const head = h("tr", { role: "row" }, ...COLUMNS.map(([name, words, sort]) => {
      const th = h("th", { class: name, scope: "col", role: "columnheader" });
      if (sort) {
        th.append(h("button", { class: "link", type: "button", onclick: () => this.toggleSort(sort) }, words));
        this.headers.set(sort, th);
      } else {
        th.append(h("span", { class: ["playing", "picture", "actions"].includes(name) ? "hidden-heading" : "" }, words));
      }
      return th;
    }));
    this.table = h("table", { class: "songs", role: "table", "aria-label": "Songs", hidden: true },
      h("thead", { role: "rowgroup" }, head));
    this.placeholder = h("div", { class: "empty", role: "status" }, "Loading songs…");
    this.more = h("button", { class: "button", type: "button", hidden: true, onclick: () => this.readMore() }, "Load more");
    main.replaceChildren(
      this.firstRun(), uploads.element,
      h("section", { "aria-labelledby": "songs-heading" },
        h("h1", { id: "songs-heading" }, "Library"),
        h("div", { class: "toolbar", role: "search" }, this.input, this.toggles.mine, this.toggles.favourite, this.sort),
        this.chips, this.table, this.placeholder, this.more));
  }

  firstRun() {
    if (access.accounts) return "";
    return h("p", { class: "hint-box" }, "There are no accounts yet. ",
      h("a", { href: "#register" }, "Create the administrator account"));
  }

  focusSearch() {
    this.input.focus();
    this.input.select();
  }

  /** Sorts by a column, or reverses the order if it is sorted by that column already. */
  toggleSort(sort) {
    const now = this.query.sort ?? NEWEST;
    this.search({ sort: now === sort ? `-${sort}` : sort });
  }

  filter(name, value) {
    this.search({ [name]: value });
    window.scrollTo({ top: 0 });
  }

  search(change) {
    this.searchSoon.stop();
    this.query = Object.fromEntries(Object.entries({ ...this.query, ...change }).filter(([, value]) => value));
    if (this.query.sort === NEWEST) delete this.query.sort;
    setQuery(this.query);
    this.drawControls();
    this.table.setAttribute("aria-busy", "true");
    this.reload({ fromStart: true }).catch((problem) => {
      this.table.removeAttribute("aria-busy");
      setText(this.placeholder, problem.message);
      this.placeholder.hidden = false;
    });
  }

  drawControls() {
    const sort = this.query.sort ?? NEWEST;
    this.sort.value = sort;
    for (const [name, th] of this.headers) {
      if (sort === name) th.setAttribute("aria-sort", "ascending");
      else if (sort === `-${name}`) th.setAttribute("aria-sort", "descending");
      else th.removeAttribute("aria-sort");
    }
    for (const [name, button] of Object.entries(this.toggles)) {
      button.setAttribute("aria-pressed", String(Boolean(this.query[name])));
    }
    this.chips.replaceChildren(...FILTERS.filter((name) => this.query[name]).map((name) => h("button", {
      class: "button small", type: "button", "aria-label": `Remove filter: ${name} ${this.query[name]}`,
      onclick: () => this.search({ [name]: "" }),
    }, `${name}: ${this.query[name]} ✕`)));
  }

  path(cursor = null) {
    const query = new URLSearchParams({ ...this.query, limit: PAGE_SIZE });
    if (cursor !== null) query.set("cursor", cursor);
    return `/songs/?${query}`;
  }

  get filtered() {
    return ["q", "mine", "favourite", ...FILTERS].some((name) => this.query[name]);
  }

  /**
   * Reloads as many songs as are shown, or the first page for a new search (`fromStart`). Rows that stay keep their open panel
   * and playback. With `live`, jobs that events keep up to date are not requested again. Returns whether the data is stale.
   */
  async reload({ fromStart = false, live = false } = {}) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    let stale = false;
    const options = { stale: () => { stale = true; }, signal: request.signal };
    try {
      const wanted = fromStart ? PAGE_SIZE : Math.max(PAGE_SIZE, this.rows.size);
      const { items: songs, next } = await readPages("songs", (cursor) => this.path(cursor), wanted, options);
      this.cursor = next;
      this.arrange(songs);
      const needsJob = (song) => (isPending(song.status) || song.status === "FAILED")
        && !(live && this.rows.get(song.id).job?.id === song.job_id);
      await Promise.all(songs.filter(needsJob).map(async (song) => {
        this.showJob((await getOrStale(`/jobs/${song.job_id}`, options.stale, options)).job);
      }));
      if (!fromStart) await uploads.loadModels();
    } catch (problem) {
      // A newer request replaced this one, or the page was closed.
      if (problem.name !== "AbortError") throw problem;
    }
    return stale;
  }

  arrange(songs) {
    const here = new Set(songs.map((song) => song.id));
    for (const [id, row] of this.rows) if (!here.has(id)) this.remove(id, row);
    let last = this.table.tHead;
    for (const song of songs) {
      const row = this.upsert(song);
      // Rows in the right place are not moved: moving them would lose the focus.
      if (last.nextElementSibling !== row.element) last.after(row.element);
      last = row.element;
    }
    this.finish();
  }

  async readMore() {
    this.more.disabled = true;
    try {
      const options = { from: this.cursor, stale: () => announce(STALE) };
      const { items: songs, next } = await readPages("songs", (cursor) => this.path(cursor), 1, options);
      for (const song of songs) {
        const known = this.rows.has(song.id);
        const row = this.upsert(song);
        if (!known) this.table.append(row.element);
      }
      this.cursor = next;
    } catch (problem) {
      announce(problem.message);
    }
    this.more.disabled = false;
    this.finish();
  }

  upsert(song) {
    let row = this.rows.get(song.id);
    if (!row) {
      row = new SongRow(song, this);
      this.rows.set(song.id, row);
    }
    row.update(song);
    this.newest = Math.max(this.newest, song.id);
    return row;
  }

  finish() {
    this.table.removeAttribute("aria-busy");
    this.table.hidden = this.rows.size === 0;
    this.placeholder.hidden = this.rows.size > 0;
    setText(this.placeholder, this.filtered
      ? "No songs match. Try fewer words or remove a filter."
      : "No songs yet. Upload a song to separate it into vocals, drums, bass and other.");
    this.more.hidden = this.cursor === null;
  }

  /** The songs in the order of the table, and the index of this one. */
  queueFrom(row) {
    const songs = [...this.table.tBodies].map((body) => this.rows.get(Number(body.dataset.id)).song);
    return [songs, songs.findIndex((song) => song.id === row.song.id)];
  }

  show(song) {
    const row = this.rows.get(song.id);
    if (row) {
      if (song.status === "SPLIT" && row.song.status !== "SPLIT") announce(`The stems of ${song.title} are ready.`);
      row.update(song);
    } else if (song.id > this.newest) {
      // A new song: the reload finds its place. Older songs that are not shown do not match the search.
      this.newest = song.id;
      this.reloadSoon();
    }
  }

  showJob(job) {
    const of = new Set(job.songs.map(({ id }) => id));
    for (const [id, row] of this.rows) if (of.has(id)) row.updateJob(job);
  }

  removeSong(id) {
    playerBar.removeSong(id);
    const row = this.rows.get(id);
    if (!row) return;
    const focused = row.element.contains(document.activeElement) || document.activeElement === document.body;
    this.remove(id, row);
    this.finish();
    if (focused) byId("main").focus();
  }

  remove(id, row) {
    row.close();
    row.element.remove();
    this.rows.delete(id);
  }

  close() {
    this.request?.abort();
    this.reloadSoon.stop();
    this.searchSoon.stop();
    this.stopWatching();
    this.rows.forEach((row) => row.close());
  }
}
