// Choosing a playlist for songs.

import { sheet } from "./dialog.js";
import { announce } from "./dom.js";
import { field, form } from "./form.js";
import { openMenu } from "./menu.js";
import { ask, tell } from "./net.js";

/** Opens a menu of one's playlists at the button, and puts the songs into the one that is chosen. */
export async function addToPlaylist(button, songs) {
  let lists;
  try {
    lists = (await ask("/playlists/")).playlists.filter((list) => list.mine);
  } catch (problem) {
    openMenu(button, [[problem.message, null]]);
    return;
  }
  openMenu(button, [
    ["Add to", null],
    ...lists.map((list) => [list.name, () => add(button, list, songs)]),
    ["New playlist…", () => newPlaylist((list) => add(button, list, songs))],
  ]);
}

/** Asks for a name and makes a playlist. */
export function newPlaylist(made) {
  const close = sheet("New playlist", form({
    fields: [
      field({ name: "name", label: "Name", required: true, maxLength: 200, autocomplete: "off" }),
      field({ name: "description", label: "Description, if you like", maxLength: 1000, autocomplete: "off" }),
    ],
    submit: "Make it",
    async action({ name, description }) {
      const wish = description.trim() ? { name: name.trim(), description: description.trim() } : { name: name.trim() };
      const { playlist } = await tell("POST", "/playlists/", wish);
      close();
      made(playlist);
    },
  }));
}

async function add(button, list, songs) {
  try {
    await tell("POST", `/playlists/${list.id}/songs`, { songs: songs.map((song) => song.id) });
    announce(`Added to ${list.name}.`);
    openMenu(button, [[`Added to ${list.name}.`, null], ["Go there", () => { location.hash = `#playlists/${list.id}`; }]]);
  } catch (problem) {
    openMenu(button, [[problem.message, null]]);
  }
}
