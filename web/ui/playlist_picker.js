// Adding songs to a playlist, and creating playlists.

import { openDialog } from "./dialog.js";
import { announce } from "./dom.js";
import { field, form } from "./form.js";
import { openMenu } from "./menu.js";
import { get, mutate } from "./net.js";

/** Opens a menu of the user's playlists at the button and adds the songs to the chosen one. */
export async function addToPlaylist(button, songs) {
  let lists;
  try {
    lists = (await get("/playlists/")).playlists.filter((list) => list.mine);
  } catch (problem) {
    openMenu(button, [[problem.message, null]]);
    return;
  }
  openMenu(button, [
    ["Add to playlist", null],
    ...lists.map((list) => [list.name, () => add(button, list, songs)]),
    ["New playlist…", () => newPlaylist((list) => add(button, list, songs))],
  ]);
}

/** Asks for a name and creates a playlist. */
export function newPlaylist(created) {
  const close = openDialog("New playlist", form({
    fields: [
      field({ name: "name", label: "Name", required: true, maxLength: 200, autocomplete: "off" }),
      field({ name: "description", label: "Description (optional)", maxLength: 1000, autocomplete: "off" }),
    ],
    submit: "Create playlist",
    async action({ name, description }) {
      const body = description.trim() ? { name: name.trim(), description: description.trim() } : { name: name.trim() };
      const { playlist } = await mutate("POST", "/playlists/", body);
      close();
      created(playlist);
    },
  }));
}

async function add(button, list, songs) {
  try {
    await mutate("POST", `/playlists/${list.id}/songs`, { songs: songs.map((song) => song.id) });
    announce(`Added to ${list.name}.`);
    openMenu(button, [[`Added to ${list.name}.`, null], ["Open playlist", () => { location.hash = `#playlists/${list.id}`; }]]);
  } catch (problem) {
    openMenu(button, [[problem.message, null]]);
  }
}
