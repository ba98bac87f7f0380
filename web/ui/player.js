// Audio playback. One track plays at a time. All tracks of a song share one position, so that switching between stems
// continues at the same time.

import { formatTime, h, icon, setText } from "./dom.js";
import { playbackError } from "./net.js";

let activeTrack = null;

/** The playback position that all tracks of a song share. */
export class Position {
  seconds = 0;
}

/**
 * A track with a play button, a seek slider and a time. `address` returns the URL and is called on every start of playback.
 * `onFirstPlay` is called on the first playback, `onEnded` at the end of the track, `onChange` when playback starts or pauses.
 */
export class Track {
  constructor({ name, label, address, seconds, position, downloads, onFirstPlay = null, onEnded = null, onChange = null }) {
    this.name = name;
    this.label = label;
    this.address = address;
    this.position = position;
    this.length = seconds;
    this.audio = null;
    this.onFirstPlay = onFirstPlay;
    this.onEnded = onEnded;
    this.onChange = onChange;

    this.button = h("button", { class: "play", type: "button", "aria-pressed": "false", onclick: () => this.toggle() });
    this.seek = h("input", {
      class: "seek", type: "range", min: 0, max: seconds, step: 0.1, value: 0,
      "aria-label": `Position in ${label}`,
      oninput: () => this.seekTo(Number(this.seek.value)),
    });
    this.time = h("span", { class: "time" });
    this.problem = h("p", { class: "problem bad quiet", role: "alert", hidden: true });
    this.element = h("div", { class: `track ${name}` },
      this.button, h("span", { class: "track-name" }, label), this.seek, this.time, downloads, this.problem);
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
    if (activeTrack && activeTrack !== this) activeTrack.stop();
    activeTrack = this;
    this.showError("");
    const address = this.address();
    if (!this.audio) this.createAudio();
    if (this.current !== address) {
      this.current = address;
      this.audio.src = address;
    }
    this.button.classList.add("waiting");
    this.setAudioTime(this.position.seconds >= this.length - 0.5 ? 0 : this.position.seconds);
    this.audio.play().catch(() => this.draw());
  }

  /** Restarts playback at the current position after the URL has changed. */
  refresh() {
    if (this.playing) this.play();
  }

  stop() {
    this.audio?.pause();
  }

  close() {
    this.stop();
    if (this.audio) this.audio.removeAttribute("src");
    if (activeTrack === this) activeTrack = null;
  }

  createAudio() {
    this.audio = h("audio", { preload: "none" });
    const draw = () => this.draw();
    for (const event of ["play", "pause", "ended", "durationchange"]) this.audio.addEventListener(event, draw);
    this.audio.addEventListener("playing", () => {
      this.button.classList.remove("waiting");
      this.onFirstPlay?.();
      this.onFirstPlay = null;
      this.draw();
    });
    this.audio.addEventListener("ended", () => this.onEnded?.());
    this.audio.addEventListener("timeupdate", () => {
      if (!this.playing || this.audio.seeking) return;
      this.position.seconds = this.audio.currentTime;
      this.draw();
    });
    this.audio.addEventListener("error", async () => {
      this.button.classList.remove("waiting");
      if (!this.audio.getAttribute("src")) return;
      const failed = this.current;
      this.current = null;
      this.showError(await playbackError(failed));
      this.draw();
    });
  }

  /** Seeks to the position of the slider. */
  seekTo(seconds) {
    this.position.seconds = seconds;
    if (this.audio && this.current) this.setAudioTime(seconds);
    this.draw();
  }

  setAudioTime(seconds) {
    const set = () => {
      if (Math.abs(this.audio.currentTime - seconds) > 0.05) this.audio.currentTime = seconds;
    };
    if (this.audio.readyState > 0) set();
    else this.audio.addEventListener("loadedmetadata", set, { once: true });
  }

  showError(problem) {
    setText(this.problem, problem);
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
      this.onChange?.();
    }
    this.seek.value = this.position.seconds;
    this.seek.setAttribute("aria-valuetext", formatTime(this.position.seconds));
    setText(this.time, `${formatTime(this.position.seconds)} / ${formatTime(this.length)}`);
  }
}
