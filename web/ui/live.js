// What happens to songs, for the page that is shown: the node tells it, and so does what is done on the page itself.

let page = null;

/** The page that hears of it from now on. Its `on` names what it wants to hear: song, song_removed, job. */
export function follow(shown) {
  page = shown;
}

const tellPage = (name) => (what) => page?.on?.[name]?.(what);

export const showSong = tellPage("song");
export const showRemoved = tellPage("song_removed");
export const showJob = tellPage("job");
export const forgetSong = (id) => showRemoved({ id });
