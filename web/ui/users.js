// The users, for administrators.

import { choose, confirm, sheet } from "./dialog.js";
import { announce, el, say, when } from "./dom.js";
import { form } from "./form.js";
import { openMenu } from "./menu.js";
import { askOrStale, tell } from "./net.js";
import { accountFields, passwordFields } from "./register.js";
import { register, user as me } from "./session.js";

export const title = "Users";

const PAGE = 50;

/** Asks what becomes of the songs, and removes a user. Returns whether that was done. */
export async function remove(user) {
  const who = user.id === me.id ? "your account" : `the user “${user.username}”`;
  const songs = await choose(`Delete ${who}? What becomes of the songs? Playlists, tokens and shares go.`, [
    ["Keep the user", undefined, ""],
    ["Leave to everybody what is shared with everybody", "hand_over", "danger"],
    ["Delete all songs", "delete", "danger"],
  ]);
  if (!songs) return false;
  await tell("DELETE", `/users/${user.id}?songs=${songs}`);
  announce(`${user.username} was deleted.`);
  return true;
}

export function open(main) {
  if (!me.administrator) {
    main.replaceChildren(el("p", { class: "empty" }, "This page is for administrators."));
    return {};
  }
  const list = el("ul", { class: "jobs", "aria-label": "Users" });
  const none = el("p", { class: "empty", role: "status" }, "Reading the users…");
  const problem = el("p", { class: "bad", role: "alert", hidden: true });
  const more = el("button", { class: "button", type: "button", hidden: true, onclick: () => read(next).catch(fail) }, "Show more users");
  let next = null;
  const fail = (failed) => {
    say(problem, failed.message);
    problem.hidden = false;
  };
  const read = async (before) => {
    let stale = false;
    const path = `/users/?limit=${PAGE}${before === null ? "" : `&before=${before}`}`;
    const data = await askOrStale(path, () => { stale = true; });
    if (before === null) list.replaceChildren();
    list.append(...data.users.map((user) => item(user, act)));
    next = data.next;
    more.hidden = next === null;
    none.hidden = true;
    return stale;
  };
  const act = async (what) => {
    try {
      problem.hidden = true;
      if (await what() !== false) await read(null);
    } catch (failed) {
      fail(failed);
    }
  };
  main.replaceChildren(
    el("div", { class: "head" }, el("h1", {}, "Users"),
      el("button", { class: "button primary", type: "button", onclick: () => add(() => read(null)) }, "Add a user")),
    problem, list, none, more);
  return {
    reload: () => read(null),
  };
}

function add(added) {
  const close = sheet("Add a user", form({
    fields: accountFields(), submit: "Add",
    async action(wish) {
      await register({ ...wish, username: wish.username.trim() });
      close();
      await added();
    },
  }));
}

function setPassword(user) {
  const close = sheet(`A new password for ${user.username}`, form({
    fields: passwordFields("New password"), submit: "Set it",
    async action(values) {
      await tell("PATCH", `/users/${user.id}`, values);
      close();
      announce(`${user.username} has a new password.`);
    },
  }));
}

function item(user, act) {
  const address = `/users/${user.id}`;
  const more = el("button", {
    class: "button small", type: "button", "aria-haspopup": "menu", "aria-label": `What to do with ${user.username}`,
    onclick: () => openMenu(more, [
      [user.administrator ? "Make a plain user" : "Make an administrator", () => act(async () => {
        const question = user.administrator
          ? `Take from ${user.username} what administrators may?`
          : `Make ${user.username} an administrator, who sees everything and may delete it?`;
        if (!await confirm(question, "Yes", "No")) return false;
        return tell("PATCH", address, { administrator: !user.administrator });
      })],
      user.id !== me.id && ["Set a new password…", () => setPassword(user)],
      ["Log out everywhere", () => act(async () => {
        if (!await confirm(`Log ${user.username} out everywhere?`, "Log out", "Leave it")) return false;
        await tell("DELETE", `${address}/sessions`);
        return announce(`${user.username} was logged out.`);
      })],
      ["Delete…", () => act(() => remove(user)), "bad"],
    ]),
  }, "Change");
  return el("li", { class: "job" }, el("div", { class: "job-head" },
    el("div", {}, el("strong", {}, user.username), " ",
      user.administrator ? el("span", { class: "tag" }, "administrator") : null,
      user.id === me.id ? el("span", { class: "tag" }, "you") : null,
      el("p", { class: "quiet" }, [user.email, `since ${when(user.created_at)}`].filter(Boolean).join(" · "))),
    more));
}
