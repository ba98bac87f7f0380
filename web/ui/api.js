// The API explorer: every operation of /api/openapi.json, with a form that sends it. The page is built from the OpenAPI
// document alone, so it needs no change when an operation is added.

import { byId, formatBytes, h, setText } from "/dom.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
/** Maximum number of characters shown of a response body. */
const MAX_CHARACTERS = 200_000;

let description = null;

/** Resolves a "$ref" within the document. */
function resolve(value) {
  if (!value?.$ref) return value ?? {};
  return value.$ref.slice(2).split("/").reduce((at, name) => at[name.replaceAll("~1", "/")], description);
}

/** Describes the type and limits of a field in a few words. */
function typeOf(schema) {
  const types = [schema.type ?? []].flat().filter((type) => type !== "null");
  if (types[0] === "array") return `list of ${typeOf(resolve(schema.items))}`;
  const words = [schema.format === "binary" ? "file" : types.join(" or ")];
  if (schema.pattern) words.push(`matches ${schema.pattern}`);
  if (schema.minLength) words.push(`at least ${schema.minLength} characters`);
  if (schema.maxLength) words.push(`at most ${schema.maxLength} characters`);
  const limits = [schema.minimum, schema.maximum].filter((limit) => limit !== undefined && Math.abs(limit) < 2 ** 31);
  if (limits.length === 2) words.push(limits.join(" to "));
  return words.filter(Boolean).join(", ");
}

/** Describes the accepted ways of authentication. */
function authentication({ security = [] }) {
  const names = { token: "API token", session: "session cookie", worker: "worker token" };
  const methods = security.map((method) => Object.keys(method).map((name) => names[name] ?? name).join(" and ") || "none");
  return methods.length ? `Authentication: ${methods.join(" or ")}.` : "";
}

/** The error codes of a response, each as a code element. */
function errorCodes(response) {
  const { errors } = resolve(response.content?.["application/json"]?.schema).properties ?? {};
  return (errors?.items?.properties?.code?.enum ?? []).flatMap((code) => [h("code", {}, code), " "]);
}

/** Text with the parts between backticks as code elements. */
function prose(text = "") {
  return text.split("`").map((words, place) => (place % 2 ? h("code", {}, words) : words));
}

/** An input for a field or a parameter, with its label and description. */
function field(name, { schema, about, required, example }) {
  const id = `field-${crypto.randomUUID()}`;
  const input = h("input", { id, name, required, spellcheck: false, autocomplete: "off" });
  input.type = schema.format === "binary" ? "file" : schema.format === "password" ? "password" : "text";
  if (input.type !== "file") input.placeholder = String(example ?? schema.example ?? schema.examples?.[0] ?? "");
  const words = [typeOf(schema), required ? "required" : "", about].filter(Boolean).join(". ");
  return { input, row: h("div", {}, h("label", { for: id }, name), input, h("div", { class: "hint" }, ...prose(words))) };
}

/** A sample body: the example of the schema, or its required fields and those with an example. */
function example({ example: own, required = [], properties = {} }) {
  const given = Object.entries(properties).map(([name, of]) => [name, resolve(of)])
    .filter(([name, of]) => required.includes(name) || of.example !== undefined)
    .map(([name, of]) => {
      const type = [of.type].flat()[0];
      return [name, of.example ?? { integer: 1, number: 1, boolean: true, array: [], object: {} }[type] ?? ""];
    });
  return JSON.stringify(own ?? Object.fromEntries(given), null, 2);
}

/** A table of the fields of a body. */
function fieldTable({ required = [], properties = {} }) {
  const rows = Object.entries(properties).map(([name, of]) => {
    const words = [typeOf(resolve(of)), required.includes(name) ? "required" : ""].filter(Boolean).join(". ");
    return h("tr", {}, h("td", {}, h("code", {}, name)), h("td", {}, words), h("td", {}, ...prose(of.description)));
  });
  return h("div", { class: "wide" }, h("table", {}, h("tbody", {}, ...rows)));
}

