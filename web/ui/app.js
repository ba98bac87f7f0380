// The application: shows the page of the current route, handles log-in and log-out, and reloads the page when the
// connection to the node returns.

import * as account from "./account.js";
import { showCluster } from "./cluster.js";
import { byId, h, setText } from "./dom.js";
import * as events from "./events.js";
import * as job from "./job.js";
import * as jobs from "./jobs.js";
import * as library from "./library.js";
import * as login from "./login.js";
import { STALE, UNREACHABLE, get, onLoggedOut, subscribe } from "./net.js";
import * as playerBar from "./player_bar.js";
import * as playlist from "./playlist.js";
import * as playlists from "./playlists.js";
import * as register from "./register.js";
import { currentRoute } from "./router.js";
import * as session from "./session.js";
import * as sharedSong from "./shared_song.js";
import * as statistics from "./statistics.js";
import * as uploads from "./uploads.js";
import * as users from "./users.js";

const POLL_INTERVAL = 2000;
/** Pages that need no access. */
const PUBLIC_PAGES = [login, register, sharedSong];
/** Pages that need an account. */
const ACCOUNT_PAGES = [account, users];
/** Pages with the list of nodes below them. */
const PAGES_WITH_NODES = [library, jobs, job, statistics];

let version = null;
let connected = false;
let retryTimer = null;
let page = null;
let module = null;
let disconnect = null;
let returnTo = "";
/** Whether the session was read. Without a majority the node cannot read it, but still serves stale data. */
let sessionKnown = false;

function pageFor({ name, argument }) {
  switch (name) {
    case "playlists": return argument === null ? playlists : playlist;
    case "jobs": return argument === null ? jobs : job;
    case "statistics": return statistics;
    case "account": return account;
    case "users": return users;
    case "login": return login;
    case "register": return register;
    case "shared": return sharedSong;
    default: return library;
  }
}

function showBanner(text) {
  const element = byId("banner");
  setText(element, text);
  element.hidden = text === "";
}

/** Shows the page of the current route. */
function navigate({ focus = true } = {}) {
  const route = currentRoute();
  const next = pageFor(route);
  const permitted = ACCOUNT_PAGES.includes(next) ? session.user !== null : session.hasAccess();
  if (!permitted && !PUBLIC_PAGES.includes(next)) {
    redirectToLogin();
    return;
  }
  page?.close?.();
  module = next;
  const main = byId("main");
  main.replaceChildren();
  page = module.open(main, { ...route, done: afterLogin, renamed: afterRename });
  events.setPage(page);
  document.title = module === library ? "Quartet" : `${module.title} – Quartet`;
  byId("cluster").hidden = !PAGES_WITH_NODES.includes(module);
  drawNav();
  if (focus) {
    window.scrollTo({ top: 0 });
    if (!main.contains(document.activeElement)) main.focus({ preventScroll: true });
  }
  reload();
}

/** Shows the log-in page and returns to the current page after log-in. */
function redirectToLogin() {
  if (!PUBLIC_PAGES.includes(pageFor(currentRoute()))) returnTo = location.hash;
  // Without access the event stream would be rejected again and again: close it.
  if (!session.hasAccess()) connectEvents();
  location.replace("#login");
  // No hashchange event follows if the address is #login already.
  if (module !== login) navigate();
}

/** Reloads the session after log-in or log-out. */
async function afterLogin() {
  const route = returnTo || "#songs";
  returnTo = "";
  playerBar.close();
  await session.load();
  connectEvents();
  if (location.hash === route) navigate();
  else location.hash = route;
}

/** Shows the new username. */
async function afterRename() {
  await session.load();
  drawNav();
}

function drawNav() {
  const link = (href, label, ...modules) => h("a", {
    href, ...(modules.includes(module) ? { "aria-current": "page" } : {}),
  }, label);
  const { user } = session;
  const links = session.hasAccess() ? [link("#songs", "Library", library), link("#jobs", "Jobs", jobs, job, statistics)] : [];
  if (user) links.splice(1, 0, link("#playlists", "Playlists", playlists, playlist));
  if (user?.administrator) links.push(link("#users", "Users", users));
  if (user) links.push(link("#account", user.username, account));
  else if (sessionKnown) links.push(link("#login", "Log in", login, register));
  byId("nav").replaceChildren(...links);
}

/** Reloads the data of the page. Retries after an error and while the data is stale. */
async function reload() {
  clearTimeout(retryTimer);
  const shown = page;
  try {
    if (!sessionKnown && await refreshSession()) {
      navigate();
      return;
    }
    const stale = await shown?.reload?.();
    if (shown !== page) return;
    showBanner(stale ? STALE : "");
    if (stale) retryTimer = setTimeout(reload, POLL_INTERVAL);
  } catch (problem) {
    if (shown !== page || problem.code === "not_logged_in") return;
    showBanner(problem.message);
    retryTimer = setTimeout(reload, POLL_INTERVAL);
  }
}

async function pollCluster() {
  if (!document.hidden && session.hasAccess()) {
    try {
      const data = await get("/cluster");
      showCluster(data);
      uploads.setLimits(data.limits);
      // The banner does not match the health of the cluster: reload.
      if (connected && byId("banner").hidden === (data.health === "down")) reload();
    } catch (problem) {
      if (problem.code !== "not_logged_in") showBanner(problem.message);
    }
  }
  setTimeout(pollCluster, POLL_INTERVAL);
}

/** Opens the event stream for the current session. */
function connectEvents() {
  disconnect?.();
  disconnect = null;
  connected = false;
  if (!session.hasAccess()) return;
  disconnect = subscribe({
    async onConnect(hello) {
      // A node of another version serves another version of this page.
      if (version !== null && version !== hello.version) location.reload();
      version = hello.version;
      const first = !connected;
      connected = true;
      // The server closes the stream when the session ends.
      if (first && await session.load().catch(() => false)) navigate();
      else reload();
    },
    onDisconnect() {
      connected = false;
      showBanner(UNREACHABLE);
      session.load().then((changed) => { if (changed) navigate(); }, () => {});
    },
    on: { song: events.songChanged, song_removed: events.songRemoved, job: events.jobChanged, resync: reload },
  });
}

/** Reads the session. Returns whether it changed. */
async function refreshSession() {
  try {
    const changed = await session.load();
    sessionKnown = true;
    return changed;
  } catch (problem) {
    if (problem.code !== "no_majority") throw problem;
    return false;
  }
}

async function start() {
  try {
    await refreshSession();
  } catch (problem) {
    showBanner(problem.message);
    setTimeout(start, POLL_INTERVAL);
    return;
  }
  showBanner("");
  navigate({ focus: false });
  connectEvents();
  pollCluster();
}

onLoggedOut(() => {
  if (PUBLIC_PAGES.includes(module)) return;
  session.clear();
  redirectToLogin();
});
window.addEventListener("hashchange", () => navigate());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, dialog") || !page?.focusSearch) return;
  event.preventDefault();
  page.focusSearch();
});
uploads.start(session.hasAccess);
start();
