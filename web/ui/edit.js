// Editing what a song is called, below its row.

import { el } from "./dom.js";
import { field, form } from "./form.js";
import { ask, tell } from "./net.js";

const SUGGESTED = { artist: "artists", album: "albums", genre: "genres" };

/** A form for the song. `done` is called with the song as it is then, or with nothing when nothing was changed. */
export function editor(song, done) {
  const text = (name, label, more = {}) =>
    field({ name, label, maxLength: 200, value: song[name] ?? "", autocomplete: "off", ...more });
  const number = (name, label) => text(name, label, { inputMode: "numeric", maxLength: 4 });
  const fields = [
    text("title", "Title", { required: true }), text("artist", "Artist"), text("album", "Album"), text("genre", "Genre"),
    number("year", "Year"), number("track", "Track"),
  ];
  const lists = Object.entries(SUGGESTED).map(([name, path]) => suggestions(fields.find((one) => one.name === name), path));
  const edited = form({
    kind: "edit", fields, submit: "Save", cancel: () => done(null),
    async action(values) {
      const changes = {};
      for (const { name, input } of fields) {
        const value = values[name].trim();
        if (value === String(song[name] ?? "")) continue;
        const counts = input.inputMode === "numeric";
        // What is no number goes as it is, so that the node says what it takes.
        changes[name] = value === "" ? null : counts && /^\d+$/.test(value) ? Number(value) : value;
      }
      if (Object.keys(changes).length === 0) done(null);
      else done((await tell("PATCH", `/songs/${song.id}`, changes)).song);
    },
  });
  edited.append(...lists);
  edited.setAttribute("aria-label", `Edit ${song.title}`);
  return edited;
}

/** What is in use already, so that one genre is not written in three ways. */
function suggestions({ input }, path) {
  const list = el("datalist", { id: `${input.id}-list` });
  input.setAttribute("list", list.id);
  ask(`/${path}`)
    .then((data) => list.replaceChildren(...data[path].map(({ name }) => el("option", { value: name }))))
    .catch(() => {});
  return list;
}
