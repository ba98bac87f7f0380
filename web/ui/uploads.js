// Uploads of dropped or chosen files and folders. Two files are sent at a time, and uploads continue when the user opens
// other pages.

import { announce, formatBytes, formatDate, h, plural, setText } from "./dom.js";
import { droppedFiles, looksLikeAudio, setExtensions } from "./dropped_files.js";
import { songChanged, songRemoved } from "./events.js";
import { AppError, get, idempotencyKey, mutate, upload } from "./net.js";

const MAX_PARALLEL = 2;
let limits = null;
let running = 0;
const waiting = [];
const all = new Set();
let added = 0;
let skipped = 0;

const title = h("input", { type: "text", maxLength: 200, autocomplete: "off", placeholder: "From file" });
const model = h("select");
const modelField = h("label", { class: "field", hidden: true }, h("span", {}, "Model"), model);
const limitsNote = h("p", { class: "quiet" });
const fileInput = (id, more) => h("input", {
  id, class: "file-input", type: "file", multiple: true, ...more,
  onchange: (event) => {
    addFiles([...event.target.files], more.webkitdirectory === true);
    event.target.value = "";
  },
});
const filesInput = fileInput("files", { accept: "audio/*" });
const form = h("form", { class: "drop", onsubmit: (event) => event.preventDefault() },
  h("p", { class: "drop-title" }, h("strong", {}, "Drop songs or folders here"), " or choose files"),
  h("div", { class: "drop-fields" },
    h("label", { class: "field" }, h("span", {}, "Title (single song only)"), title),
    modelField,
    h("label", { class: "button primary", for: "files" }, "Choose files"),
    filesInput,
    h("label", { class: "button", for: "folder" }, "Choose folder"),
    fileInput("folder", { webkitdirectory: true })),
  limitsNote);
const summary = h("span", { role: "status" });
const removeButton = h("button", {
  class: "button small", type: "button", onclick: () => removeDuplicates(),
}, "Remove duplicates");
const dismissButton = h("button", { class: "button small", type: "button", onclick: () => dismissAll() }, "Dismiss all");
const head = h("div", { class: "uploads-head", hidden: true }, summary, h("span", { class: "row" }, removeButton, dismissButton));
const list = h("ul", { class: "uploads", "aria-label": "Uploads" });

/** The upload section of the library. It is created once, so that uploads continue when the page changes. */
export const element = h("section", { "aria-labelledby": "add-heading" },
  h("h2", { id: "add-heading", class: "hidden-heading" }, "Upload songs"), form, head, list);

export function setLimits(value) {
  limits = value;
  const extensions = value.kinds.flatMap((kind) => kind.extensions);
  setExtensions(extensions);
  filesInput.accept = ["audio/*", ...extensions.map((extension) => `.${extension}`)].join();
  const names = value.kinds.map((kind) => kind.name).join(", ");
  const minutes = Math.floor(value.song_seconds / 60);
  setText(limitsNote, `${names}. Up to ${formatBytes(value.upload_bytes)} and ${minutes} minutes per file.`);
}

/** Lists the models of the cluster if there are several. Keeps the selection. */
export async function loadModels() {
  const { models } = await get("/models");
  const chosen = model.value;
  model.replaceChildren(...models.map((one) =>
    h("option", { value: one.name }, `${one.name} (${one.sources.length} stems)`)));
  model.value = models.some((one) => one.name === chosen) ? chosen : (models.find((one) => one.default)?.name ?? "");
  modelField.hidden = models.length < 2;
}

/** Accepts drops on the whole page, so that the browser never opens a dropped file instead. */
export function start(hasAccess) {
  let inside = 0;
  const highlight = () => form.classList.toggle("over", inside > 0);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { inside += 1; highlight(); } });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event)) { inside = Math.max(0, inside - 1); highlight(); } });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    inside = 0;
    highlight();
    if (!hasAccess()) return;
    location.hash = "#songs";
    try {
      const { files, folders } = await droppedFiles(event.dataTransfer);
      addFiles(files, folders);
    } catch (error) {
      setText(summary, `Cannot read the dropped files: ${error.message}`);
      head.hidden = false;
    }
  });
  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
}

/** Queues files. Folders are filtered for audio files; single files are all sent, and the node reports what is wrong. */
function addFiles(files, folders) {
  const songs = folders ? files.filter(looksLikeAudio) : files;
  if (all.size === 0) added = skipped = 0;
  skipped += files.length - songs.length;
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
  while (running < MAX_PARALLEL && waiting.length) {
    running += 1;
    waiting.shift().run().finally(() => {
      running -= 1;
      count();
      run();
    });
  }
}

