// Sharing: with a user, with everybody, and a song also by a link that ends.

import { copyable } from "./copy.js";
import { sheet } from "./dialog.js";
import { el, say, when } from "./dom.js";
import { field, form } from "./form.js";
import { ask, tell } from "./net.js";

const ENDS = [["1", "in a day"], ["7", "in a week"], ["30", "in a month"], ["365", "in a year"]];

/** Opens the dialog for a song or a playlist. */
export async function share(what, thing) {
  const base = `/${what}s/${thing.id}`;
  const people = el("div");
  const links = el("div");
  sheet(`Share “${thing.title ?? thing.name}”`,
    el("p", { class: "quiet" }, "Who it is shared with may listen and download, and change nothing."),
    people, what === "song" ? links : null);
  await Promise.all([withPeople(base, people), what === "song" ? byLink(base, links) : null]);
}

/** Shows a failure in place of what could not be read. */
async function attempt(part, read) {
  part.replaceChildren(el("p", { class: "quiet" }, "Looking…"));
  try {
    part.replaceChildren(...await read());
  } catch (problem) {
    part.replaceChildren(el("p", { class: "bad", role: "alert" }, problem.message));
  }
}

function withPeople(base, part) {
  const told = el("p", { class: "bad", role: "alert" });
  const everybody = el("input", {
    type: "checkbox", id: "share-everybody",
    onchange: async () => {
      try {
        show(everybody.checked
          ? await tell("POST", `${base}/shares`, { everybody: true })
          : await tell("DELETE", `${base}/shares/everybody`));
      } catch (problem) {
        everybody.checked = !everybody.checked;
        say(told, problem.message);
      }
    },
  });
  const list = el("ul", { class: "plain" });
  const show = (shares) => {
    say(told, "");
    everybody.checked = shares.everybody;
    list.replaceChildren(...shares.users.map((user) => el("li", { class: "line" }, user.username,
      el("button", {
        class: "button small", type: "button", "aria-label": `End sharing with ${user.username}`,
        onclick: () => tell("DELETE", `${base}/shares/${user.id}`).then(show, (problem) => say(told, problem.message)),
      }, "End"))));
  };
  const name = field({ name: "user", label: "With a user", required: true, autocomplete: "off", placeholder: "their name" });
  const add = form({
    kind: "inline", fields: [name], submit: "Share",
    async action({ user }) {
      show(await tell("POST", `${base}/shares`, { user: user.trim() }));
      name.input.value = "";
    },
  });
  return attempt(part, async () => {
    show(await ask(`${base}/shares`));
    return [add, list, el("p", { class: "check" }, everybody, el("label", { for: everybody.id }, "With everybody")), told];
  });
}

function byLink(base, part) {
  const list = el("ul", { class: "plain" });
  const made = el("div");
  const told = el("p", { class: "bad", role: "alert" });
  const read = async () => {
    const data = await ask(`${base}/links`);
    list.replaceChildren(...data.links.map((link) => el("li", { class: "line" }, `A link that ends ${when(link.expires_at)}`,
      el("button", {
        class: "button small", type: "button", "aria-label": `End the link that would end ${when(link.expires_at)}`,
        onclick: () => tell("DELETE", `${base}/links/${link.id}`).then(read).catch((problem) => say(told, problem.message)),
      }, "End now"))));
  };
  const add = form({
    kind: "inline", fields: [field({ name: "days", label: "By a link that ends", options: ENDS, value: "7" })], submit: "Make a link",
    async action({ days }) {
      const { address } = await tell("POST", `${base}/links`, { days: Number(days) });
      made.replaceChildren(
        el("p", {}, "Whoever has this address can listen, without an account. It is shown this once."),
        copyable("The link", `${location.origin}/#${address.slice(1)}`));
      await read();
    },
  });
  return attempt(part, async () => {
    await read();
    return [el("hr"), add, made, list, told];
  });
}