/** The inputs of an operation: its parameters, and its body as JSON, form fields or a file. */
function operationForm(operation) {
  const rows = [];
  const parameters = (operation.parameters ?? []).map(resolve).map((parameter) => {
    const { name, description: about, required } = parameter;
    const control = field(name, { schema: resolve(parameter.schema), about, required, example: parameter.example });
    rows.push(control.row);
    return { ...parameter, input: control.input };
  });
  const content = operation.requestBody?.content ?? {};
  const json = content["application/json"];
  const form = content["multipart/form-data"];
  const [kind] = Object.keys(content);
  let body = () => ({});
  if (json) {
    const id = `body-${crypto.randomUUID()}`;
    const schema = resolve(json.schema);
    const text = h("textarea", { id, value: example(schema), spellcheck: false });
    rows.push(h("div", {}, h("label", { for: id }, "JSON body"), text, fieldTable(schema)));
    body = () => ({ body: text.value, headers: { "Content-Type": "application/json" } });
  } else if (form) {
    const schema = resolve(form.schema);
    const inputs = Object.entries(schema.properties ?? {}).map(([name, of]) => {
      const control = field(name, { schema: resolve(of), about: of.description, required: schema.required?.includes(name) });
      rows.push(control.row);
      return control.input;
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
    const control = field("body", { schema: { format: "binary" }, about: kind, required: true });
    rows.push(control.row);
    body = () => ({ body: control.input.files[0], headers: { "Content-Type": kind } });
  }
  return { rows, parameters, body };
}

/** Path and query with the values of the parameters. */
function requestPath(path, parameters) {
  const query = new URLSearchParams();
  let address = path;
  for (const { name, in: place, input } of parameters) {
    if (place === "path") address = address.replace(`{${name}}`, encodeURIComponent(input.value));
    if (place === "query" && input.value) query.set(name, input.value);
  }
  return query.size ? `${address}?${query}` : address;
}

/** The response body: JSON and text as text, events as they arrive, files as a link. */
async function bodyView(response, signal) {
  const kind = response.headers.get("Content-Type") ?? "";
  if (kind.startsWith("text/event-stream")) return streamView(response, signal);
  if (kind.startsWith("application/json") || kind.startsWith("text/")) {
    const text = await response.text();
    let shown = text;
    try {
      shown = JSON.stringify(JSON.parse(text), null, 2);
    } catch { /* Not JSON: show the text unchanged. */ }
    return h("pre", { tabIndex: 0 }, shown.length > MAX_CHARACTERS ? `${shown.slice(0, MAX_CHARACTERS)}\n…` : shown);
  }
  const file = await response.blob();
  if (!file.size) return h("p", { class: "hint" }, "No body.");
  return h("p", {}, `${formatBytes(file.size)}, ${kind || "unknown type"}. `,
    h("a", { href: response.url }, "Open"));
}

/** Shows events as they arrive, until the stream ends or is aborted. */
function streamView(response, signal) {
  const out = h("pre", { tabIndex: 0 });
  const read = async () => {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let some = await reader.read(); !some.done; some = await reader.read()) {
      out.textContent = (out.textContent + some.value).slice(-MAX_CHARACTERS);
    }
  };
  read().catch((error) => { if (!signal.aborted) out.textContent += `\n${error.message}`; });
  return out;
}

/** Sends the request of an operation and shows the response. */
async function send(method, path, form, output, controller) {
  const { headers = {}, body } = form.body();
  const token = byId("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  for (const { name, in: place, input } of form.parameters) {
    if (place === "header" && input.value) headers[name] = input.value;
  }
  const address = requestPath(path, form.parameters);
  output.replaceChildren(h("p", {}, `${method} ${address} …`));
  const began = performance.now();
  try {
    const response = await fetch(address, { method, headers, body, signal: controller.signal, cache: "no-store" });
    const took = `${Math.round(performance.now() - began)} ms`;
    const fields = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    output.replaceChildren(
      h("p", { class: response.ok ? "good" : "bad" }, `${method} ${address}: ${response.status} in ${took}`),
      h("pre", { tabIndex: 0 }, fields),
      await bodyView(response, controller.signal),
    );
    if (path.startsWith("/auth/")) await showUser();
  } catch (error) {
    const words = controller.signal.aborted ? "Cancelled." : `No response: ${error.message}`;
    output.append(h("p", { class: "bad" }, words));
  }
}

/** The details of an operation, built when it is first opened. */
function operationDetails(method, path, operation) {
  const form = operationForm(operation);
  const output = h("div", { class: "answer", "aria-live": "polite" });
  let controller = new AbortController();
  const submit = async (event) => {
    event.preventDefault();
    controller.abort();
    controller = new AbortController();
    await send(method, path, form, output, controller);
  };
  const statuses = Object.entries(operation.responses ?? {}).map(([status, of]) =>
    h("tr", {}, h("td", {}, status), h("td", {}, ...prose(resolve(of).description)),
      h("td", {}, ...errorCodes(resolve(of)))));
  return h("div", { class: "operation" },
    h("p", {}, ...prose(operation.description)),
    h("p", { class: "hint" }, authentication(operation)),
    h("form", { onsubmit: submit },
      h("div", { class: "fields" }, ...form.rows),
      h("div", { class: "row" },
        h("button", { type: "submit" }, "Send"),
        h("button", { type: "button", class: "plain", onclick: () => controller.abort() }, "Cancel"))),
    output,
    h("h3", {}, "Responses"),
    h("div", { class: "wide" }, h("table", {},
      h("thead", {}, h("tr", {}, ...["Status", "Description", "Error codes"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...statuses))));
}

function card(method, path, operation) {
  const details = h("details", {},
    h("summary", {},
      h("span", { class: `method ${method}` }, method),
      h("code", {}, path),
      h("span", { class: "hint" }, ...prose(operation.summary))));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(operationDetails(method, path, operation));
  });
  return details;
}

/** Lists every operation by tag, in the order of the document. */
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
  byId("tags").replaceChildren(...[...groups.keys()].map((tag) => h("a", { href: `#${tag}` }, tag)));
  byId("operations").replaceChildren(...[...groups].map(([tag, cards]) =>
    h("section", {}, h("h2", { id: tag }, tag), h("p", { class: "hint" }, about.get(tag) ?? ""), ...cards)));
}

/** Shows only operations whose method, path or summary contains every word. */
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

/** Shows the table of error codes, given as lines of a Markdown table. */
function codes(lines) {
  const rows = lines.map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const shown = rows.filter(([, status]) => /^\d+$/.test(status));
  byId("code-rows").replaceChildren(...shown.map(([code, status, when]) =>
    h("tr", {}, h("td", {}, ...prose(code)), h("td", {}, status), h("td", {}, ...prose(when)))));
  byId("codes").hidden = shown.length === 0;
}

/** Shows the user whose session the requests use. */
async function showUser() {
  const { data } = await (await fetch("/auth/me")).json();
  setText(byId("who"), data?.user ? `Logged in as ${data.user.username}` : "Not logged in");
}

async function start() {
  description = await (await fetch("/api/openapi.json")).json();
  const [about, ...table] = description.info.description.split("\n").filter(Boolean);
  byId("about").replaceChildren(...prose(about));
  codes(table);
  list();
  byId("filter").addEventListener("input", filter);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  await showUser();
}

start().catch((error) => setText(byId("who"), `Cannot load the OpenAPI document: ${error.message}`));
