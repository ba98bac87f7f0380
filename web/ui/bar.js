// The player at the foot of the page: plays songs one after the other, while one goes on looking at lists.

import { announce, byId, el, iconButton } from "./dom.js";
import { tell } from "./net.js";
import { Place, Track } from "./player.js";

let queue = [];
let at = -1;
let track = null;
const watchers = new Set();

/** Calls back whenever another song plays or rests. Returns the function that ends this. */
export function watch(changed) {
  watchers.add(changed);
  return () => watchers.delete(changed);
}

/** The song that sounds now. */
export const sounding = () => (track?.playing ? queue[at].id : null);

/** Notes that a song was heard. That it could not be noted is nobody's trouble. */
export const heard = (song) => tell("POST", `/songs/${song.id}/plays`).catch(() => {});

/** Plays these songs from this one on; the one that is in the bar already goes on or rests. */
export function play(songs, place) {
  const same = track && queue[at]?.id === songs[place].id;
  queue = songs;
  at = place;
  if (same) track.toggle();
  else begin();
}

/** What is deleted is not played. */
export function drop(id) {
  const current = queue[at]?.id;
  queue = queue.filter((song) => song.id !== id);
  if (current === id) close();
  else at = queue.findIndex((song) => song.id === current);
}

function step(by) {
  if (!queue[at + by]) return;
  at += by;
  begin();
}

function begin() {
  const song = queue[at];
  const bar = byId("bar");
  const focused = bar.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  track?.close();
  track = new Track({
    name: "whole",
    label: song.artist ? `${song.title} – ${song.artist}` : song.title,
    address: () => song.parts.song.mp3,
    seconds: song.seconds,
    place: new Place(),
    downloads: controls(),
    began: () => heard(song),
    ended: () => step(1),
    changed: () => watchers.forEach((changed) => changed()),
  });
  bar.replaceChildren(track.element);
  bar.hidden = false;
  document.body.classList.add("has-bar");
  track.play();
  announce(`Playing ${song.title}.`);
  tellSystem(song);
  if (focused === null) return;
  const again = [...bar.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused && !one.disabled);
  (again ?? track.button).focus();
}

function controls() {
  const previous = iconButton("previous", "Previous song", () => step(-1));
  const next = iconButton("next", "Next song", () => step(1));
  previous.disabled = at === 0;
  next.disabled = at === queue.length - 1;
  return el("span", { class: "downloads" }, previous, next, iconButton("close", "Close the player", close));
}

export function close() {
  track?.close();
  track = null;
  queue = [];
  at = -1;
  byId("bar").hidden = true;
  document.body.classList.remove("has-bar");
  watchers.forEach((changed) => changed());
}

// The keys of keyboards and headphones.
function tellSystem(song) {
  const session = navigator.mediaSession;
  if (!session) return;
  session.metadata = new MediaMetadata({ title: song.title, artist: song.artist ?? "", album: song.album ?? "" });
  session.setActionHandler("previoustrack", at > 0 ? () => step(-1) : null);
  session.setActionHandler("nexttrack", at < queue.length - 1 ? () => step(1) : null);
}
