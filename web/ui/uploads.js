// Adding songs: dropping or choosing files and folders. Two travel at a time, each with its progress, while one looks at
// other pages.

import { announce, bytes, counted, el, say, when } from "./dom.js";
import { dropped, looksLikeSong, setExtensions } from "./files.js";
import { Problem, ask, tell, upload, uploadKey } from "./net.js";
import { forgetSong, showSong } from "./live.js";

const AT_A_TIME = 2;
let limits = null;
let running = 0;
const waiting = [];
const all = new Set();
let added = 0;
let leftOut = 0;

const title = el("input", { type: "text", maxLength: 200, autocomplete: "off", placeholder: "the file’s own" });
const model = el("select");
const modelField = el("label", { class: "field", hidden: true }, el("span", {}, "Separated by"), model);
const limitsNote = el("p", { class: "quiet" });
const chooser = (id, more) => el("input", {
  id, class: "file-input", type: "file", multiple: true, ...more,
  onchange: (event) => {
    take([...event.target.files], more.webkitdirectory === true);
    event.target.value = "";
  },
});
const fileChooser = chooser("files", { accept: "audio/*" });
const form = el("form", { class: "drop", onsubmit: (event) => event.preventDefault() },
  el("p", { class: "drop-call" }, el("strong", {}, "Drop songs or folders here"), " or choose some"),
  el("div", { class: "drop-fields" },
    el("label", { class: "field" }, el("span", {}, "Title (if it is one song)"), title),
    modelField,
    el("label", { class: "button primary", for: "files" }, "Choose songs"),
    fileChooser,
    el("label", { class: "button", for: "folder" }, "Choose a folder"),
    chooser("folder", { webkitdirectory: true })),
  limitsNote);
const summary = el("span", { role: "status" });
const single = el("button", { class: "button small", type: "button", onclick: () => removeDoubles() }, "Remove all doubles");
const clear = el("button", { class: "button small", type: "button", onclick: () => dismissAll() }, "Dismiss all");
const head = el("div", { class: "uploads-head", hidden: true }, summary, el("span", { class: "row" }, single, clear));
const list = el("ul", { class: "uploads", "aria-label": "Uploads" });

/** What the page of songs begins with. It is one and the same each time, so that uploads outlast a change of pages. */
export const element = el("section", { "aria-labelledby": "add-heading" },
  el("h2", { id: "add-heading", class: "hidden-heading" }, "Add songs"), form, head, list);

export function setLimits(told) {
  limits = told;
  const extensions = told.kinds.flatMap((kind) => kind.extensions);
  setExtensions(extensions);
  fileChooser.accept = ["audio/*", ...extensions.map((extension) => `.${extension}`)].join();
  const names = told.kinds.map((kind) => kind.name).join(", ");
  say(limitsNote, `${names}; up to ${bytes(told.upload_bytes)} and ${Math.floor(told.song_seconds / 60)} minutes each.`);
}

/** Offers the models that the cluster has, when there is a choice. What was chosen stays. */
export async function loadModels() {
  const { models } = await ask("/models");
  const chosen = model.value;
  model.replaceChildren(...models.map((one) =>
    el("option", { value: one.name }, `${one.name} (${one.sources.length} stems)`)));
  model.value = models.some((one) => one.name === chosen) ? chosen : (models.find((one) => one.default)?.name ?? "");
  modelField.hidden = models.length < 2;
}

/** The whole page takes songs: nobody should see a song replace the page because it fell beside the field. */
export function start(mayAdd) {
  let inside = 0;
  const over = () => form.classList.toggle("over", inside > 0);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { inside += 1; over(); } });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event)) { inside = Math.max(0, inside - 1); over(); } });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    inside = 0;
    over();
    if (!mayAdd()) return;
    location.hash = "#songs";
    try {
      const { files, folders } = await dropped(event.dataTransfer);
      take(files, folders);
    } catch (error) {
      say(summary, `What was dropped could not be read: ${error.message}`);
      head.hidden = false;
    }
  });
  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
}

// Of a folder, what looks like no song is left out; who chose a file by itself hears from the node what is wrong with it.
function take(files, folders) {
  const songs = folders ? files.filter(looksLikeSong) : files;
  if (all.size === 0) added = leftOut = 0;
  leftOut += files.length - songs.length;
  for (const file of songs) {
    const one = new Upload(file, songs.length === 1 ? title.value.trim() : "", model.value);
    all.add(one);
    waiting.push(one);
  }
  title.value = "";
  count();
  run();
}

