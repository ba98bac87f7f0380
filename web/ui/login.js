// The log-in page.

import { h } from "./dom.js";
import { field, form } from "./form.js";
import { access, logIn } from "./session.js";

export const title = "Log in";

export function open(main, { done }) {
  const name = field({
    name: "username", label: "Username", required: true, autocomplete: "username", autocapitalize: "none", spellcheck: false,
  });
  const password = field({
    name: "password", label: "Password", type: "password", required: true, autocomplete: "current-password",
  });
  const element = form({
    fields: [name, password], submit: "Log in",
    async action({ username, password: secret }) {
      try {
        await logIn(username.trim(), secret);
      } catch (problem) {
        password.input.value = "";
        password.input.focus();
        throw problem;
      }
      await done();
    },
  });
  main.replaceChildren(h("section", { class: "card narrow" },
    h("h1", {}, "Log in"),
    access.anonymous ? null : h("p", { class: "quiet" }, "Log in to see your songs."),
    element,
    access.registration
      ? h("p", {}, h("a", { href: "#register" }, access.accounts
        ? "Create an account"
        : "Create the administrator account"))
      : h("p", { class: "quiet" }, "Registration is closed. Ask an administrator for an account.")));
  name.input.focus();
  return {};
}
