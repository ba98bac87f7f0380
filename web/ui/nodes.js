// The cluster: which nodes are up, who leads, who works on what, and how tasks travel.

import { byId, bytes, el, say } from "./dom.js";

const HEALTH = {
  good: "All nodes are up.",
  degraded: "Not all nodes are up. Everything works, but one more should not go.",
  down: "Too few nodes are up: songs can be heard, but nothing can be added or changed until more are back.",
};

export function showCluster(data) {
  say(byId("here"), `You are at node ${data.id}, version ${data.version}.`);
  say(byId("health"), HEALTH[data.health] ?? "");
  const list = byId("nodes");
  while (list.children.length > data.nodes.length) list.lastElementChild.remove();
  data.nodes.forEach((node, place) => {
    const item = list.children[place] ?? list.appendChild(el("li"));
    draw(item, node, data);
  });
  say(byId("broker"), broker(data.broker));
}

function draw(item, node, data) {
  const lines = node.alive
    ? [
      node.working_on.length ? `works on ${node.working_on.length > 1 ? "tasks" : "task"} ${node.working_on.join(", ")}` : "is idle",
      `${node.tasks_done} tasks done since its start · ${node.slots} at a time`,
      ...(node.stuck ? [`${node.stuck} given-up ${node.stuck > 1 ? "tasks do" : "task does"} not end; a restart frees the slot`] : []),
      `${files(node.blobs)}, ${bytes(node.blob_bytes)} · room for ${bytes(node.free_bytes)}`,
      ...upkeep(node),
    ]
    : [node.heard_ms_ago === null ? "has not been heard of" : `was last heard ${ago(node.heard_ms_ago)} ago`];
  const key = JSON.stringify([node.id, node.alive, node.leader, node.http, lines, data.id]);
  if (item.dataset.key === key) return;
  item.dataset.key = key;
  item.className = node.alive ? "up" : "away";
  const elsewhere = node.id === data.id
    ? "You are here."
    : el("a", { href: `http://${node.http}/` }, node.http);
  item.replaceChildren(
    el("div", {},
      el("span", { class: "lamp", "aria-hidden": "true" }),
      el("strong", {}, `Node ${node.id}`),
      node.leader ? el("span", { class: "tag" }, "leader") : null,
      node.alive ? null : el("span", { class: "tag" }, "away")),
    ...lines.map((line) => el("p", { class: "quiet" }, line)),
    el("p", { class: "quiet" }, elsewhere),
  );
}

function files(count) {
  return count === 1 ? "1 file" : `${count} files`;
}

// What a node does for its files, and what it cannot do; nothing where all is well and at rest.
function upkeep(node) {
  const lines = [];
  const loop = (name) => node.loops.find((one) => one.name === name) ?? {};
  const { doing, done, total, bytes: moved } = loop("repair");
  if (doing && done < total) {
    lines.push(`is ${doing}: ${done} of ${files(total)}${moved ? `, ${bytes(moved)}` : ""}`);
  } else if (node.short) {
    lines.push(`${files(node.short)} with too few copies${node.missing ? `, ${node.missing} of them to be copied here` : ""}`);
  }
  const scrub = loop("scrub");
  if (scrub.total) {
    const damaged = node.damaged ? ` · ${node.damaged} found damaged` : "";
    lines.push(`scrub: ${scrub.done} of ${files(scrub.total)} read${damaged}`);
  }
  for (const { name, error } of node.loops) {
    if (error) lines.push(`${name}: ${error}`);
  }
  return lines;
}

function ago(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 90) return `${seconds} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
}

function broker(state) {
  const open = `${state.running} tasks running, ${state.pending} waiting.`;
  if (!state.configured) return `Tasks reach the workers from the leader. ${open}`;
  if (!state.connected) return `RabbitMQ does not answer, so workers ask the leader for tasks. ${open}`;
  const ready = state.ready === null ? "" : ` ${state.ready} messages wait in it.`;
  return `Tasks reach the workers through RabbitMQ (${state.queue}).${ready} ${open}`;
}
