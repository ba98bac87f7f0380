// Who one is, as the node says, and what follows from that for the page. The node decides; the page only spares people
// buttons that would be refused.

import { ask, tell } from "./net.js";

/** Who is logged in, or null. */
export let user = null;
/** Whether people without an account are let in, whether one may register, whether anybody has an account. */
export let allowed = { anonymous: true, registration: false, accounts: true };

/** Asks who one is. Returns whether that is somebody else than before. */
export async function load() {
  const { user: now, ...rest } = await ask("/auth/me");
  const changed = now?.id !== user?.id || now?.administrator !== user?.administrator || now?.username !== user?.username;
  user = now;
  allowed = rest;
  return changed;
}

/** The node said that nobody is logged in. */
export function forget() {
  user = null;
}

export const isLetIn = () => user !== null || allowed.anonymous;

/** A song is changed by whose it is, and what is nobody's by everybody. */
export const mayChange = (song) => song.uploader_id === null || owns(song);

/** A song is shared by whose it is; what is nobody's is for everybody already. */
export const mayShare = (song) => song.uploader_id !== null && owns(song);

const owns = (song) => user !== null && (song.uploader_id === user.id || user.administrator);

export const logIn = (username, password) => tell("POST", "/auth/login", { username, password });

export const logOut = () => tell("POST", "/auth/logout");

export const register = (wish) => tell("POST", "/auth/register", wish);
