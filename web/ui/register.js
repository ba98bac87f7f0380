// The registration page.

import { h } from "./dom.js";
import { field, form } from "./form.js";
import { access, logIn, register } from "./session.js";

export const title = "Create account";

/** The fields of a new account. */
export const accountFields = () => [
  field({
    name: "username", label: "Username", required: true, maxLength: 64, autocomplete: "username", autocapitalize: "none",
    spellcheck: false, hint: "Letters, digits, dots, hyphens and underscores.",
  }),
  field({ name: "email", label: "Email (optional)", type: "email", autocomplete: "email" }),
  ...passwordFields("Password", "Repeat password"),
];

/** A new password and its repetition. */
export const passwordFields = (label, repeat) => [
  field({
    name: "password1", label, type: "password", required: true, autocomplete: "new-password", hint: "At least 8 characters.",
  }),
  field({ name: "password2", label: repeat, type: "password", required: true, autocomplete: "new-password" }),
];

export function open(main, { done }) {
  const fields = accountFields();
  const element = form({
    fields, submit: "Create account",
    async action(values) {
      const username = values.username.trim();
      await register({ ...values, username });
      await logIn(username, values.password1);
      await done();
    },
  });
  main.replaceChildren(h("section", { class: "card narrow" },
    h("h1", {}, access.accounts ? "Create account" : "Create administrator account"),
    h("p", { class: "quiet" }, access.accounts
      ? "Your uploads are private until you share them."
      : "Administrators can see all songs and manage users."),
    element,
    access.accounts ? h("p", {}, h("a", { href: "#login" }, "Log in instead")) : null));
  fields[0].input.focus();
  return {};
}
