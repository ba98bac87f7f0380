// Routes in the hash of the address: #songs, #playlists/3, #jobs?state=failed.

/** The current route: name of the page, argument or null, and query parameters. */
export function currentRoute() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [name, argument = null] = path.split("/");
  return { name, argument, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** Stores query parameters in the address, so that Back and Reload restore them. */
export function setQuery(query) {
  const [path] = location.hash.slice(1).split("?");
  const text = new URLSearchParams(query).toString();
  history.replaceState(null, "", `#${path || "songs"}${text ? `?${text}` : ""}`);
}