function run() {
  while (running < AT_A_TIME && waiting.length) {
    running += 1;
    waiting.shift().run().finally(() => {
      running -= 1;
      count();
      run();
    });
  }
}

function count() {
  const states = [...all].map((one) => one.stands);
  const of = (name) => states.filter((state) => state === name).length;
  const open = of("open");
  const words = [
    open ? `${counted(open, "song")} to go` : null,
    added ? `${counted(added, "song")} added` : null,
    of("failed") ? `${of("failed")} not added` : null,
    of("double") ? `${of("double")} you had already` : null,
    leftOut ? `${counted(leftOut, "file")} left out that ${leftOut === 1 ? "is no song" : "are no songs"}` : null,
  ];
  say(summary, words.filter(Boolean).join(", "));
  clear.hidden = open > 0;
  single.hidden = of("double") < 2;
  head.hidden = all.size + leftOut === 0 || (all.size === 1 && leftOut === 0);
}

async function removeDoubles() {
  for (const one of [...all]) if (one.stands === "double") await one.removeNew();
}

function dismissAll() {
  for (const one of [...all]) one.dismiss();
  leftOut = 0;
  added = 0;
  count();
}

class Upload {
  constructor(file, title, model) {
    this.file = file;
    this.wish = { title, model, key: uploadKey() };
    this.stands = "open";
    this.state = el("span", { class: "quiet" }, "waiting");
    this.bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    this.problem = el("p", { class: "bad quiet", role: "alert", hidden: true });
    this.buttons = el("span", { class: "row" });
    this.element = el("li", {},
      el("div", { class: "row" }, el("strong", {}, title || file.name), el("span", { class: "row" }, this.state, this.buttons)),
      this.bar, this.problem);
    this.offer(["Cancel", () => this.abort()]);
    list.append(this.element);
  }

  offer(...choices) {
    this.buttons.replaceChildren(...choices.map(([words, action]) => el("button", {
      class: "button small", type: "button", "aria-label": `${words}: ${this.file.name}`, onclick: action,
    }, words)));
  }

  async run() {
    if (this.stands === "dismissed") return;
    try {
      this.refuseEarly();
      this.sending = upload(this.file, this.wish, (share) => this.progress(share));
      const song = await this.sending.done;
      added += 1;
      announce(`${song.title} was added.`);
      showSong(song);
      if (song.duplicates?.length) await this.isDouble(song);
      else this.dismiss();
    } catch (problem) {
      if (this.stands !== "dismissed") this.fail(problem.message);
    }
  }

  fail(words) {
    this.stands = "failed";
    this.bar.hidden = true;
    say(this.state, "not added");
    say(this.problem, words);
    this.problem.hidden = false;
    this.offer(["Try again", () => this.retry()], ["Dismiss", () => this.dismiss()]);
  }

  /** The same file is among one's songs already. It is added all the same; whether it stays is asked. */
  async isDouble(song) {
    this.stands = "double";
    this.bar.hidden = true;
    const before = await ask(`/songs/${song.duplicates[0]}`).then((data) => data.song, () => null);
    say(this.state, before
      ? `You have this song already: “${before.title}”, added ${when(before.added_at)}.`
      : "You have this song already.");
    this.song = song;
    count();
    this.offer(["Keep both", () => this.dismiss()], ["Remove the new one", () => this.removeNew()]);
  }

  async removeNew() {
    try {
      await tell("DELETE", `/songs/${this.song.id}`);
      added -= 1;
      forgetSong(this.song.id);
      this.dismiss();
    } catch (problem) {
      say(this.problem, problem.message);
      this.problem.hidden = false;
    }
  }

  /** What the node would refuse anyway need not travel first. */
  refuseEarly() {
    if (this.file.size === 0) throw new Problem("The file is empty. Choose a song.");
    if (limits && this.file.size > limits.upload_bytes) {
      throw new Problem(`The file has ${bytes(this.file.size)}; the limit here is ${bytes(limits.upload_bytes)}.`);
    }
  }

  progress(share) {
    this.bar.value = share;
    say(this.state, share < 1 ? `${Math.floor(share * 100)} %` : "checking it and storing it on several nodes…");
  }

  retry() {
    this.stands = "open";
    this.bar.hidden = false;
    this.bar.value = 0;
    this.problem.hidden = true;
    say(this.state, "waiting");
    this.offer(["Cancel", () => this.abort()]);
    waiting.push(this);
    count();
    run();
  }

  abort() {
    this.dismiss();
    this.sending?.abort();
  }

  dismiss() {
    this.stands = "dismissed";
    this.element.remove();
    all.delete(this);
    count();
  }
}
