// Forms with labelled fields. Errors appear at the fields they concern.

import { h, setText } from "./dom.js";

let count = 0;

/** A labelled input, or a select with `options`. `hint` is shown below it; other properties are set on the input. */
export function field({ name, label, hint = "", options = null, ...properties }) {
  const id = `field-${count += 1}`;
  const input = options
    ? h("select", { id, name, ...properties }, ...options.map(([value, text]) => h("option", { value }, text)))
    : h("input", { id, name, type: "text", ...properties });
  if (options && properties.value !== undefined) input.value = properties.value;
  const error = h("p", { class: "field-error bad", id: `${id}-error`, hidden: true });
  const hintText = h("p", { class: "hint", id: `${id}-hint`, hidden: hint === "" }, hint);
  input.setAttribute("aria-describedby", `${id}-error ${id}-hint`);
  const element = h("div", { class: "field" }, h("label", { for: id }, label), input, error, hintText);
  return {
    name, input, element,
    value: () => (input.type === "checkbox" ? input.checked : input.value),
    missing: () => (input.required && input.value.trim() === "" ? "Required." : ""),
    setError: (text) => showFieldError(text, error, [input]),
  };
}

/** Checkboxes of which at least one must be checked. The value is the list of the checked ones. `offer` replaces them. */
export function checkboxes({ name, label, options, chosen, hint = "" }) {
  const id = `field-${count += 1}`;
  const error = h("p", { class: "field-error bad", id: `${id}-error`, hidden: true });
  const hintText = h("p", { class: "hint", id: `${id}-hint`, hidden: hint === "" }, hint);
  const row = h("div", { class: "row" });
  const element = h("fieldset", { class: "field checkboxes", "aria-describedby": `${id}-error ${id}-hint` },
    h("legend", {}, label), row, error, hintText);
  const inputs = () => [...row.querySelectorAll("input")];
  const one = {
    name, element,
    get input() { return inputs()[0]; },
    value: () => inputs().filter((input) => input.checked).map((input) => input.value),
    missing: () => (one.value().length ? "" : "Choose at least one."),
    setError: (text) => showFieldError(text, error, inputs()),
    offer(offered, checked) {
      row.replaceChildren(...offered.map(([value, text]) => h("label", { class: "checkbox" },
        h("input", { type: "checkbox", name, value, checked: checked.includes(value) }), text)));
    },
  };
  one.offer(options, chosen);
  return one;
}

function showFieldError(text, error, inputs) {
  setText(error, text);
  error.hidden = text === "";
  for (const input of inputs) {
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

/**
 * A form of such fields; hidden fields are skipped. `action` receives the values by name. A thrown AppError is shown as an
 * error, a returned string as success. `cancel` adds a Cancel button.
 */
export function form({ fields, submit, action, cancel = null, kind = "" }) {
  const submitButton = h("button", { class: "button primary", type: "submit" }, submit);
  const message = h("p", { class: "form-message", role: "status", hidden: true });
  const element = h("form", { class: `form ${kind}`, noValidate: true },
    ...fields.map((one) => one.element),
    h("div", { class: "row form-end" }, submitButton,
      cancel ? h("button", { class: "button", type: "button", onclick: cancel }, "Cancel") : null),
    message);
  const showMessage = (text, bad) => {
    setText(message, text);
    message.hidden = text === "";
    message.classList.toggle("bad", bad);
  };
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    fields.forEach((one) => one.setError(""));
    showMessage("", false);
    const visible = fields.filter((one) => !one.element.hidden);
    const empty = visible.filter((one) => one.missing() !== "");
    empty.forEach((one) => one.setError(one.missing()));
    if (empty.length) {
      empty[0].input.focus();
      return;
    }
    submitButton.disabled = true;
    try {
      const success = await action(Object.fromEntries(visible.map((one) => [one.name, one.value()])));
      if (typeof success === "string") showMessage(success, false);
    } catch (problem) {
      show(problem);
    }
    submitButton.disabled = false;
  });
  if (cancel) {
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      cancel();
    });
  }
  const show = (problem) => {
    const fieldErrors = problem.fieldErrors ?? [];
    const named = fieldErrors.filter((error) => fields.some((one) => one.name === error.field));
    for (const { field: name, message: text } of named) fields.find((one) => one.name === name).setError(text);
    if (named.length) fields.find((one) => one.input.hasAttribute("aria-invalid")).input.focus();
    if (named.length === 0 || named.length < fieldErrors.length) showMessage(problem.message, true);
  };
  return element;
}
