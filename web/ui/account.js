// One's account: name, password, tokens for programs, web hooks, and where one is logged in.

import { copyable } from "./copy.js";
import { confirm } from "./dialog.js";
import { el, say, when } from "./dom.js";
import { field, form } from "./form.js";
import { tell, ask } from "./net.js";
import { passwordFields } from "./register.js";
import { logOut, user } from "./session.js";
import { remove } from "./users.js";
import { WebHooks } from "./webhooks.js";

export const title = "Account";

const DAYS = [["30", "in a month"], ["365", "in a year"], ["", "never"]];

export function open(main, { done, renamed }) {
  const base = `/users/${user.id}`;
  const problem = el("p", { class: "bad", role: "alert", hidden: true });
  const fail = (failed) => {
    say(problem, failed.message);
    problem.hidden = false;
  };
  const tokens = el("ul", { class: "plain" });
  const sessions = el("ul", { class: "plain" });
  const button = (words, onclick, label = words, kind = "") =>
    el("button", { class: `button ${kind}`, type: "button", "aria-label": label, onclick: () => onclick().catch(fail) }, words);

  const readTokens = async () => {
    const data = await ask(`${base}/tokens`);
    tokens.replaceChildren(...data.tokens.map((token) => el("li", { class: "line" },
      el("span", {}, token.name, el("span", { class: "quiet" },
        ` made ${when(token.created_at)}, ${token.expires_at ? `ends ${when(token.expires_at)}` : "does not end"}`)),
      button("Revoke", async () => {
        if (!await confirm(`Revoke “${token.name}”? Programs that use it are refused from then on.`, "Revoke")) return;
        await tell("DELETE", `${base}/tokens/${token.id}`);
        await readTokens();
      }, `Revoke ${token.name}`, "small"))));
  };
  const readSessions = async () => {
    const data = await ask(`${base}/sessions`);
    sessions.replaceChildren(...data.sessions.map((session) => el("li", { class: "line" },
      el("span", {}, browser(session.browser), " ", session.current ? el("span", { class: "tag" }, "this one") : null,
        el("span", { class: "quiet" }, ` since ${when(session.created_at)}`)),
      session.current ? null : button("Log out", async () => {
        await tell("DELETE", `${base}/sessions/${session.id}`);
        await readSessions();
      }, `Log out ${browser(session.browser)}`, "small"))));
  };
  const leave = (how) => async () => {
    await how();
    await done();
  };

  const made = el("div");
  const hooks = new WebHooks(base);
  main.replaceChildren(
    el("div", { class: "head" }, el("h1", {}, user.username), button("Log out", leave(logOut))),
    el("p", { class: "quiet" }, `${user.administrator ? "An administrator. " : ""}Here since ${when(user.created_at)}.`),
    problem,
    el("div", { class: "columns" },
      section("Name and address", form({
        fields: [
          field({ name: "username", label: "Name", required: true, maxLength: 64, autocomplete: "username", value: user.username }),
          field({ name: "email", label: "E-mail", type: "email", autocomplete: "email", value: user.email ?? "" }),
        ],
        submit: "Save",
        async action({ username, email }) {
          await tell("PATCH", base, { username: username.trim(), email: email.trim() });
          await renamed();
          return "Saved.";
        },
      })),
      section("Password", passwordForm(base)),
      section("Where you are logged in", sessions,
        button("Log out everywhere", async () => {
          if (!await confirm("Log out everywhere, here too?", "Log out everywhere", "Stay")) return;
          await leave(() => tell("DELETE", `${base}/sessions`))();
        })),
      section("Tokens for programs",
        el("p", { class: "quiet" }, "A program sends one as “Authorization: Bearer …” and may then do what you may. ",
          el("a", { href: "/api/" }, "What programs can ask for, to try it"), "."),
        tokens, tokenForm(base, made, readTokens), made),
      section("Players",
        el("p", { class: "quiet" }, "Players that speak OpenSubsonic play your songs and playlists: on a telephone, in the ",
          "car, at the stereo. Give them this server, your name, and a token for programs as the password."),
        copyable("The server for players", location.origin),
        el("p", { class: "quiet" }, "User name: ", el("strong", {}, user.username))),
      section("Web hooks", hooks.element),
      section("Leaving", el("p", { class: "quiet" }, "Your account, and your songs as you say."),
        button("Delete my account…", async () => {
          if (await remove(user)) await leave(async () => {})();
        }))));
  return {
    async reload() {
      await Promise.all([readTokens(), readSessions(), hooks.reload()]);
      problem.hidden = true;
      return false;
    },
    close: hooks.close,
  };
}

const section = (words, ...children) => el("section", { class: "card" }, el("h2", {}, words), ...children);

function passwordForm(base) {
  const fields = [
    field({ name: "password", label: "Password as it is", type: "password", required: true, autocomplete: "current-password" }),
    ...passwordFields("New password"),
  ];
  return form({
    fields, submit: "Change it",
    async action(values) {
      await tell("PATCH", base, values);
      fields.forEach((one) => { one.input.value = ""; });
      return "Changed. Everywhere else you are logged out.";
    },
  });
}

function tokenForm(base, made, read) {
  const name = field({ name: "name", label: "What it is for", required: true, maxLength: 100, autocomplete: "off" });
  return form({
    kind: "inline", fields: [name, field({ name: "days", label: "Ends", options: DAYS, value: "365" })], submit: "Make a token",
    async action(values) {
      const wish = values.days ? { name: values.name, days: Number(values.days) } : { name: values.name };
      const { secret } = await tell("POST", `${base}/tokens`, wish);
      name.input.value = "";
      made.replaceChildren(el("p", {}, "This is the token. It is shown this once."), copyable("The token", secret));
      await read();
    },
  });
}

/** What people call their browser, out of what it calls itself. */
function browser(agent) {
  const name = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]]
    .find(([mark]) => agent.includes(mark))?.[1];
  const system = ["iPhone", "iPad", "Android", "Windows", "Mac OS", "Linux"].find((mark) => agent.includes(mark));
  if (!name) return agent.slice(0, 60) || "A browser without a name";
  return system ? `${name} on ${system}` : name;
}
