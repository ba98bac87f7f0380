// The page: starts its parts and keeps them true while nodes come and go.

import { byId, say } from "./dom.js";
import { AWAY, STALE, ask, listen } from "./net.js";
import { showCluster } from "./nodes.js";
import * as songs from "./songs.js";
import * as uploads from "./uploads.js";

const LOOK_EVERY = 2000;
let version = null;
let connected = false;
let again = null;

function banner(text) {
  const element = byId("banner");
  say(element, text);
  element.hidden = text === "";
}

/** Reads everything anew; while that does not work, or not with a majority, tries again. */
async function reload() {
  clearTimeout(again);
  try {
    const [stale] = await Promise.all([songs.reload(), uploads.loadModels()]);
    banner(stale ? STALE : "");
    if (stale) again = setTimeout(reload, LOOK_EVERY);
  } catch (problem) {
    banner(problem.message);
    again = setTimeout(reload, LOOK_EVERY);
  }
}

async function lookAtCluster() {
  if (!document.hidden) {
    try {
      const data = await ask("/cluster");
      showCluster(data);
      uploads.setLimits(data.limits);
      if (connected && !byId("banner").hidden) reload();
    } catch (problem) {
      banner(problem.message);
    }
  }
  setTimeout(lookAtCluster, LOOK_EVERY);
}

songs.start();
uploads.start();
lookAtCluster();
listen({
  greeted(hello) {
    // A node of another version has another page.
    if (version !== null && version !== hello.version) location.reload();
    version = hello.version;
    connected = true;
    reload();
  },
  lost() {
    connected = false;
    banner(AWAY);
  },
  on: {
    song: songs.show,
    song_removed: songs.showRemoved,
    job: songs.showJob,
    resync: reload,
  },
});
