// Webhooks: URLs that receive a request when a job of the user ends, and their deliveries.

import { copyField } from "./copy_field.js";
import { confirm } from "./dialog.js";
import { announce, formatDate, formatDuration, h, plural, poll, setText } from "./dom.js";
import { checkboxes, field, form } from "./form.js";
import { get, mutate } from "./net.js";

const EVENTS = [["job.done", "is done"], ["job.failed", "fails"], ["job.cancelled", "is cancelled"]];
const DELIVERY_STATES = { delivered: ["done", "delivered"], pending: ["pending", "pending"], given_up: ["failed", "failed"] };
const OR = new Intl.ListFormat("en", { type: "disjunction" });
/** Number of deliveries shown. */
const MAX_DELIVERIES = 10;
/** Poll interval of deliveries in milliseconds. */
const POLL_INTERVAL = 5000;

export class Webhooks {
  constructor(base) {
    this.address = `${base}/webhooks`;
    this.hooks = new Map();
    this.list = h("ul", { class: "plain", "aria-label": "Webhooks" });
    this.problem = h("p", { class: "bad", role: "alert", hidden: true });
    this.created = h("div");
    const refresh = () => this.hooks.forEach((hook) => hook.readDeliveries());
    this.close = poll(POLL_INTERVAL, refresh);
    this.element = h("div", {},
      h("p", { class: "quiet" }, "A webhook sends a request to your server when one of your jobs ends. Requests are signed ",
        "with the secret of the webhook. Failed deliveries are retried for one day."),
      this.problem, this.list, this.form(), this.created);
  }

  form() {
    const url = field({
      name: "url", label: "URL", type: "url", required: true, maxLength: 1000, autocomplete: "off", spellcheck: false,
      placeholder: "https://example.org/quartet",
    });
    const chosen = EVENTS.map(([event]) => event);
    const events = checkboxes({ name: "events", label: "Send when a job", options: EVENTS, chosen });
    return form({
      fields: [url, events], submit: "Add webhook",
      action: async (values) => {
        const { webhook, secret } = await mutate("POST", this.address, { ...values, url: values.url.trim() });
        url.input.value = "";
        this.created.replaceChildren(
          h("p", {}, `Signing secret for ${webhook.url}. Copy it now; it will not be shown again.`),
          copyField("Secret", secret));
        await this.reload();
      },
    });
  }

  async reload() {
    const { webhooks } = await get(this.address);
    const there = new Set(webhooks.map((hook) => hook.id));
    for (const [id, hook] of this.hooks) {
      if (there.has(id)) continue;
      hook.element.remove();
      this.hooks.delete(id);
    }
    for (const hook of webhooks) {
      if (!this.hooks.has(hook.id)) {
        const item = new Webhook(this, hook.id);
        this.hooks.set(hook.id, item);
        this.list.append(item.element);
      }
      this.hooks.get(hook.id).update(hook);
    }
    this.showError("");
  }

  /** Runs an action and shows its error. */
  async run(action) {
    try {
      await action();
    } catch (problem) {
      this.showError(problem.message);
    }
  }

  showError(problem) {
    setText(this.problem, problem);
    this.problem.hidden = problem === "";
  }
}

class Webhook {
  constructor(list, id) {
    this.list = list;
    this.address = `${list.address}/${id}`;
    this.url = h("strong");
    this.about = h("p", { class: "quiet" });
    this.toggleButton = h("button", { class: "button small", type: "button", onclick: () => list.run(() => this.switch()) });
    this.remove = h("button", { class: "button small", type: "button", onclick: () => list.run(() => this.delete()) }, "Delete");
    this.deliveries = h("ol", { class: "plain" });
    this.note = h("p", { class: "quiet", role: "status" });
    this.details = h("details", { ontoggle: () => this.readDeliveries() },
      h("summary", { class: "quiet" }, "Recent deliveries"), this.deliveries, this.note);
    this.element = h("li", { class: "hook" },
      h("div", {}, this.url, this.about), h("div", { class: "row" }, this.toggleButton, this.remove), this.details);
  }

  update(hook) {
    this.hook = hook;
    setText(this.url, hook.url);
    const events = EVENTS.filter(([event]) => hook.events.includes(event)).map(([, words]) => words);
    const state = hook.active ? "" : "Disabled · ";
    setText(this.about, `${state}when a job ${OR.format(events)} · created ${formatDate(hook.created_at)}`);
    setText(this.toggleButton, hook.active ? "Disable" : "Enable");
    this.toggleButton.setAttribute("aria-label", `${hook.active ? "Disable" : "Enable"} ${hook.url}`);
    this.remove.setAttribute("aria-label", `Delete ${hook.url}`);
    this.readDeliveries();
  }

  async readDeliveries() {
    if (!this.details.open) return;
    try {
      const { deliveries } = await get(`${this.address}/deliveries`);
      this.deliveries.replaceChildren(...deliveries.slice(0, MAX_DELIVERIES).map(deliveryItem));
      setText(this.note, deliveries.length ? "" : "No deliveries yet.");
    } catch (problem) {
      setText(this.note, problem.message);
    }
    this.note.hidden = this.note.textContent === "";
  }

  async switch() {
    const { webhook } = await mutate("PATCH", this.address, { active: !this.hook.active });
    this.update(webhook);
    announce(`${webhook.url} ${webhook.active ? "enabled" : "disabled"}.`);
  }

  async delete() {
    if (!await confirm(`Delete the webhook ${this.hook.url}?`, "Delete")) return;
    await mutate("DELETE", this.address);
    announce("Webhook deleted.");
    await this.list.reload();
  }
}

function deliveryItem(delivery) {
  const [kind, words] = DELIVERY_STATES[delivery.state] ?? ["", delivery.state];
  const last = delivery.tries.at(-1);
  const details = [
    formatDate(last?.at ?? delivery.at),
    last && (last.status === null ? last.error : `HTTP status ${last.status} in ${formatDuration(last.seconds * 1000)}`),
    delivery.tried > 1 && plural(delivery.tried, "attempt"),
    delivery.next_at !== null && delivery.tried > 0 && `next attempt ${formatDate(delivery.next_at)}`,
  ];
  return h("li", { class: "delivery" }, h("span", { class: `status ${kind}` }, words), " ",
    h("a", { href: `#jobs/${delivery.job_id}` }, `job ${delivery.job_id}`), ` ${eventLabel(delivery.event)} `,
    h("span", { class: "quiet" }, details.filter(Boolean).join(" · ")));
}

const eventLabel = (event) => ({ "job.done": "done", "job.failed": "failed", "job.cancelled": "cancelled" }[event] ?? event);
