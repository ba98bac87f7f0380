// What opens below a split song: its stems, and a mixer.

import { el, say } from "./dom.js";
import { inOrder, partName } from "./parts.js";
import { Place, Track } from "./player.js";

const EVERYTHING = "Everything";
const PRESETS = [
  ["Drums + bass", (stem) => (stem === "drums" || stem === "bass" ? 100 : 0)],
  ["Without vocals", (stem) => (stem === "vocals" ? 0 : 100)],
  ["Without drums", (stem) => (stem === "drums" ? 0 : 100)],
  ["Without bass", (stem) => (stem === "bass" ? 0 : 100)],
  [EVERYTHING, () => 100],
];

/**
 * The panel of a song that is split. Its files lie under `base`; those of another separation than its own are told by its
 * `job`. `began` is called when the song is heard. `close` stops what it plays.
 */
export function panel(song, { base, job = null, began = null }) {
  const stems = inOrder(Object.keys(song.parts).filter((part) => part !== "song"));
  const place = new Place();
  const tracks = ["song", ...stems].map((part) => stemTrack(song, part, place, part === "song" ? began : null));
  const [mixTrack, mixer] = mixing(song, stems, place, base, job);
  const element = el("div", { class: "panel" }, ...tracks.map((track) => track.element), allStems(base, job), mixer);
  const all = [...tracks, mixTrack];
  // All show the same place, whichever moves it.
  const follow = setInterval(() => all.forEach((track) => track.draw()), 500);
  return {
    element,
    close() {
      clearInterval(follow);
      all.forEach((track) => track.close());
    },
  };
}

/** The links that fetch all stems in one file. */
function allStems(base, job) {
  const of = job === null ? "" : `&job=${job}`;
  return el("div", { class: "row all-stems" }, el("span", { class: "quiet" }, "All stems in one file:"),
    ...["mp3", "flac", "wav"].map((format) => el("a", {
      class: "button small", href: `${base}/stems.zip?format=${format}${of}`, download: "",
      "aria-label": `Download all stems as ${format.toUpperCase()} in one ZIP file`,
    }, `ZIP, ${format.toUpperCase()}`)));
}

function stemTrack(song, part, place, began) {
  const links = Object.entries(song.parts[part]).map(([format, address]) =>
    el("a", {
      class: "button small", href: `${address}${address.includes("?") ? "&" : "?"}download=1`, download: "",
      "aria-label": `Download ${partName(part)} as ${format.toUpperCase()}`,
    }, format.toUpperCase()));
  return new Track({
    // The class "song" is the card's.
    name: part === "song" ? "whole" : part,
    label: partName(part),
    address: () => song.parts[part].mp3,
    seconds: song.seconds,
    place,
    began,
    downloads: el("span", { class: "downloads" }, ...links),
  });
}

function mixing(song, stems, place, base, job) {
  // What would silence all of it, or nothing, is no choice.
  const offered = PRESETS.filter(([name, weight]) => {
    const sounding = stems.filter((stem) => weight(stem) > 0).length;
    return name === EVERYTHING || (sounding > 0 && sounding < stems.length);
  });
  const weights = new Map(stems.map((stem) => [stem, offered[0][1](stem)]));
  const faders = new Map();
  const link = el("a", { class: "button small", download: "" }, "MP3");
  const note = el("p", { class: "quiet" });

  const address = () => {
    const query = new URLSearchParams();
    for (const [stem, percent] of weights) if (percent > 0) query.set(stem, String(percent / 100));
    if ([...query].length === 0) query.set(stems[0], "0");
    if (job !== null) query.set("job", job);
    return `${base}/mix.mp3?${query}`;
  };
  const track = new Track({
    name: "mix", label: "mix", address, seconds: song.seconds, place,
    downloads: el("span", { class: "downloads" }, link),
  });

  const show = () => {
    for (const [stem, { slider, output }] of faders) {
      slider.value = weights.get(stem);
      slider.setAttribute("aria-valuetext", `${weights.get(stem)} percent`);
      say(output, `${weights.get(stem)} %`);
    }
    link.href = `${address()}&download=1`;
    link.setAttribute("aria-label", "Download the mix as MP3");
    const heard = [...weights].filter(([, percent]) => percent > 0).map(([stem]) => partName(stem));
    say(note, heard.length
      ? `You hear ${heard.join(", ")}. A new mix takes some seconds to make when you play or download it.`
      : "Everything is silent. Pull a slider up.");
  };
  const rows = stems.map((stem) => {
    const output = el("output");
    const slider = el("input", {
      type: "range", min: 0, max: 150, step: 5, "aria-label": `Loudness of ${partName(stem)} in the mix`,
      oninput: () => {
        weights.set(stem, Number(slider.value));
        show();
      },
      // Mixes are made by the node, so only a slider that has come to rest makes one.
      onchange: () => track.refresh(),
    });
    faders.set(stem, { slider, output });
    return el("div", { class: `fader ${stem}` }, el("span", {}, partName(stem)), slider, output);
  });
  const presets = offered.map(([name, weight]) => el("button", {
    class: "button small", type: "button",
    onclick: () => {
      for (const stem of stems) weights.set(stem, weight(stem));
      show();
      track.refresh();
    },
  }, name));
  show();
  const mixer = el("section", { class: "mixer", "aria-label": "Mix" },
    el("h4", {}, "Your own mix"), ...rows, el("div", { class: "row presets" }, ...presets), track.element, note);
  return [track, mixer];
}
