// Forms: labelled fields, and refusals shown at the fields they are about.

import { el, say } from "./dom.js";

let made = 0;

/** A labelled input. `hint` stands below it; every other property is the input's own. */
export function field({ name, label, hint = "", options = null, ...properties }) {
  const id = `field-${made += 1}`;
  const input = options
    ? el("select", { id, name, ...properties }, ...options.map(([value, text]) => el("option", { value }, text)))
    : el("input", { id, name, type: "text", ...properties });
  if (options && properties.value !== undefined) input.value = properties.value;
  const told = el("p", { class: "fault bad", id: `${id}-fault`, hidden: true });
  const below = el("p", { class: "hint", id: `${id}-hint`, hidden: hint === "" }, hint);
  input.setAttribute("aria-describedby", `${id}-fault ${id}-hint`);
  const element = el("div", { class: "field" }, el("label", { for: id }, label), input, told, below);
  return {
    name, input, element,
    value: () => (input.type === "checkbox" ? input.checked : input.value),
    lacks: () => (input.required && input.value.trim() === "" ? "This is needed." : ""),
    fault: (text) => fault(text, told, [input]),
  };
}

/** Boxes to tick, of which one is needed at least; the value is the list of those that are. `offer` changes what there is. */
export function boxes({ name, label, options, chosen, hint = "" }) {
  const id = `field-${made += 1}`;
  const told = el("p", { class: "fault bad", id: `${id}-fault`, hidden: true });
  const below = el("p", { class: "hint", id: `${id}-hint`, hidden: hint === "" }, hint);
  const row = el("div", { class: "row" });
  const element = el("fieldset", { class: "field boxes", "aria-describedby": `${id}-fault ${id}-hint` },
    el("legend", {}, label), row, told, below);
  const ticks = () => [...row.querySelectorAll("input")];
  const one = {
    name, element,
    get input() { return ticks()[0]; },
    value: () => ticks().filter((tick) => tick.checked).map((tick) => tick.value),
    lacks: () => (one.value().length ? "" : "Choose one at least."),
    fault: (text) => fault(text, told, ticks()),
    offer(offered, ticked) {
      row.replaceChildren(...offered.map(([value, text]) => el("label", { class: "box" },
        el("input", { type: "checkbox", name, value, checked: ticked.includes(value) }), text)));
    },
  };
  one.offer(options, chosen);
  return one;
}

function fault(text, told, inputs) {
  say(told, text);
  told.hidden = text === "";
  for (const input of inputs) {
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

/**
 * A form of such fields; what is hidden is not asked for. `action` is called with the values by name and may throw a
 * Problem, which is shown; what it returns as text is shown as success. `cancel` adds a button.
 */
export function form({ fields, submit, action, cancel = null, kind = "" }) {
  const send = el("button", { class: "button primary", type: "submit" }, submit);
  const told = el("p", { class: "told", role: "status", hidden: true });
  const element = el("form", { class: `form ${kind}`, noValidate: true },
    ...fields.map((one) => one.element),
    el("div", { class: "row form-end" }, send,
      cancel ? el("button", { class: "button", type: "button", onclick: cancel }, "Cancel") : null),
    told);
  const tellAll = (text, bad) => {
    say(told, text);
    told.hidden = text === "";
    told.classList.toggle("bad", bad);
  };
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    fields.forEach((one) => one.fault(""));
    tellAll("", false);
    const asked = fields.filter((one) => !one.element.hidden);
    const empty = asked.filter((one) => one.lacks() !== "");
    empty.forEach((one) => one.fault(one.lacks()));
    if (empty.length) {
      empty[0].input.focus();
      return;
    }
    send.disabled = true;
    try {
      const said = await action(Object.fromEntries(asked.map((one) => [one.name, one.value()])));
      if (typeof said === "string") tellAll(said, false);
    } catch (problem) {
      show(problem);
    }
    send.disabled = false;
  });
  if (cancel) {
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      cancel();
    });
  }
  const show = (problem) => {
    const faults = problem.faults ?? [];
    const named = faults.filter((fault) => fields.some((one) => one.name === fault.field));
    for (const fault of named) fields.find((one) => one.name === fault.field).fault(fault.message);
    if (named.length) fields.find((one) => one.input.hasAttribute("aria-invalid")).input.focus();
    if (named.length === 0 || named.length < faults.length) tellAll(problem.message, true);
  };
  return element;
}
