// The page: shows what the address asks for, and keeps it true while nodes come and go and people log in and out.

import * as account from "./account.js";
import * as bar from "./bar.js";
import { byId, el, say } from "./dom.js";
import * as job from "./job.js";
import * as jobs from "./jobs.js";
import * as live from "./live.js";
import * as login from "./login.js";
import { AWAY, STALE, ask, listen, whenLoggedOut } from "./net.js";
import { showCluster } from "./nodes.js";
import * as playlist from "./playlist.js";
import * as playlists from "./playlists.js";
import * as register from "./register.js";
import { asked } from "./router.js";
import * as session from "./session.js";
import * as shared from "./shared.js";
import * as songs from "./songs.js";
import * as statistics from "./statistics.js";
import * as uploads from "./uploads.js";
import * as users from "./users.js";

const LOOK_EVERY = 2000;
/** Pages that people see whom the node does not let in. */
const OUTSIDE = [login, register, shared];
/** Pages that say nothing to who has no account. */
const INSIDE = [account, users];
/** Pages that are about the work of the nodes too. */
const WITH_NODES = [songs, jobs, job, statistics];

let version = null;
let connected = false;
let again = null;
let page = null;
let module = null;
let stop = null;
let wanted = "";
/** Whether the node could say who one is. Without a majority it cannot, and still shows what it knew last. */
let known = false;

function pageFor({ name, argument }) {
  switch (name) {
    case "playlists": return argument === null ? playlists : playlist;
    case "jobs": return argument === null ? jobs : job;
    case "statistics": return statistics;
    case "account": return account;
    case "users": return users;
    case "login": return login;
    case "register": return register;
    case "shared": return shared;
    default: return songs;
  }
}

function banner(text) {
  const element = byId("banner");
  say(element, text);
  element.hidden = text === "";
}

/** Shows the page of the address. */
function go({ focus = true } = {}) {
  const to = asked();
  const next = pageFor(to);
  const enough = INSIDE.includes(next) ? session.user !== null : session.isLetIn();
  if (!enough && !OUTSIDE.includes(next)) {
    askToLogIn();
    return;
  }
  page?.close?.();
  module = next;
  const main = byId("main");
  main.replaceChildren();
  page = module.open(main, { ...to, done: comeBack, renamed });
  live.follow(page);
  document.title = module === songs ? "Quartet" : `${module.title} – Quartet`;
  byId("cluster").hidden = !WITH_NODES.includes(module);
  drawNav();
  if (focus) {
    window.scrollTo({ top: 0 });
    if (!main.contains(document.activeElement)) main.focus({ preventScroll: true });
  }
  reload();
}

/** Who has to log in comes back afterwards to where they were. */
function askToLogIn() {
  if (!OUTSIDE.includes(pageFor(asked()))) wanted = location.hash;
  // Who is not let in hears nothing either, and need not be told that again and again.
  if (!session.isLetIn()) hear();
  location.replace("#login");
  // Where the address was that already, nothing would happen.
  if (module !== login) go();
}

/** Somebody has logged in or out. */
async function comeBack() {
  const to = wanted || "#songs";
  wanted = "";
  bar.close();
  await session.load();
  hear();
  if (location.hash === to) go();
  else location.hash = to;
}

/** Somebody is called otherwise now. */
async function renamed() {
  await session.load();
  drawNav();
}

function drawNav() {
  const link = (href, words, ...modules) => el("a", {
    href, ...(modules.includes(module) ? { "aria-current": "page" } : {}),
  }, words);
  const { user } = session;
  const links = session.isLetIn() ? [link("#songs", "Songs", songs), link("#jobs", "Jobs", jobs, job, statistics)] : [];
  if (user) links.splice(1, 0, link("#playlists", "Playlists", playlists, playlist));
  if (user?.administrator) links.push(link("#users", "Users", users));
  if (user) links.push(link("#account", user.username, account));
  else if (known) links.push(link("#login", "Log in", login, register));
  byId("nav").replaceChildren(...links);
}

/** Reads everything anew; while that does not work, or not with a majority, tries again. */
async function reload() {
  clearTimeout(again);
  const shown = page;
  try {
    if (!known && await whoIsIt()) {
      go();
      return;
    }
    const stale = await shown?.reload?.();
    if (shown !== page) return;
    banner(stale ? STALE : "");
    if (stale) again = setTimeout(reload, LOOK_EVERY);
  } catch (problem) {
    if (shown !== page || problem.code === "not_logged_in") return;
    banner(problem.message);
    again = setTimeout(reload, LOOK_EVERY);
  }
}

async function lookAtCluster() {
  if (!document.hidden && session.isLetIn()) {
    try {
      const data = await ask("/cluster");
      showCluster(data);
      uploads.setLimits(data.limits);
      // Either what is shown is old, or it is about to be.
      if (connected && byId("banner").hidden === (data.health === "down")) reload();
    } catch (problem) {
      if (problem.code !== "not_logged_in") banner(problem.message);
    }
  }
  setTimeout(lookAtCluster, LOOK_EVERY);
}

/** Listens as whoever one is now. */
function hear() {
  stop?.();
  stop = null;
  connected = false;
  if (!session.isLetIn()) return;
  stop = listen({
    async greeted(hello) {
      // A node of another version has another page.
      if (version !== null && version !== hello.version) location.reload();
      version = hello.version;
      const first = !connected;
      connected = true;
      // A session that ended elsewhere ends the stream too.
      if (first && await session.load().catch(() => false)) go();
      else reload();
    },
    lost() {
      connected = false;
      banner(AWAY);
      session.load().then((changed) => { if (changed) go(); }, () => {});
    },
    on: { song: live.showSong, song_removed: live.showRemoved, job: live.showJob, resync: reload },
  });
}

/** Asks who one is; returns whether that is news. */
async function whoIsIt() {
  try {
    const changed = await session.load();
    known = true;
    return changed;
  } catch (problem) {
    if (problem.code !== "no_majority") throw problem;
    return false;
  }
}

async function begin() {
  try {
    await whoIsIt();
  } catch (problem) {
    banner(problem.message);
    setTimeout(begin, LOOK_EVERY);
    return;
  }
  banner("");
  go({ focus: false });
  hear();
  lookAtCluster();
}

whenLoggedOut(() => {
  if (OUTSIDE.includes(module)) return;
  session.forget();
  askToLogIn();
});
window.addEventListener("hashchange", () => go());
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
uploads.start(session.isLetIn);
begin();
