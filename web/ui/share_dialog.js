// The share dialog: with a user, with everyone, and for songs with an expiring link.

import { copyField } from "./copy_field.js";
import { openDialog } from "./dialog.js";
import { formatDate, h, setText } from "./dom.js";
import { field, form } from "./form.js";
import { get, mutate } from "./net.js";

const EXPIRY_DAYS = [["1", "1 day"], ["7", "7 days"], ["30", "30 days"], ["365", "1 year"]];

/** Opens the dialog for a song or a playlist. */
export async function openShareDialog(kind, thing) {
  const base = `/${kind}s/${thing.id}`;
  const people = h("div");
  const links = h("div");
  openDialog(`Share “${thing.title ?? thing.name}”`,
    h("p", { class: "quiet" }, "People you share with can listen and download. They cannot make changes."),
    people, kind === "song" ? links : null);
  await Promise.all([userShares(base, people), kind === "song" ? linkShares(base, links) : null]);
}

/** Loads one part of the dialog. Shows the error in its place if that fails. */
async function loadPart(part, read) {
  part.replaceChildren(h("p", { class: "quiet" }, "Loading…"));
  try {
    part.replaceChildren(...await read());
  } catch (problem) {
    part.replaceChildren(h("p", { class: "bad", role: "alert" }, problem.message));
  }
}

function userShares(base, part) {
  const errorText = h("p", { class: "bad", role: "alert" });
  const everyone = h("input", {
    type: "checkbox", id: "share-everybody",
    onchange: async () => {
      try {
        show(everyone.checked
          ? await mutate("POST", `${base}/shares`, { everybody: true })
          : await mutate("DELETE", `${base}/shares/everybody`));
      } catch (problem) {
        everyone.checked = !everyone.checked;
        setText(errorText, problem.message);
      }
    },
  });
  const list = h("ul", { class: "plain" });
  const show = (shares) => {
    setText(errorText, "");
    everyone.checked = shares.everybody;
    list.replaceChildren(...shares.users.map((user) => h("li", { class: "line" }, user.username,
      h("button", {
        class: "button small", type: "button", "aria-label": `Remove: stop sharing with ${user.username}`,
        onclick: () => mutate("DELETE", `${base}/shares/${user.id}`)
          .then(show, (problem) => setText(errorText, problem.message)),
      }, "Remove"))));
  };
  const name = field({
    name: "user", label: "Share with a user", required: true, autocomplete: "off", placeholder: "username",
  });
  const add = form({
    kind: "inline", fields: [name], submit: "Share",
    async action({ user }) {
      show(await mutate("POST", `${base}/shares`, { user: user.trim() }));
      name.input.value = "";
    },
  });
  return loadPart(part, async () => {
    show(await get(`${base}/shares`));
    return [add, list, h("p", { class: "check" }, everyone, h("label", { for: everyone.id }, "Share with everyone")), errorText];
  });
}

function linkShares(base, part) {
  const list = h("ul", { class: "plain" });
  const created = h("div");
  const errorText = h("p", { class: "bad", role: "alert" });
  const read = async () => {
    const data = await get(`${base}/links`);
    list.replaceChildren(...data.links.map((link) => h("li", { class: "line" }, `Link, expires ${formatDate(link.expires_at)}`,
      h("button", {
        class: "button small", type: "button", "aria-label": `Revoke the link that expires ${formatDate(link.expires_at)}`,
        onclick: () => mutate("DELETE", `${base}/links/${link.id}`).then(read)
          .catch((problem) => setText(errorText, problem.message)),
      }, "Revoke"))));
  };
  const expiry = field({ name: "days", label: "Link expires after", options: EXPIRY_DAYS, value: "7" });
  const add = form({
    kind: "inline", fields: [expiry], submit: "Create link",
    async action({ days }) {
      const { address } = await mutate("POST", `${base}/links`, { days: Number(days) });
      created.replaceChildren(
        h("p", {}, "Anyone with this link can listen without an account. Copy it now; it will not be shown again."),
        copyField("Link", `${location.origin}/#${address.slice(1)}`));
      await read();
    },
  });
  return loadPart(part, async () => {
    await read();
    return [h("hr"), add, created, list, errorText];
  });
}
