// The player bar at the bottom of the page. It plays a queue of songs and stays open on every page.

import { announce, byId, h, iconButton } from "./dom.js";
import { mutate } from "./net.js";
import { Position, Track } from "./player.js";

let queue = [];
let current = -1;
let track = null;
const watchers = new Set();

/** Calls `onChange` when playback starts, pauses or changes song. Returns the function that stops this. */
export function watch(onChange) {
  watchers.add(onChange);
  return () => watchers.delete(onChange);
}

/** The id of the song that is playing, or null. */
export const playingSong = () => (track?.playing ? queue[current].id : null);

/** Counts a play of the song. Errors are ignored. */
export const recordPlay = (song) => mutate("POST", `/songs/${song.id}/plays`).catch(() => {});

/** Plays the queue `songs` from `index`. Toggles playback if that song is the current one. */
export function play(songs, index) {
  const same = track && queue[current]?.id === songs[index].id;
  queue = songs;
  current = index;
  if (same) track.toggle();
  else start();
}

/** Removes a deleted song from the queue. */
export function removeSong(id) {
  const playing = queue[current]?.id;
  queue = queue.filter((song) => song.id !== id);
  if (playing === id) close();
  else current = queue.findIndex((song) => song.id === playing);
}

function step(by) {
  if (!queue[current + by]) return;
  current += by;
  start();
}

function start() {
  const song = queue[current];
  const element = byId("bar");
  const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  track?.close();
  track = new Track({
    name: "whole",
    label: song.artist ? `${song.title} – ${song.artist}` : song.title,
    address: () => song.parts.song.mp3,
    seconds: song.seconds,
    position: new Position(),
    downloads: controls(),
    onFirstPlay: () => recordPlay(song),
    onEnded: () => step(1),
    onChange: () => watchers.forEach((notify) => notify()),
  });
  element.replaceChildren(track.element);
  element.hidden = false;
  document.body.classList.add("has-bar");
  track.play();
  announce(`Playing ${song.title}.`);
  updateMediaSession(song);
  if (focused === null) return;
  const same = (one) => one.getAttribute("aria-label") === focused && !one.disabled;
  ([...element.querySelectorAll("button")].find(same) ?? track.button).focus();
}

function controls() {
  const previous = iconButton("previous", "Previous song", () => step(-1));
  const next = iconButton("next", "Next song", () => step(1));
  previous.disabled = current === 0;
  next.disabled = current === queue.length - 1;
  return h("span", { class: "downloads" }, previous, next, iconButton("close", "Close the player", close));
}

export function close() {
  track?.close();
  track = null;
  queue = [];
  current = -1;
  byId("bar").hidden = true;
  document.body.classList.remove("has-bar");
  watchers.forEach((notify) => notify());
}

/** Sets the metadata and the media keys of the browser's media session. */
function updateMediaSession(song) {
  const session = navigator.mediaSession;
  if (!session) return;
  session.metadata = new MediaMetadata({ title: song.title, artist: song.artist ?? "", album: song.album ?? "" });
  session.setActionHandler("previoustrack", current > 0 ? () => step(-1) : null);
  session.setActionHandler("nexttrack", current < queue.length - 1 ? () => step(1) : null);
}
