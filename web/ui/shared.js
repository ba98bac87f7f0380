// The page that a link opens: one song, without an account.

import { clock, el } from "./dom.js";
import { tempoAndKey } from "./facts.js";
import { ask } from "./net.js";
import { panel } from "./panel.js";

export const title = "A song for you";

export function open(main, { argument }) {
  let shown = null;
  const base = `/shared/${argument}`;
  const draw = (song) => {
    const facts = [song.artist, song.album, clock(song.seconds), ...tempoAndKey(song)];
    const head = el("div", { class: "shared-head" },
      song.cover ? el("img", { class: "cover", alt: "", src: song.cover, width: 96, height: 96 }) : null,
      el("div", {}, el("h1", {}, song.title), el("p", { class: "quiet" }, facts.filter(Boolean).join(" · "))));
    if (song.status !== "SPLIT") {
      main.replaceChildren(el("article", { class: "card" }, head,
        el("p", {}, "Its stems are not there yet. Look again in some minutes.")));
      return;
    }
    shown = panel(song, { base });
    main.replaceChildren(el("article", { class: "card" }, head, shown.element));
  };
  main.replaceChildren(el("p", { class: "quiet" }, "Looking for the song…"));
  return {
    async reload() {
      if (shown) return false;
      try {
        draw((await ask(base)).song);
      } catch (problem) {
        if (problem.away || problem.code === "no_majority") throw problem;
        main.replaceChildren(el("div", { class: "empty" }, el("h1", {}, "Nothing here"), el("p", {}, problem.message)));
      }
      return false;
    },
    close: () => shown?.close(),
  };
}
