// Adding songs: dropping or choosing them, one upload after the other, with its progress.

import { announce, byId, bytes, el, say } from "./dom.js";
import { Problem, ask, upload } from "./net.js";
import { show } from "./songs.js";

let limits = null;
let running = false;
const waiting = [];

export function setLimits(told) {
  limits = told;
  say(byId("drop-limits"),
    `MP3, WAV, FLAC, Ogg Vorbis, M4A or AAC; up to ${bytes(told.upload_bytes)} and ${Math.floor(told.song_seconds / 60)} minutes.`);
}

/** Offers the models that the cluster has, when there is a choice. What was chosen stays. */
export async function loadModels() {
  const { models } = await ask("/models");
  const select = byId("model");
  const chosen = select.value;
  select.replaceChildren(...models.map((model) =>
    el("option", { value: model.name }, `${model.name} (${model.sources.length} stems)`)));
  select.value = models.some((model) => model.name === chosen) ? chosen : (models.find((model) => model.default)?.name ?? "");
  byId("model-field").hidden = models.length < 2;
}

export function start() {
  const form = byId("drop");
  const input = byId("files");
  const title = byId("title");
  const take = (files) => {
    const chosen = [...files];
    chosen.forEach((file) => add(file, chosen.length === 1 ? title.value.trim() : "", byId("model").value));
    title.value = "";
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    input.click();
  });
  input.addEventListener("change", () => {
    take(input.files);
    input.value = "";
  });
  // The whole page takes songs: nobody should see a song replace the page because it fell beside the field.
  let inside = 0;
  const over = () => form.classList.toggle("over", inside > 0);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { inside += 1; over(); } });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event)) { inside = Math.max(0, inside - 1); over(); } });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    inside = 0;
    over();
    take(event.dataTransfer.files);
  });
  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
}

function add(file, title, model) {
  waiting.push(new Upload(file, title, model));
  run();
}

async function run() {
  if (running) return;
  running = true;
  for (let one = waiting.shift(); one; one = waiting.shift()) await one.run();
  running = false;
}

class Upload {
  constructor(file, title, model) {
    this.file = file;
    this.title = title;
    this.model = model;
    this.cancelled = false;
    this.state = el("span", { class: "quiet" }, "waiting");
    this.bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    this.problem = el("p", { class: "bad quiet", role: "alert", hidden: true });
    this.again = el("button", { class: "button small", type: "button", hidden: true, onclick: () => this.retry() }, "Try again");
    this.stop = el("button", { class: "button small", type: "button", onclick: () => this.abort() }, "Cancel");
    this.stop.setAttribute("aria-label", `Cancel the upload of ${file.name}`);
    this.element = el("li", {},
      el("div", { class: "row" }, el("strong", {}, title || file.name), el("span", { class: "row" }, this.state, this.again, this.stop)),
      this.bar, this.problem);
    byId("uploads").append(this.element);
  }

  async run() {
    if (this.cancelled) return;
    try {
      this.refuseEarly();
      const sending = upload(this.file, this.title, this.model, (share) => this.progress(share));
      this.sending = sending;
      const song = await sending.done;
      this.element.remove();
      announce(`${song.title} was added.`);
      show(song);
    } catch (problem) {
      if (this.cancelled) return;
      this.bar.hidden = true;
      say(this.state, "not added");
      say(this.problem, problem.message);
      this.problem.hidden = false;
      this.again.hidden = false;
      say(this.stop, "Dismiss");
      this.stop.setAttribute("aria-label", `Dismiss the upload of ${this.file.name}`);
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
    this.bar.hidden = false;
    this.bar.value = 0;
    this.problem.hidden = true;
    this.again.hidden = true;
    say(this.state, "waiting");
    say(this.stop, "Cancel");
    this.stop.setAttribute("aria-label", `Cancel the upload of ${this.file.name}`);
    waiting.push(this);
    run();
  }

  abort() {
    this.cancelled = true;
    this.sending?.abort();
    this.element.remove();
  }
}