function count() {
  const states = [...all].map((one) => one.status);
  const of = (name) => states.filter((state) => state === name).length;
  const pending = of("pending");
  const words = [
    pending ? `${pending} uploading` : null,
    added ? `${added} added` : null,
    of("failed") ? `${of("failed")} failed` : null,
    of("duplicate") ? plural(of("duplicate"), "duplicate") : null,
    skipped ? `${plural(skipped, "other file")} skipped` : null,
  ];
  setText(summary, words.filter(Boolean).join(", "));
  dismissButton.hidden = pending > 0;
  removeButton.hidden = of("duplicate") < 2;
  head.hidden = all.size + skipped === 0 || (all.size === 1 && skipped === 0);
}

async function removeDuplicates() {
  for (const one of [...all]) if (one.status === "duplicate") await one.removeNew();
}

function dismissAll() {
  for (const one of [...all]) one.dismiss();
  skipped = 0;
  added = 0;
  count();
}

class Upload {
  constructor(file, title, model) {
    this.file = file;
    this.options = { title, model, key: idempotencyKey() };
    this.status = "pending";
    this.state = h("span", { class: "quiet" }, "queued");
    this.progressBar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    this.problem = h("p", { class: "bad quiet", role: "alert", hidden: true });
    this.buttons = h("span", { class: "row" });
    this.element = h("li", {},
      h("div", { class: "row" }, h("strong", {}, title || file.name), h("span", { class: "row" }, this.state, this.buttons)),
      this.progressBar, this.problem);
    this.offer(["Cancel", () => this.abort()]);
    list.append(this.element);
  }

  offer(...choices) {
    this.buttons.replaceChildren(...choices.map(([words, action]) => h("button", {
      class: "button small", type: "button", "aria-label": `${words}: ${this.file.name}`, onclick: action,
    }, words)));
  }

  async run() {
    if (this.status === "dismissed") return;
    try {
      this.validate();
      this.sending = upload(this.file, this.options, (fraction) => this.progress(fraction));
      const song = await this.sending.done;
      added += 1;
      announce(`${song.title} added.`);
      songChanged(song);
      if (song.duplicates?.length) await this.askAboutDuplicate(song);
      else this.dismiss();
    } catch (problem) {
      if (this.status !== "dismissed") this.fail(problem.message);
    }
  }

  fail(words) {
    this.status = "failed";
    this.progressBar.hidden = true;
    setText(this.state, "failed");
    setText(this.problem, words);
    this.problem.hidden = false;
    this.offer(["Retry", () => this.retry()], ["Dismiss", () => this.dismiss()]);
  }

  /** The library has the same file already. Both are kept until the user decides. */
  async askAboutDuplicate(song) {
    this.status = "duplicate";
    this.progressBar.hidden = true;
    const before = await get(`/songs/${song.duplicates[0]}`).then((data) => data.song, () => null);
    setText(this.state, before
      ? `Duplicate of “${before.title}”, added ${formatDate(before.added_at)}.`
      : "This song is a duplicate.");
    this.song = song;
    count();
    this.offer(["Keep both", () => this.dismiss()], ["Remove duplicate", () => this.removeNew()]);
  }

  async removeNew() {
    try {
      await mutate("DELETE", `/songs/${this.song.id}`);
      added -= 1;
      songRemoved({ id: this.song.id });
      this.dismiss();
    } catch (problem) {
      setText(this.problem, problem.message);
      this.problem.hidden = false;
    }
  }

  /** Rejects files that the node would reject, before they are sent. */
  validate() {
    if (this.file.size === 0) throw new AppError("The file is empty.");
    if (limits && this.file.size > limits.upload_bytes) {
      const [size, limit] = [this.file.size, limits.upload_bytes].map(formatBytes);
      throw new AppError(`The file is too large: ${size}. The limit is ${limit}.`);
    }
  }

  progress(fraction) {
    this.progressBar.value = fraction;
    setText(this.state, fraction < 1 ? `${Math.floor(fraction * 100)} %` : "processing…");
  }

  retry() {
    this.status = "pending";
    this.progressBar.hidden = false;
    this.progressBar.value = 0;
    this.problem.hidden = true;
    setText(this.state, "queued");
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
    this.status = "dismissed";
    this.element.remove();
    all.delete(this);
    count();
  }
}
