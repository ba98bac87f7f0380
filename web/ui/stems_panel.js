// The stems of a song with players, downloads and a mixer.

import { h, setText } from "./dom.js";
import { Position, Track } from "./player.js";
import { sortStems, stemName } from "./stems.js";

const ALL_PRESET = "All stems";
const PRESETS = [
  ["Drums + bass", (stem) => (stem === "drums" || stem === "bass" ? 100 : 0)],
  ["No vocals", (stem) => (stem === "vocals" ? 0 : 100)],
  ["No drums", (stem) => (stem === "drums" ? 0 : 100)],
  ["No bass", (stem) => (stem === "bass" ? 0 : 100)],
  [ALL_PRESET, () => 100],
];

/**
 * The panel of a separated song. Its files are under `base`; `job` selects a separation other than the primary one.
 * `onFirstPlay` is called when the original is first played. `close` stops playback.
 */
export function stemsPanel(song, { base, job = null, onFirstPlay = null }) {
  const stems = sortStems(Object.keys(song.parts).filter((part) => part !== "song"));
  const position = new Position();
  const tracks = ["song", ...stems].map((part) => stemTrack(song, part, position, part === "song" ? onFirstPlay : null));
  const [mixTrack, mixer] = createMixer(song, stems, position, base, job);
  const element = h("div", { class: "panel" }, ...tracks.map((track) => track.element), zipLinks(base, job), mixer);
  const all = [...tracks, mixTrack];
  // All tracks show the shared position.
  const timer = setInterval(() => all.forEach((track) => track.draw()), 500);
  return {
    element,
    close() {
      clearInterval(timer);
      all.forEach((track) => track.close());
    },
  };
}

/** The download links of all stems as one ZIP file. */
function zipLinks(base, job) {
  const of = job === null ? "" : `&job=${job}`;
  return h("div", { class: "row all-stems" }, h("span", { class: "quiet" }, "Download all stems:"),
    ...["mp3", "flac", "wav"].map((format) => h("a", {
      class: "button small", href: `${base}/stems.zip?format=${format}${of}`, download: "",
      "aria-label": `ZIP, ${format.toUpperCase()}: download all stems`,
    }, `ZIP, ${format.toUpperCase()}`)));
}

function stemTrack(song, part, position, onFirstPlay) {
  const links = Object.entries(song.parts[part]).map(([format, address]) =>
    h("a", {
      class: "button small", href: `${address}${address.includes("?") ? "&" : "?"}download=1`, download: "",
      "aria-label": `Download ${stemName(part)} as ${format.toUpperCase()}`,
    }, format.toUpperCase()));
  return new Track({
    // The class "song" is used by the rows of the library.
    name: part === "song" ? "whole" : part,
    label: stemName(part),
    address: () => song.parts[part].mp3,
    seconds: song.seconds,
    position,
    onFirstPlay,
    downloads: h("span", { class: "downloads" }, ...links),
  });
}

function createMixer(song, stems, position, base, job) {
  // Skip presets that would mute every stem or none.
  const usable = PRESETS.filter(([name, weight]) => {
    const sounding = stems.filter((stem) => weight(stem) > 0).length;
    return name === ALL_PRESET || (sounding > 0 && sounding < stems.length);
  });
  const weights = new Map(stems.map((stem) => [stem, usable[0][1](stem)]));
  const faders = new Map();
  const link = h("a", { class: "button small", download: "" }, "MP3");
  const note = h("p", { class: "quiet" });

  const address = () => {
    const query = new URLSearchParams();
    for (const [stem, percent] of weights) if (percent > 0) query.set(stem, String(percent / 100));
    if ([...query].length === 0) query.set(stems[0], "0");
    if (job !== null) query.set("job", job);
    return `${base}/mix.mp3?${query}`;
  };
  const track = new Track({
    name: "mix", label: "mix", address, seconds: song.seconds, position,
    downloads: h("span", { class: "downloads" }, link),
  });

  const show = () => {
    for (const [stem, { slider, output }] of faders) {
      slider.value = weights.get(stem);
      slider.setAttribute("aria-valuetext", `${weights.get(stem)} percent`);
      setText(output, `${weights.get(stem)} %`);
    }
    link.href = `${address()}&download=1`;
    link.setAttribute("aria-label", "Download the mix as MP3");
    const audible = [...weights].filter(([, percent]) => percent > 0).map(([stem]) => stemName(stem));
    setText(note, audible.length
      ? `Included stems: ${audible.join(", ")}. A changed mix takes a few seconds to render before it plays or downloads.`
      : "All stems are muted. Raise a slider.");
  };
  const rows = stems.map((stem) => {
    const output = h("output");
    const slider = h("input", {
      type: "range", min: 0, max: 150, step: 5, "aria-label": `Volume of ${stemName(stem)}`,
      oninput: () => {
        weights.set(stem, Number(slider.value));
        show();
      },
      // The node renders the mix, so only the end of a drag requests one.
      onchange: () => track.refresh(),
    });
    faders.set(stem, { slider, output });
    return h("div", { class: `fader ${stem}` }, h("span", {}, stemName(stem)), slider, output);
  });
  const presets = usable.map(([name, weight]) => h("button", {
    class: "button small", type: "button",
    onclick: () => {
      for (const stem of stems) weights.set(stem, weight(stem));
      show();
      track.refresh();
    },
  }, name));
  show();
  const mixer = h("section", { class: "mixer", "aria-label": "Mixer" },
    h("h4", {}, "Mixer"), ...rows, h("div", { class: "row presets" }, ...presets), track.element, note);
  return [track, mixer];
}
