// The list of songs: searching, sorting and filtering, which the node does, and one row for each song.

import * as bar from "./bar.js";
import { announce, byId, el, say, settled } from "./dom.js";
import { STALE, askOrStale, collect } from "./net.js";
import { Row, isOpen } from "./row.js";
import { setQuery } from "./router.js";
import { allowed, user } from "./session.js";
import * as uploads from "./uploads.js";

export const title = "Songs";

const PAGE = 50;
const COLUMNS = [
  ["playing", "Play"], ["picture", "Cover"], ["title", "Title", "title"], ["artist", "Artist", "artist"],
  ["album", "Album", "album"], ["genre", "Genre", "genre"], ["bpm", "BPM", "bpm"], ["key", "Key"], ["length", "Time", "duration"],
  ["actions", "Actions"],
];
const SORTS = [
  ["-added", "Newest first"], ["added", "Oldest first"], ["title", "Title"], ["artist", "Artist"], ["album", "Album"],
  ["bpm", "Slow to fast"], ["-bpm", "Fast to slow"], ["duration", "Short to long"], ["-duration", "Long to short"],
  ["-plays", "Most heard"], ["-played", "Heard last"], ["-title", "Title, from Z"], ["-artist", "Artist, from Z"],
  ["-album", "Album, from Z"], ["genre", "Genre"], ["-genre", "Genre, from Z"],
];
const NEWEST = "-added";
const FILTERS = ["artist", "album", "genre"];

export function open(main, { query }) {
  return new Songs(main, query);
}

class Songs {
  constructor(main, query) {
    this.rows = new Map();
    this.asked = query;
    this.cursor = null;
    this.newest = 0;
    this.request = null;
    this.soon = settled(400, () => this.reload({ heard: true }).catch(() => {}));
    this.typed = settled(250, () => this.search({ q: this.input.value.trim() }));
    this.unwatch = bar.watch(() => this.rows.forEach((row) => row.drawPlay()));
    this.on = {
      song: (song) => this.show(song),
      song_removed: ({ id }) => this.drop(id),
      job: (job) => this.showJob(job),
    };
    this.build(main);
    this.drawControls();
  }

  build(main) {
    this.input = el("input", {
      type: "search", placeholder: "Search title, artist, album…", "aria-label": "Search songs", value: this.asked.q ?? "",
      autocomplete: "off", oninput: () => this.typed(),
    });
    const toggle = (name, words) => el("button", {
      class: "button", type: "button", hidden: !user,
      onclick: () => this.search({ [name]: this.asked[name] ? "" : "true" }),
    }, words);
    this.toggles = { mine: toggle("mine", "Mine"), favourite: toggle("favourite", "Favourites") };
    this.sort = el("select", { "aria-label": "Sort by", onchange: () => this.search({ sort: this.sort.value }) },
      ...SORTS.map(([value, words]) => el("option", { value }, words)));
    this.chips = el("div", { class: "row chips" });
    this.heads = new Map();
    const head = el("tr", { role: "row" }, ...COLUMNS.map(([name, words, sort]) => {
      const th = el("th", { class: name, scope: "col", role: "columnheader" });
      if (sort) {
        th.append(el("button", { class: "link", type: "button", onclick: () => this.turn(sort) }, words));
        this.heads.set(sort, th);
      } else {
        th.append(el("span", { class: ["playing", "picture", "actions"].includes(name) ? "hidden-heading" : "" }, words));
      }
      return th;
    }));
    this.table = el("table", { class: "songs", role: "table", "aria-label": "Songs", hidden: true },
      el("thead", { role: "rowgroup" }, head));
    this.none = el("div", { class: "empty", role: "status" }, "Reading the songs…");
    this.more = el("button", { class: "button", type: "button", hidden: true, onclick: () => this.readMore() }, "Show more songs");
    main.replaceChildren(
      this.firstRun(), uploads.element,
      el("section", { "aria-labelledby": "songs-heading" },
        el("h1", { id: "songs-heading" }, "Songs"),
        el("div", { class: "toolbar", role: "search" }, this.input, this.toggles.mine, this.toggles.favourite, this.sort),
        this.chips, this.table, this.none, this.more));
  }

  firstRun() {
    if (allowed.accounts) return "";
    return el("p", { class: "hint-box" }, "Nobody has an account yet. ",
      el("a", { href: "#register" }, "Make the first account: it is the administrator’s."));
  }

  focusSearch() {
    this.input.focus();
    this.input.select();
  }

  /** Clicked headers sort, and turn round when they did already. */
  turn(sort) {
    const now = this.asked.sort ?? NEWEST;
    this.search({ sort: now === sort ? `-${sort}` : sort });
  }

  filter(name, value) {
    this.search({ [name]: value });
    window.scrollTo({ top: 0 });
  }

  search(change) {
    this.typed.stop();
    this.asked = Object.fromEntries(Object.entries({ ...this.asked, ...change }).filter(([, value]) => value));
    if (this.asked.sort === NEWEST) delete this.asked.sort;
    setQuery(this.asked);
    this.drawControls();
    this.table.setAttribute("aria-busy", "true");
    this.reload({ anew: true }).catch((problem) => {
      this.table.removeAttribute("aria-busy");
      say(this.none, problem.message);
      this.none.hidden = false;
    });
  }

