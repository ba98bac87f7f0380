// The page of a shared link: one song, without an account.

import { formatTime, h } from "./dom.js";
import { tempoAndKey } from "./facts.js";
import { get } from "./net.js";
import { stemsPanel } from "./stems_panel.js";

export const title = "Shared song";

export function open(main, { argument }) {
  let shown = null;
  const base = `/shared/${argument}`;
  const draw = (song) => {
    const facts = [song.artist, song.album, formatTime(song.seconds), ...tempoAndKey(song)];
    const head = h("div", { class: "shared-head" },
      song.cover ? h("img", { class: "cover", alt: "", src: song.cover, width: 96, height: 96 }) : null,
      h("div", {}, h("h1", {}, song.title), h("p", { class: "quiet" }, facts.filter(Boolean).join(" · "))));
    if (song.status !== "SPLIT") {
      main.replaceChildren(h("article", { class: "card" }, head,
        h("p", {}, "The stems are not ready yet. Reload this page in a few minutes.")));
      return;
    }
    shown = stemsPanel(song, { base });
    main.replaceChildren(h("article", { class: "card" }, head, shown.element));
  };
  main.replaceChildren(h("p", { class: "quiet" }, "Loading song…"));
  return {
    async reload() {
      if (shown) return false;
      try {
        draw((await get(base)).song);
      } catch (problem) {
        if (problem.offline || problem.code === "no_majority") throw problem;
        main.replaceChildren(h("div", { class: "empty" }, h("h1", {}, "Song not found"), h("p", {}, problem.message)));
      }
      return false;
    },
    close: () => shown?.close(),
  };
}
