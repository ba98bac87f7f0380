// The session and the permissions of the user. The node checks every request; these checks only hide controls whose
// requests would be rejected.

import { get, mutate } from "./net.js";

/** The logged-in user, or null. */
export let user = null;
/** Whether anonymous access is allowed, whether registration is open, and whether any account exists. */
export let access = { anonymous: true, registration: false, accounts: true };

/** Reads the session. Returns whether the user changed. */
export async function load() {
  const { user: now, ...rest } = await get("/auth/me");
  const changed = now?.id !== user?.id || now?.administrator !== user?.administrator || now?.username !== user?.username;
  user = now;
  access = rest;
  return changed;
}

/** Clears the user after the node reported that the session has ended. */
export function clear() {
  user = null;
}

export const hasAccess = () => user !== null || access.anonymous;

/** Owners and administrators can edit a song; anyone can edit a song without an owner. */
export const canEdit = (song) => song.uploader_id === null || owns(song);

/** Owners and administrators can share a song. Songs without an owner are visible to everyone already. */
export const canShare = (song) => song.uploader_id !== null && owns(song);

const owns = (song) => user !== null && (song.uploader_id === user.id || user.administrator);

export const logIn = (username, password) => mutate("POST", "/auth/login", { username, password });

export const logOut = () => mutate("POST", "/auth/logout");

export const register = (values) => mutate("POST", "/auth/register", values);
