// Editing what a song is called, below its row.

import { el } from "./dom.js";
import { field, form } from "./form.js";
import { ask, tell } from "./net.js";

const PICTURES = "image/jpeg,image/png,image/webp,image/gif";
const SUGGESTED = { artist: "artists", album: "albums", genre: "genres" };

/** A form for the song. `done` is called with the song as it is then, or with nothing when nothing was changed. */
export function editor(song, done) {
  const text = (name, label, more = {}) =>
    field({ name, label, maxLength: 200, value: song[name] ?? "", autocomplete: "off", ...more });
  const number = (name, label, more = {}) => text(name, label, { inputMode: "numeric", maxLength: 4, ...more });
  const was = { ...song, bpm: song.own_bpm, key: song.own_key };
  const found = { bpm: song.facts?.tempo, key: song.facts?.key };
  const fields = [
    text("title", "Title", { required: true }), text("artist", "Artist"), text("album", "Album"), text("genre", "Genre"),
    number("year", "Year"), number("track", "Track"),
    number("bpm", "BPM", { inputMode: "decimal", maxLength: 6, value: was.bpm ?? "", placeholder: found.bpm ?? "" }),
    text("key", "Key", { maxLength: 20, value: was.key ?? "", placeholder: found.key ?? "F# minor, Eb, 8A" }),
  ];
  const picture = field({ name: "picture", label: "Cover", type: "file", accept: PICTURES });
  const bare = field({ name: "bare", label: "The cover there is", options: [["", "Keep it"], ["bare", "Remove it"]] });
  bare.element.hidden = !song.cover;
  const lists = Object.entries(SUGGESTED).map(([name, path]) => suggestions(fields.find((one) => one.name === name), path));
  const edited = form({
    kind: "edit", fields: [...fields, picture, bare], submit: "Save", cancel: () => done(null),
    async action(values) {
      const changes = {};
      for (const { name, input } of fields) {
        const value = values[name].trim();
        if (value === String(was[name] ?? "")) continue;
        const counts = input.inputMode !== "" && /^\d+([.,]\d+)?$/.test(value);
        // What is no number goes as it is, so that the node says what it takes.
        changes[name] = value === "" ? null : counts ? Number(value.replace(",", ".")) : value;
      }
      let changed = null;
      if (Object.keys(changes).length > 0) changed = (await tell("PATCH", `/songs/${song.id}`, changes)).song;
      const [file] = picture.input.files;
      const address = `/songs/${song.id}/cover`;
      if (file) changed = (await ask(address, { method: "PUT", body: file })).song;
      else if (values.bare) changed = (await tell("DELETE", address)).song;
      done(changed);
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
