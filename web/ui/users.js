// User management for administrators.

import { choose, confirm, openDialog } from "./dialog.js";
import { announce, formatDate, h, setText } from "./dom.js";
import { form } from "./form.js";
import { openMenu } from "./menu.js";
import { getOrStale, mutate } from "./net.js";
import { accountFields, passwordFields } from "./register.js";
import { register, user as me } from "./session.js";

export const title = "Users";

const PAGE_SIZE = 50;

/** Asks what to do with the user's songs and deletes the user. Returns whether the user was deleted. */
export async function deleteUser(user) {
  const who = user.id === me.id ? "your account" : `the user “${user.username}”`;
  const songs = await choose(`Delete ${who}? Playlists, tokens and shares are deleted too. Choose what to do with the songs.`, [
    ["Cancel", undefined, ""],
    ["Keep only songs shared with everyone", "hand_over", "danger"],
    ["Delete all songs", "delete", "danger"],
  ]);
  if (!songs) return false;
  await mutate("DELETE", `/users/${user.id}?songs=${songs}`);
  announce(`${user.username} deleted.`);
  return true;
}

export function open(main) {
  if (!me.administrator) {
    main.replaceChildren(h("p", { class: "empty" }, "Only administrators can open this page."));
    return {};
  }
  const list = h("ul", { class: "jobs", "aria-label": "Users" });
  const placeholder = h("p", { class: "empty", role: "status" }, "Loading users…");
  const problem = h("p", { class: "bad", role: "alert", hidden: true });
  const more = h("button", { class: "button", type: "button", hidden: true, onclick: () => read(next).catch(fail) }, "Load more");
  let next = null;
  const fail = (failed) => {
    setText(problem, failed.message);
    problem.hidden = false;
  };
  const read = async (before) => {
    let stale = false;
    const path = `/users/?limit=${PAGE_SIZE}${before === null ? "" : `&before=${before}`}`;
    const data = await getOrStale(path, () => { stale = true; });
    if (before === null) list.replaceChildren();
    list.append(...data.users.map((user) => item(user, run)));
    next = data.next;
    more.hidden = next === null;
    placeholder.hidden = true;
    return stale;
  };
  const run = async (action) => {
    try {
      problem.hidden = true;
      if (await action() !== false) await read(null);
    } catch (failed) {
      fail(failed);
    }
  };
  main.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, "Users"),
      h("button", { class: "button primary", type: "button", onclick: () => add(() => read(null)) }, "Add user")),
    problem, list, placeholder, more);
  return {
    reload: () => read(null),
  };
}

function add(added) {
  const close = openDialog("Add user", form({
    fields: accountFields(), submit: "Add user",
    async action(values) {
      await register({ ...values, username: values.username.trim() });
      close();
      await added();
    },
  }));
}

function setPassword(user) {
  const close = openDialog(`Set password for ${user.username}`, form({
    fields: passwordFields("New password", "Repeat new password"), submit: "Set password",
    async action(values) {
      await mutate("PATCH", `/users/${user.id}`, values);
      close();
      announce(`Password of ${user.username} changed.`);
    },
  }));
}

function item(user, run) {
  const address = `/users/${user.id}`;
  const more = h("button", {
    class: "button small", type: "button", "aria-haspopup": "menu", "aria-label": `Actions for ${user.username}`,
    onclick: () => openMenu(more, [
      [user.administrator ? "Remove administrator role" : "Make administrator", () => run(async () => {
        const question = user.administrator
          ? `Remove the administrator role from ${user.username}?`
          : `Make ${user.username} an administrator? Administrators can see, change and delete everything.`;
        if (!await confirm(question, user.administrator ? "Remove role" : "Make administrator")) return false;
        return mutate("PATCH", address, { administrator: !user.administrator });
      })],
      user.id !== me.id && ["Set password…", () => setPassword(user)],
      ["Log out everywhere", () => run(async () => {
        if (!await confirm(`Log ${user.username} out of all sessions?`, "Log out")) return false;
        await mutate("DELETE", `${address}/sessions`);
        return announce(`${user.username} logged out.`);
      })],
      ["Delete…", () => run(() => deleteUser(user)), "bad"],
    ]),
  }, "Actions");
  return h("li", { class: "job" }, h("div", { class: "job-head" },
    h("div", {}, h("strong", {}, user.username), " ",
      user.administrator ? h("span", { class: "tag" }, "administrator") : null,
      user.id === me.id ? h("span", { class: "tag" }, "you") : null,
      h("p", { class: "quiet" }, [user.email, `created ${formatDate(user.created_at)}`].filter(Boolean).join(" · "))),
    more));
}