  drawControls() {
    const sort = this.asked.sort ?? NEWEST;
    this.sort.value = sort;
    for (const [name, th] of this.heads) {
      if (sort === name) th.setAttribute("aria-sort", "ascending");
      else if (sort === `-${name}`) th.setAttribute("aria-sort", "descending");
      else th.removeAttribute("aria-sort");
    }
    for (const [name, button] of Object.entries(this.toggles)) {
      button.setAttribute("aria-pressed", String(Boolean(this.asked[name])));
    }
    this.chips.replaceChildren(...FILTERS.filter((name) => this.asked[name]).map((name) => el("button", {
      class: "button small", type: "button", "aria-label": `Not only the ${name} ${this.asked[name]}`,
      onclick: () => this.search({ [name]: "" }),
    }, `${name}: ${this.asked[name]} ✕`)));
  }

  path(cursor = null) {
    const query = new URLSearchParams({ ...this.asked, limit: PAGE });
    if (cursor !== null) query.set("cursor", cursor);
    return `/songs/?${query}`;
  }

  get filtered() {
    return ["q", "mine", "favourite", ...FILTERS].some((name) => this.asked[name]);
  }

  /**
   * Reads what is there now, as far as it was shown before, or from the beginning when something else was asked for
   * (`anew`). Rows that stay keep what is open and playing in them. How far jobs are need not be asked again of those that
   * were `heard` of all the time. Returns whether this is only what the node knew last.
   */
  async reload({ anew = false, heard = false } = {}) {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    let stale = false;
    const options = { stale: () => { stale = true; }, signal: request.signal };
    try {
      const wanted = anew ? PAGE : Math.max(PAGE, this.rows.size);
      const { items: songs, next } = await collect("songs", (cursor) => this.path(cursor), wanted, options);
      this.cursor = next;
      this.arrange(songs);
      const told = (song) => (isOpen(song.status) || song.status === "FAILED")
        && !(heard && this.rows.get(song.id).job?.id === song.job_id);
      await Promise.all(songs.filter(told).map(async (song) => {
        this.showJob((await askOrStale(`/jobs/${song.job_id}`, options.stale, options)).job);
      }));
      if (!anew) await uploads.loadModels();
    } catch (problem) {
      // Another reading has begun, or the page is gone.
      if (problem.name !== "AbortError") throw problem;
    }
    return stale;
  }

  arrange(songs) {
    const here = new Set(songs.map((song) => song.id));
    for (const [id, row] of this.rows) if (!here.has(id)) this.remove(id, row);
    let last = this.table.tHead;
    for (const song of songs) {
      const row = this.put(song);
      // What stands right stays: moving it would stop what has the focus.
      if (last.nextElementSibling !== row.element) last.after(row.element);
      last = row.element;
    }
    this.finish();
  }

  async readMore() {
    this.more.disabled = true;
    try {
      const options = { from: this.cursor, stale: () => announce(STALE) };
      const { items: songs, next } = await collect("songs", (cursor) => this.path(cursor), 1, options);
      for (const song of songs) {
        const known = this.rows.has(song.id);
        const row = this.put(song);
        if (!known) this.table.append(row.element);
      }
      this.cursor = next;
    } catch (problem) {
      announce(problem.message);
    }
    this.more.disabled = false;
    this.finish();
  }

  put(song) {
    let row = this.rows.get(song.id);
    if (!row) {
      row = new Row(song, this);
      this.rows.set(song.id, row);
    }
    row.update(song);
    this.newest = Math.max(this.newest, song.id);
    return row;
  }

  finish() {
    this.table.removeAttribute("aria-busy");
    this.table.hidden = this.rows.size === 0;
    this.none.hidden = this.rows.size > 0;
    say(this.none, this.filtered
      ? "No song is like that. Search for less, or take a filter away."
      : "No songs yet. The first one you drop above is split into vocals, drums, bass and the rest, and you can listen to "
        + "each by itself.");
    this.more.hidden = this.cursor === null;
  }

  /** The songs as they stand, and which this is: what plays on. */
  around(row) {
    const songs = [...this.table.tBodies].map((body) => this.rows.get(Number(body.dataset.id)).song);
    return [songs, songs.findIndex((song) => song.id === row.song.id)];
  }

  show(song) {
    const row = this.rows.get(song.id);
    if (row) {
      if (song.status === "SPLIT" && row.song.status !== "SPLIT") announce(`${song.title} is split.`);
      row.update(song);
    } else if (song.id > this.newest) {
      // Where it belongs, the node knows. Others were looked at and are not meant by what is searched for.
      this.newest = song.id;
      this.soon();
    }
  }

  showJob(job) {
    const of = new Set(job.songs.map(({ id }) => id));
    for (const [id, row] of this.rows) if (of.has(id)) row.updateJob(job);
  }

  drop(id) {
    bar.drop(id);
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
    this.soon.stop();
    this.typed.stop();
    this.unwatch();
    this.rows.forEach((row) => row.close());
  }
}
