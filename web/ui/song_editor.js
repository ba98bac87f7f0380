// The metadata editor below a song.

import { h } from "./dom.js";
import { field, form } from "./form.js";
import { get, mutate, request } from "./net.js";

const IMAGE_TYPES = "image/jpeg,image/png,image/webp,image/gif";
const SUGGESTED = { artist: "artists", album: "albums", genre: "genres" };

/** A form for the song's metadata. `done` receives the saved song, or null if nothing changed. */
export function songEditor(song, done) {
  const text = (name, label, more = {}) =>
    field({ name, label, maxLength: 200, value: song[name] ?? "", autocomplete: "off", ...more });
  const number = (name, label, more = {}) => text(name, label, { inputMode: "numeric", maxLength: 4, ...more });
  const current = { ...song, bpm: song.own_bpm, key: song.own_key };
  const found = { bpm: song.facts?.tempo, key: song.facts?.key };
  const fields = [
    text("title", "Title", { required: true }), text("artist", "Artist"), text("album", "Album"), text("genre", "Genre"),
    number("year", "Year"), number("track", "Track"),
    number("bpm", "BPM", { inputMode: "decimal", maxLength: 6, value: current.bpm ?? "", placeholder: found.bpm ?? "" }),
    text("key", "Key", { maxLength: 20, value: current.key ?? "", placeholder: found.key ?? "F# minor, Eb, 8A" }),
  ];
  const picture = field({ name: "picture", label: "New cover", type: "file", accept: IMAGE_TYPES });
  const removeCover = field({ name: "bare", label: "Current cover", options: [["", "Keep"], ["bare", "Remove"]] });
  removeCover.element.hidden = !song.cover;
  const lists = Object.entries(SUGGESTED).map(([name, path]) => suggestions(fields.find((one) => one.name === name), path));
  const element = form({
    kind: "edit", fields: [...fields, picture, removeCover], submit: "Save", cancel: () => done(null),
    async action(values) {
      const changes = {};
      for (const { name, input } of fields) {
        const value = values[name].trim();
        if (value === String(current[name] ?? "")) continue;
        const isNumber = input.inputMode !== "" && /^\d+([.,]\d+)?$/.test(value);
        // Send other text unchanged: the node rejects it with a message.
        changes[name] = value === "" ? null : isNumber ? Number(value.replace(",", ".")) : value;
      }
      let changed = null;
      if (Object.keys(changes).length > 0) changed = (await mutate("PATCH", `/songs/${song.id}`, changes)).song;
      const [file] = picture.input.files;
      const address = `/songs/${song.id}/cover`;
      if (file) changed = (await request(address, { method: "PUT", body: file })).song;
      else if (values.bare) changed = (await mutate("DELETE", address)).song;
      done(changed);
    },
  });
  element.append(...lists);
  element.setAttribute("aria-label", `Edit ${song.title}`);
  return element;
}

/** Suggests existing values, to avoid different spellings of the same name. */
function suggestions({ input }, path) {
  const list = h("datalist", { id: `${input.id}-list` });
  input.setAttribute("list", list.id);
  get(`/${path}`)
    .then((data) => list.replaceChildren(...data[path].map(({ name }) => h("option", { value: name }))))
    .catch(() => {});
  return list;
}
