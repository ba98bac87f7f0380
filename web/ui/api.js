// The interface for people who write programs: every operation of /api/openapi.json, with a form that sends it. Nothing
// here knows any operation by name, so what a node describes can be tried.

import { byId, bytes, el, say } from "/dom.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
/** The most characters of an answer that are shown. */
const SHOWN = 200_000;

let description = null;

/** What a "$ref" points to. */
function resolved(value) {
  if (!value?.$ref) return value ?? {};
  return value.$ref.slice(2).split("/").reduce((at, name) => at[name.replaceAll("~1", "/")], description);
}

/** What a field may be, in a few words. */
function kindOf(schema) {
  const types = [schema.type ?? []].flat().filter((type) => type !== "null");
  if (types[0] === "array") return `list of ${kindOf(resolved(schema.items))}`;
  const words = [schema.format === "binary" ? "file" : types.join(" or ")];
  if (schema.pattern) words.push(`like ${schema.pattern}`);
  if (schema.minLength) words.push(`at least ${schema.minLength} characters`);
  if (schema.maxLength) words.push(`at most ${schema.maxLength}`);
  const limits = [schema.minimum, schema.maximum].filter((limit) => limit !== undefined && Math.abs(limit) < 2 ** 31);
  if (limits.length === 2) words.push(limits.join(" to "));
  return words.filter(Boolean).join(", ");
}

/** How callers may show who they are, in words. */
function waysOf({ security = [] }) {
  const names = { token: "a token", session: "a session", worker: "a worker's token" };
  const ways = security.map((way) => Object.keys(way).map((name) => names[name] ?? name).join(" and ") || "nothing");
  return ways.length ? `It is sent with ${ways.join(" or ")}.` : "";
}

/** The codes of errors that an answer can have, each as code. */
function codesOf(answer) {
  const { errors } = resolved(answer.content?.["application/json"]?.schema).properties ?? {};
  return (errors?.items?.properties?.code?.enum ?? []).flatMap((code) => [el("code", {}, code), " "]);
}

/** A sentence, in which what stands between backticks is code. */
function prose(text = "") {
  return text.split("`").map((words, place) => (place % 2 ? el("code", {}, words) : words));
}

/** An input for a field or a parameter, with its label and what is said of it. */
function field(name, { schema, about, required, example }) {
  const id = `field-${crypto.randomUUID()}`;
  const input = el("input", { id, name, required, spellcheck: false, autocomplete: "off" });
  input.type = schema.format === "binary" ? "file" : schema.format === "password" ? "password" : "text";
  if (input.type !== "file") input.placeholder = String(example ?? schema.example ?? schema.examples?.[0] ?? "");
  const words = [kindOf(schema), required ? "required" : "", about].filter(Boolean).join(". ");
  return { input, row: el("div", {}, el("label", { for: id }, name), input, el("div", { class: "hint" }, ...prose(words))) };
}

/** An example of a body, to be changed: the schema's own, or what must be given and what has an example. */
function example({ example: own, required = [], properties = {} }) {
  const given = Object.entries(properties).map(([name, of]) => [name, resolved(of)])
    .filter(([name, of]) => required.includes(name) || of.example !== undefined)
    .map(([name, of]) => {
      const type = [of.type].flat()[0];
      return [name, of.example ?? { integer: 1, number: 1, boolean: true, array: [], object: {} }[type] ?? ""];
    });
  return JSON.stringify(own ?? Object.fromEntries(given), null, 2);
}

/** What a body's fields may be. */
function fieldTable({ required = [], properties = {} }) {
  const rows = Object.entries(properties).map(([name, of]) => {
    const words = [kindOf(resolved(of)), required.includes(name) ? "required" : ""].filter(Boolean).join(". ");
    return el("tr", {}, el("td", {}, el("code", {}, name)), el("td", {}, words), el("td", {}, ...prose(of.description)));
  });
  return el("div", { class: "wide" }, el("table", {}, el("tbody", {}, ...rows)));
}

