// The state of the cluster: nodes, leader, running tasks, storage and message broker.

import { byId, formatBytes, h, plural, setText } from "./dom.js";

const HEALTH = {
  good: "All nodes are online.",
  degraded: "Some nodes are offline. Everything works, but the loss of another node may stop writes.",
  down: "Too few nodes are online. You can play songs, but not add or change anything until more nodes are back.",
};

export function showCluster(data) {
  setText(byId("here"), `Connected to node ${data.id}, version ${data.version}.`);
  setText(byId("health"), HEALTH[data.health] ?? "");
  const list = byId("nodes");
  while (list.children.length > data.nodes.length) list.lastElementChild.remove();
  data.nodes.forEach((node, place) => {
    const item = list.children[place] ?? list.appendChild(h("li"));
    draw(item, node, data);
  });
  setText(byId("broker"), brokerText(data.broker));
}

function draw(item, node, data) {
  const lines = node.alive
    ? [
      node.working_on.length ? `Running ${node.working_on.length > 1 ? "tasks" : "task"} ${node.working_on.join(", ")}` : "Idle",
      `${plural(node.tasks_done, "task")} done since start · ${plural(node.slots, "slot")}`,
      ...(node.stuck ? [`${plural(node.stuck, "expired task")} still running; restart the node to free the slot`] : []),
      `${files(node.blobs)}, ${formatBytes(node.blob_bytes)} · ${formatBytes(node.free_bytes)} free`,
      ...maintenance(node),
    ]
    : [node.heard_ms_ago === null ? "Never seen" : `Last seen ${formatAge(node.heard_ms_ago)} ago`];
  const key = JSON.stringify([node.id, node.alive, node.leader, node.http, lines, data.id]);
  if (item.dataset.key === key) return;
  item.dataset.key = key;
  item.className = node.alive ? "up" : "offline";
  const link = node.id === data.id
    ? "This node"
    : h("a", { href: `http://${node.http}/` }, node.http);
  item.replaceChildren(
    h("div", {},
      h("span", { class: "status-dot", "aria-hidden": "true" }),
      h("strong", {}, `Node ${node.id}`),
      node.leader ? h("span", { class: "tag" }, "leader") : null,
      node.alive ? null : h("span", { class: "tag" }, "offline")),
    ...lines.map((line) => h("p", { class: "quiet" }, line)),
    h("p", { class: "quiet" }, link),
  );
}

const files = (count) => plural(count, "file");

/** Lines about repair and scrub, and their errors. Empty if there is nothing to report. */
function maintenance(node) {
  const lines = [];
  const loop = (name) => node.loops.find((one) => one.name === name) ?? {};
  const { doing, done, total, bytes: moved } = loop("repair");
  if (doing && done < total) {
    lines.push(`Repair, ${doing}: ${done} of ${files(total)}${moved ? `, ${formatBytes(moved)}` : ""}`);
  } else if (node.short) {
    lines.push(`${files(node.short)} with too few copies${node.missing ? `, ${node.missing} to be copied to this node` : ""}`);
  }
  const scrub = loop("scrub");
  if (scrub.total) {
    const damaged = node.damaged ? ` · ${node.damaged} damaged` : "";
    lines.push(`Scrub: ${scrub.done} of ${files(scrub.total)} checked${damaged}`);
  }
  for (const { name, error } of node.loops) {
    if (error) lines.push(`${name}: ${error}`);
  }
  return lines;
}

function formatAge(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 90) return `${seconds} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
}

function brokerText(state) {
  const open = `${plural(state.running, "task")} running, ${state.pending} queued.`;
  if (!state.configured) return `The leader assigns tasks. ${open}`;
  if (!state.connected) return `RabbitMQ is unreachable. The leader assigns tasks. ${open}`;
  const ready = state.ready === null ? "" : ` ${plural(state.ready, "message")} queued.`;
  return `RabbitMQ assigns tasks (queue ${state.queue}).${ready} ${open}`;
}
