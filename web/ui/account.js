// The account page: profile, password, sessions, API tokens, webhooks and deletion.

import { copyField } from "./copy_field.js";
import { confirm } from "./dialog.js";
import { formatDate, h, setText } from "./dom.js";
import { field, form } from "./form.js";
import { get, mutate } from "./net.js";
import { passwordFields } from "./register.js";
import { logOut, user } from "./session.js";
import { deleteUser } from "./users.js";
import { Webhooks } from "./webhooks.js";

export const title = "Account";

const EXPIRY_DAYS = [["30", "30 days"], ["365", "1 year"], ["", "Never"]];

export function open(main, { done, renamed }) {
  const base = `/users/${user.id}`;
  const problem = h("p", { class: "bad", role: "alert", hidden: true });
  const fail = (failed) => {
    setText(problem, failed.message);
    problem.hidden = false;
  };
  const tokens = h("ul", { class: "plain" });
  const sessions = h("ul", { class: "plain" });
  const button = (words, onclick, label = words, kind = "") =>
    h("button", { class: `button ${kind}`, type: "button", "aria-label": label, onclick: () => onclick().catch(fail) }, words);

  const readTokens = async () => {
    const data = await get(`${base}/tokens`);
    tokens.replaceChildren(...data.tokens.map((token) => h("li", { class: "line" },
      h("span", {}, token.name, h("span", { class: "quiet" },
        ` created ${formatDate(token.created_at)}, `,
        token.expires_at ? `expires ${formatDate(token.expires_at)}` : "never expires")),
      button("Revoke", async () => {
        if (!await confirm(`Revoke the token “${token.name}”? Programs that use it will lose access.`, "Revoke")) return;
        await mutate("DELETE", `${base}/tokens/${token.id}`);
        await readTokens();
      }, `Revoke ${token.name}`, "small"))));
  };
  const readSessions = async () => {
    const data = await get(`${base}/sessions`);
    sessions.replaceChildren(...data.sessions.map((session) => h("li", { class: "line" },
      h("span", {}, browserName(session.browser), " ", session.current ? h("span", { class: "tag" }, "current") : null,
        h("span", { class: "quiet" }, ` since ${formatDate(session.created_at)}`)),
      session.current ? null : button("Log out", async () => {
        await mutate("DELETE", `${base}/sessions/${session.id}`);
        await readSessions();
      }, `Log out ${browserName(session.browser)}`, "small"))));
  };
  const endSession = (action) => async () => {
    await action();
    await done();
  };

  const created = h("div");
  const webhooks = new Webhooks(base);
  main.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, user.username), button("Log out", endSession(logOut))),
    h("p", { class: "quiet" }, `${user.administrator ? "Administrator. " : ""}Account created ${formatDate(user.created_at)}.`),
    problem,
    h("div", { class: "columns" },
      section("Profile", form({
        fields: [
          field({
            name: "username", label: "Username", required: true, maxLength: 64, autocomplete: "username", value: user.username,
          }),
          field({ name: "email", label: "Email", type: "email", autocomplete: "email", value: user.email ?? "" }),
        ],
        submit: "Save",
        async action({ username, email }) {
          await mutate("PATCH", base, { username: username.trim(), email: email.trim() });
          await renamed();
          return "Saved.";
        },
      })),
      section("Password", passwordForm(base)),
      section("Sessions", sessions,
        button("Log out everywhere", async () => {
          if (!await confirm("Log out of all sessions, including this one?", "Log out everywhere")) return;
          await endSession(() => mutate("DELETE", `${base}/sessions`))();
        })),
      section("API tokens",
        h("p", { class: "quiet" }, "A token gives a program the same access as your account. Send it in the header ",
          "“Authorization: Bearer …”. See the ", h("a", { href: "/api/" }, "API reference"), "."),
        tokens, tokenForm(base, created, readTokens), created),
      section("Music players",
        h("p", { class: "quiet" }, "Apps that support OpenSubsonic can play your songs and playlists. Enter this server ",
          "address, your username, and an API token as the password."),
        copyField("Server address", location.origin),
        h("p", { class: "quiet" }, "Username: ", h("strong", {}, user.username))),
      section("Webhooks", webhooks.element),
      section("Delete account", h("p", { class: "quiet" }, "You choose what happens to your songs."),
        button("Delete account…", async () => {
          if (await deleteUser(user)) await endSession(async () => {})();
        }))));
  return {
    async reload() {
      await Promise.all([readTokens(), readSessions(), webhooks.reload()]);
      problem.hidden = true;
      return false;
    },
    close: webhooks.close,
  };
}

const section = (words, ...children) => h("section", { class: "card" }, h("h2", {}, words), ...children);

function passwordForm(base) {
  const fields = [
    field({ name: "password", label: "Current password", type: "password", required: true, autocomplete: "current-password" }),
    ...passwordFields("New password", "Repeat new password"),
  ];
  return form({
    fields, submit: "Change password",
    async action(values) {
      await mutate("PATCH", base, values);
      fields.forEach((one) => { one.input.value = ""; });
      return "Password changed. All other sessions were logged out.";
    },
  });
}

function tokenForm(base, created, read) {
  const name = field({ name: "name", label: "Token name", required: true, maxLength: 100, autocomplete: "off" });
  const days = field({ name: "days", label: "Expires after", options: EXPIRY_DAYS, value: "365" });
  return form({
    kind: "inline", fields: [name, days], submit: "Create token",
    async action(values) {
      const body = values.days ? { name: values.name, days: Number(values.days) } : { name: values.name };
      const { secret } = await mutate("POST", `${base}/tokens`, body);
      name.input.value = "";
      created.replaceChildren(h("p", {}, "Copy the token now. It will not be shown again."), copyField("Token", secret));
      await read();
    },
  });
}

/** Browser and operating system of a User-Agent header. */
function browserName(agent) {
  const name = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]]
    .find(([mark]) => agent.includes(mark))?.[1];
  const system = ["iPhone", "iPad", "Android", "Windows", "Mac OS", "Linux"].find((mark) => agent.includes(mark));
  if (!name) return agent.slice(0, 60) || "Unknown browser";
  return system ? `${name} on ${system}` : name;
}