/** The parts of an operation that people fill in: parameters, and the body as JSON, as fields, or as a file. */
function formOf(operation) {
  const rows = [];
  const parameters = (operation.parameters ?? []).map(resolved).map((parameter) => {
    const { name, description: about, required } = parameter;
    const made = field(name, { schema: resolved(parameter.schema), about, required, example: parameter.example });
    rows.push(made.row);
    return { ...parameter, input: made.input };
  });
  const content = operation.requestBody?.content ?? {};
  const json = content["application/json"];
  const form = content["multipart/form-data"];
  const [kind] = Object.keys(content);
  let body = () => ({});
  if (json) {
    const id = `body-${crypto.randomUUID()}`;
    const schema = resolved(json.schema);
    const text = el("textarea", { id, value: example(schema), spellcheck: false });
    rows.push(el("div", {}, el("label", { for: id }, "Body, as JSON"), text, fieldTable(schema)));
    body = () => ({ body: text.value, headers: { "Content-Type": "application/json" } });
  } else if (form) {
    const schema = resolved(form.schema);
    const inputs = Object.entries(schema.properties ?? {}).map(([name, of]) => {
      const made = field(name, { schema: resolved(of), about: of.description, required: schema.required?.includes(name) });
      rows.push(made.row);
      return made.input;
    });
    body = () => {
      const data = new FormData();
      for (const input of inputs) {
        if (input.type === "file" && input.files[0]) data.append(input.name, input.files[0]);
        else if (input.type !== "file" && input.value) data.append(input.name, input.value);
      }
      return { body: data };
    };
  } else if (kind) {
    const made = field("body", { schema: { format: "binary" }, about: kind, required: true });
    rows.push(made.row);
    body = () => ({ body: made.input.files[0], headers: { "Content-Type": kind } });
  }
  return { rows, parameters, body };
}

/** Path and query with the parameters' values. */
function addressOf(path, parameters) {
  const query = new URLSearchParams();
  let address = path;
  for (const { name, in: place, input } of parameters) {
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(input.value));
    if (place === "query" && input.value) query.set(name, input.value);
  }
  return query.size ? `${address}?${query}` : address;
}

/** The answer, as it is worth looking at: JSON and text as text, events as they come, files by their address. */
async function shownBody(response, signal) {
  const kind = response.headers.get("Content-Type") ?? "";
  if (kind.startsWith("text/event-stream")) return streamed(response, signal);
  if (kind.startsWith("application/json") || kind.startsWith("text/")) {
    const text = await response.text();
    let shown = text;
    try {
      shown = JSON.stringify(JSON.parse(text), null, 2);
    } catch { /* It is shown as it came. */ }
    return el("pre", { tabIndex: 0 }, shown.length > SHOWN ? `${shown.slice(0, SHOWN)}\n…` : shown);
  }
  const file = await response.blob();
  if (!file.size) return el("p", { class: "hint" }, "No body.");
  return el("p", {}, `${bytes(file.size)} of ${kind || "something"}. `,
    el("a", { href: response.url }, "Open it by its address"));
}

/** Shows events as they come, until the stream ends or is stopped. */
function streamed(response, signal) {
  const out = el("pre", { tabIndex: 0 });
  const read = async () => {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let some = await reader.read(); !some.done; some = await reader.read()) {
      out.textContent = (out.textContent + some.value).slice(-SHOWN);
    }
  };
  read().catch((error) => { if (!signal.aborted) out.textContent += `\n${error.message}`; });
  return out;
}

/** Sends an operation's request and shows what comes of it. */
async function send(method, path, form, answer, stop) {
  const { headers = {}, body } = form.body();
  const token = byId("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  for (const { name, in: place, input } of form.parameters) {
    if (place === "header" && input.value) headers[name] = input.value;
  }
  const address = addressOf(path, form.parameters);
  answer.replaceChildren(el("p", {}, `${method} ${address} …`));
  const began = performance.now();
  try {
    const response = await fetch(address, { method, headers, body, signal: stop.signal, cache: "no-store" });
    const took = `${Math.round(performance.now() - began)} ms`;
    const fields = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    answer.replaceChildren(
      el("p", { class: response.ok ? "good" : "bad" }, `${method} ${address}: ${response.status} after ${took}`),
      el("pre", { tabIndex: 0 }, fields),
      await shownBody(response, stop.signal),
    );
    if (path.startsWith("/auth/")) await greet();
  } catch (error) {
    const words = stop.signal.aborted ? "Stopped." : `No answer: ${error.message}`;
    answer.append(el("p", { class: "bad" }, words));
  }
}

