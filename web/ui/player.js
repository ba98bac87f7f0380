// Listening: one thing sounds at a time, and all tracks of a song share one place in it, so that switching from the
// drums to the bass goes on where one was.

import { clock, el, icon, say } from "./dom.js";
import { whyNot } from "./net.js";

let sounding = null;

/** The place in a song that its tracks share. */
export class Place {
  seconds = 0;
}

/**
 * One line with a button, a place and a time. `address` is asked each time it begins to play. `began` is called when it
 * sounds for the first time, `ended` when it has come to its end, `changed` when it plays or rests.
 */
export class Track {
  constructor({ name, label, address, seconds, place, downloads, began = null, ended = null, changed = null }) {
    this.name = name;
    this.label = label;
    this.address = address;
    this.place = place;
    this.length = seconds;
    this.audio = null;
    this.began = began;
    this.ended = ended;
    this.changed = changed;

    this.button = el("button", { class: "play", type: "button", "aria-pressed": "false", onclick: () => this.toggle() });
    this.seek = el("input", {
      class: "seek", type: "range", min: 0, max: seconds, step: 0.1, value: 0,
      "aria-label": `Place in ${label}`,
      oninput: () => this.move(Number(this.seek.value)),
    });
    this.time = el("span", { class: "time" });
    this.problem = el("p", { class: "problem bad quiet", role: "alert", hidden: true });
    this.element = el("div", { class: `track ${name}` },
      this.button, el("span", { class: "track-name" }, label), this.seek, this.time, downloads, this.problem);
    this.draw();
  }

  get playing() {
    return this.audio !== null && !this.audio.paused;
  }

  toggle() {
    if (this.playing) this.audio.pause();
    else this.play();
  }

  play() {
    if (sounding && sounding !== this) sounding.stop();
    sounding = this;
    this.say("");
    const address = this.address();
    if (!this.audio) this.open();
    if (this.current !== address) {
      this.current = address;
      this.audio.src = address;
    }
    this.button.classList.add("waiting");
    this.moveAudio(this.place.seconds >= this.length - 0.5 ? 0 : this.place.seconds);
    this.audio.play().catch(() => this.draw());
  }

  /** Plays again from the same place when what is heard has changed. */
  refresh() {
    if (this.playing) this.play();
  }

  stop() {
    this.audio?.pause();
  }

  close() {
    this.stop();
    if (this.audio) this.audio.removeAttribute("src");
    if (sounding === this) sounding = null;
  }

  open() {
    this.audio = el("audio", { preload: "none" });
    const draw = () => this.draw();
    for (const event of ["play", "pause", "ended", "durationchange"]) this.audio.addEventListener(event, draw);
    this.audio.addEventListener("playing", () => {
      this.button.classList.remove("waiting");
      this.began?.();
      this.began = null;
      this.draw();
    });
    this.audio.addEventListener("ended", () => this.ended?.());
    this.audio.addEventListener("timeupdate", () => {
      if (!this.playing || this.audio.seeking) return;
      this.place.seconds = this.audio.currentTime;
      this.draw();
    });
    this.audio.addEventListener("error", async () => {
      this.button.classList.remove("waiting");
      if (!this.audio.getAttribute("src")) return;
      const failed = this.current;
      this.current = null;
      this.say(await whyNot(failed));
      this.draw();
    });
  }

  /** Somebody moved the slider. */
  move(seconds) {
    this.place.seconds = seconds;
    if (this.audio && this.current) this.moveAudio(seconds);
    this.draw();
  }

  moveAudio(seconds) {
    const set = () => {
      if (Math.abs(this.audio.currentTime - seconds) > 0.05) this.audio.currentTime = seconds;
    };
    if (this.audio.readyState > 0) set();
    else this.audio.addEventListener("loadedmetadata", set, { once: true });
  }

  say(problem) {
    say(this.problem, problem);
    this.problem.hidden = problem === "";
  }

  draw() {
    const playing = this.playing;
    if (!playing) this.button.classList.remove("waiting");
    this.button.setAttribute("aria-pressed", String(playing));
    this.button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${this.label}`);
    if (this.drawn !== playing) {
      this.button.replaceChildren(icon(playing ? "pause" : "play"));
      this.drawn = playing;
      this.changed?.();
    }
    this.seek.value = this.place.seconds;
    this.seek.setAttribute("aria-valuetext", clock(this.place.seconds));
    say(this.time, `${clock(this.place.seconds)} / ${clock(this.length)}`);
  }
}
