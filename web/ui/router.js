// Which page is shown: #songs, #playlists/3, #jobs?state=failed. The node sends one file, and the rest is here.

/** The page that the address names: its name, what follows it, and its query. */
export function asked() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [name, argument = null] = path.split("/");
  return { name, argument, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** Notes in the address what is searched for, so that going back and reloading find it again. */
export function setQuery(query) {
  const [path] = location.hash.slice(1).split("?");
  const text = new URLSearchParams(query).toString();
  history.replaceState(null, "", `#${path || "songs"}${text ? `?${text}` : ""}`);
}
