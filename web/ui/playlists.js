// The user's playlists and those shared by others.

import { formatDate, formatTime, h, plural, poll } from "./dom.js";
import { getOrStale } from "./net.js";
import { newPlaylist } from "./playlist_picker.js";
import { user } from "./session.js";

export const title = "Playlists";

/** Poll interval in milliseconds: there are no events for playlists. */
const POLL_INTERVAL = 5000;

export function open(main) {
  let drawn = "";
  const list = h("ul", { class: "cards" });
  const placeholder = h("p", { class: "empty", role: "status" }, "Loading playlists…");
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Playlists"),
    h("button", {
      class: "button primary", type: "button",
      onclick: () => newPlaylist((playlist) => { location.hash = `#playlists/${playlist.id}`; }),
    }, "New playlist")), list, placeholder);
  const page = {
    async reload() {
      let stale = false;
      const { playlists } = await getOrStale("/playlists/", () => { stale = true; });
      const key = JSON.stringify(playlists);
      // Redrawing would lose the focus.
      if (key === drawn) return stale;
      drawn = key;
      list.replaceChildren(...playlists.map(card));
      placeholder.hidden = playlists.length > 0;
      placeholder.textContent = "No playlists yet. Create one, then add songs from the library.";
      return stale;
    },
    close: poll(POLL_INTERVAL, () => page.reload().catch(() => {})),
  };
  return page;
}

function card(playlist) {
  const from = playlist.owner && playlist.owner.id !== user?.id ? `Shared by ${playlist.owner.name}` : null;
  const about = [from, plural(playlist.songs, "song"), playlist.songs ? formatTime(playlist.duration) : null,
    `changed ${formatDate(playlist.updated_at)}`];
  return h("li", { class: "card" },
    h("a", { class: "cover-link", href: `#playlists/${playlist.id}` }, playlist.name),
    playlist.description ? h("p", {}, playlist.description) : null,
    h("p", { class: "quiet" }, about.filter(Boolean).join(" · ")));
}
