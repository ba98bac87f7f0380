// Web hooks: addresses that the nodes tell when one's jobs end, and what came of telling them.

import { copyable } from "./copy.js";
import { confirm } from "./dialog.js";
import { announce, counted, el, nowAndAgain, say, span, when } from "./dom.js";
import { boxes, field, form } from "./form.js";
import { ask, tell } from "./net.js";

const EVENTS = [["job.done", "is done"], ["job.failed", "fails"], ["job.cancelled", "is cancelled"]];
const FATES = { delivered: ["done", "delivered"], pending: ["pending", "not yet"], given_up: ["failed", "given up"] };
const OR = new Intl.ListFormat("en", { type: "disjunction" });
/** How many of the latest deliveries are shown. */
const SHOWN = 10;
/** How often it is looked what became of them. */
const LOOK_EVERY = 5000;

export class WebHooks {
  constructor(base) {
    this.address = `${base}/webhooks`;
    this.hooks = new Map();
    this.list = el("ul", { class: "plain", "aria-label": "Web hooks" });
    this.problem = el("p", { class: "bad", role: "alert", hidden: true });
    this.made = el("div");
    const look = () => this.hooks.forEach((hook) => hook.readDeliveries());
    this.close = nowAndAgain(LOOK_EVERY, look);
    this.element = el("div", {},
      el("p", { class: "quiet" }, "Your own server can be told when a job of yours ends. Each delivery is signed with the ",
        "hook’s secret, and tried again for a day where nobody answers."),
      this.problem, this.list, this.form(), this.made);
  }

  form() {
    const url = field({
      name: "url", label: "Address", type: "url", required: true, maxLength: 1000, autocomplete: "off", spellcheck: false,
      placeholder: "https://example.org/quartet",
    });
    const events = boxes({ name: "events", label: "When a job", options: EVENTS, chosen: EVENTS.map(([event]) => event) });
    return form({
      fields: [url, events], submit: "Add a web hook",
      action: async (wish) => {
        const { webhook, secret } = await tell("POST", this.address, { ...wish, url: wish.url.trim() });
        url.input.value = "";
        this.made.replaceChildren(
          el("p", {}, `This is what deliveries to ${webhook.url} are signed with. It is shown this once.`),
          copyable("The secret", secret));
        await this.reload();
      },
    });
  }

  async reload() {
    const { webhooks } = await ask(this.address);
    const there = new Set(webhooks.map((hook) => hook.id));
    for (const [id, hook] of this.hooks) {
      if (there.has(id)) continue;
      hook.element.remove();
      this.hooks.delete(id);
    }
    for (const hook of webhooks) {
      if (!this.hooks.has(hook.id)) {
        const made = new WebHook(this, hook.id);
        this.hooks.set(hook.id, made);
        this.list.append(made.element);
      }
      this.hooks.get(hook.id).update(hook);
    }
    this.say("");
  }

  /** What is done to a hook, with what it could not be done for. */
  async act(what) {
    try {
      await what();
    } catch (problem) {
      this.say(problem.message);
    }
  }

  say(problem) {
    say(this.problem, problem);
    this.problem.hidden = problem === "";
  }
}

class WebHook {
  constructor(list, id) {
    this.list = list;
    this.address = `${list.address}/${id}`;
    this.url = el("strong");
    this.about = el("p", { class: "quiet" });
    this.turn = el("button", { class: "button small", type: "button", onclick: () => list.act(() => this.switch()) });
    this.remove = el("button", { class: "button small", type: "button", onclick: () => list.act(() => this.delete()) }, "Delete");
    this.deliveries = el("ol", { class: "plain" });
    this.none = el("p", { class: "quiet", role: "status" });
    this.details = el("details", { ontoggle: () => this.readDeliveries() },
      el("summary", { class: "quiet" }, "Latest deliveries"), this.deliveries, this.none);
    this.element = el("li", { class: "hook" },
      el("div", {}, this.url, this.about), el("div", { class: "row" }, this.turn, this.remove), this.details);
  }

  update(hook) {
    this.hook = hook;
    say(this.url, hook.url);
    const events = EVENTS.filter(([event]) => hook.events.includes(event)).map(([, words]) => words);
    say(this.about, `${hook.active ? "" : "Switched off · "}when a job ${OR.format(events)} · since ${when(hook.created_at)}`);
    say(this.turn, hook.active ? "Switch off" : "Switch on");
    this.turn.setAttribute("aria-label", `Switch ${hook.url} ${hook.active ? "off" : "on"}`);
    this.remove.setAttribute("aria-label", `Delete ${hook.url}`);
    this.readDeliveries();
  }

  async readDeliveries() {
    if (!this.details.open) return;
    try {
      const { deliveries } = await ask(`${this.address}/deliveries`);
      this.deliveries.replaceChildren(...deliveries.slice(0, SHOWN).map(line));
      say(this.none, deliveries.length ? "" : "Nothing so far: no job of yours has ended since.");
    } catch (problem) {
      say(this.none, problem.message);
    }
    this.none.hidden = this.none.textContent === "";
  }

  async switch() {
    const { webhook } = await tell("PATCH", this.address, { active: !this.hook.active });
    this.update(webhook);
    announce(`${webhook.url} is switched ${webhook.active ? "on" : "off"}.`);
  }

  async delete() {
    if (!await confirm(`Delete the web hook ${this.hook.url}? It hears of nothing any more.`, "Delete")) return;
    await tell("DELETE", this.address);
    announce("The web hook was deleted.");
    await this.list.reload();
  }
}

function line(delivery) {
  const [kind, words] = FATES[delivery.state] ?? ["", delivery.state];
  const last = delivery.tries.at(-1);
  const said = [
    when(last?.at ?? delivery.at),
    last && (last.status === null ? last.error : `answered with ${last.status} after ${span(last.seconds * 1000)}`),
    delivery.tried > 1 && `tried ${counted(delivery.tried, "time")}`,
    delivery.next_at !== null && delivery.tried > 0 && `again ${when(delivery.next_at)}`,
  ];
  return el("li", { class: "delivery" }, el("span", { class: `status ${kind}` }, words), " ",
    el("a", { href: `#jobs/${delivery.job_id}` }, `job ${delivery.job_id}`), ` ${wordsOf(delivery.event)} `,
    el("span", { class: "quiet" }, said.filter(Boolean).join(" · ")));
}

const wordsOf = (event) => ({ "job.done": "was done", "job.failed": "failed", "job.cancelled": "was cancelled" }[event] ?? event);
