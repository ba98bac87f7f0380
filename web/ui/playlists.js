// One's playlists, and those that others share.

import { clock, counted, el, nowAndAgain, when } from "./dom.js";
import { askOrStale } from "./net.js";
import { newPlaylist } from "./pick.js";
import { user } from "./session.js";

export const title = "Playlists";

/** How often it is looked whether there are others: the nodes tell of songs and jobs alone. */
const LOOK_EVERY = 5000;

export function open(main) {
  let drawn = "";
  const list = el("ul", { class: "cards" });
  const none = el("p", { class: "empty", role: "status" }, "Reading the playlists…");
  main.replaceChildren(el("div", { class: "head" }, el("h1", {}, "Playlists"),
    el("button", {
      class: "button primary", type: "button", onclick: () => newPlaylist((made) => { location.hash = `#playlists/${made.id}`; }),
    }, "New playlist")), list, none);
  const page = {
    async reload() {
      let stale = false;
      const { playlists } = await askOrStale("/playlists/", () => { stale = true; });
      const key = JSON.stringify(playlists);
      // What has not changed keeps the focus.
      if (key === drawn) return stale;
      drawn = key;
      list.replaceChildren(...playlists.map(card));
      none.hidden = playlists.length > 0;
      none.textContent = "No playlists yet. Make one for the next rehearsal, and add songs to it from the list of songs.";
      return stale;
    },
    close: nowAndAgain(LOOK_EVERY, () => page.reload().catch(() => {})),
  };
  return page;
}

function card(playlist) {
  const from = playlist.owner && playlist.owner.id !== user?.id ? `from ${playlist.owner.name}` : null;
  const about = [from, counted(playlist.songs, "song"), playlist.songs ? clock(playlist.duration) : null,
    `changed ${when(playlist.updated_at)}`];
  return el("li", { class: "card" },
    el("a", { class: "cover-link", href: `#playlists/${playlist.id}` }, playlist.name),
    playlist.description ? el("p", {}, playlist.description) : null,
    el("p", { class: "quiet" }, about.filter(Boolean).join(" · ")));
}