/** What can be done with an operation; made when it is opened. */
function opened(method, path, operation) {
  const form = formOf(operation);
  const answer = el("div", { class: "answer", "aria-live": "polite" });
  let stop = new AbortController();
  const submit = async (event) => {
    event.preventDefault();
    stop.abort();
    stop = new AbortController();
    await send(method, path, form, answer, stop);
  };
  const statuses = Object.entries(operation.responses ?? {}).map(([status, of]) =>
    el("tr", {}, el("td", {}, status), el("td", {}, ...prose(resolved(of).description)),
      el("td", {}, ...codesOf(resolved(of)))));
  return el("div", { class: "operation" },
    el("p", {}, ...prose(operation.description)),
    el("p", { class: "hint" }, waysOf(operation)),
    el("form", { onsubmit: submit },
      el("div", { class: "fields" }, ...form.rows),
      el("div", { class: "row" },
        el("button", { type: "submit" }, "Send"),
        el("button", { type: "button", class: "plain", onclick: () => stop.abort() }, "Stop"))),
    answer,
    el("h3", {}, "What it can answer"),
    el("div", { class: "wide" }, el("table", {},
      el("thead", {}, el("tr", {}, ...["Status", "When", "Codes"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...statuses))));
}

function card(method, path, operation) {
  const details = el("details", {},
    el("summary", {},
      el("span", { class: `method ${method}` }, method),
      el("code", {}, path),
      el("span", { class: "hint" }, ...prose(operation.summary))));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(opened(method, path, operation));
  });
  return details;
}

/** Every operation, group by group, as the description orders them. */
function list() {
  const about = new Map((description.tags ?? []).map((tag) => [tag.name, tag.description]));
  const groups = new Map([...about.keys()].map((name) => [name, []]));
  for (const [path, item] of Object.entries(description.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const [tag = "other"] = item[method].tags ?? [];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(card(method.toUpperCase(), path, item[method]));
    }
  }
  byId("tags").replaceChildren(...[...groups.keys()].map((tag) => el("a", { href: `#${tag}` }, tag)));
  byId("operations").replaceChildren(...[...groups].map(([tag, cards]) =>
    el("section", {}, el("h2", { id: tag }, tag), el("p", { class: "hint" }, about.get(tag) ?? ""), ...cards)));
}

/** Leaves those operations whose method, path or summary has all the words. */
function filter() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of byId("operations").children) {
    let some = false;
    for (const details of section.querySelectorAll("details")) {
      const text = details.firstChild.textContent.toLowerCase();
      details.hidden = !words.every((word) => text.includes(word));
      some ||= !details.hidden;
    }
    section.hidden = !some;
  }
}

/** The table of codes, which the description has as lines between bars. */
function codes(lines) {
  const rows = lines.map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const shown = rows.filter(([, status]) => /^\d+$/.test(status));
  byId("code-rows").replaceChildren(...shown.map(([code, status, when]) =>
    el("tr", {}, el("td", {}, ...prose(code)), el("td", {}, status), el("td", {}, ...prose(when)))));
  byId("codes").hidden = shown.length === 0;
}

/** Says as whom requests are sent. */
async function greet() {
  const { data } = await (await fetch("/auth/me")).json();
  say(byId("who"), data?.user ? `Logged in as ${data.user.username}` : "Not logged in");
}

async function begin() {
  description = await (await fetch("/api/openapi.json")).json();
  const [about, ...table] = description.info.description.split("\n").filter(Boolean);
  byId("about").replaceChildren(...prose(about));
  codes(table);
  list();
  byId("filter").addEventListener("input", filter);
  byId("asking").addEventListener("submit", (event) => event.preventDefault());
  await greet();
}

begin().catch((error) => say(byId("who"), `The description cannot be read: ${error.message}`));
