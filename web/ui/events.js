// Forwards changes of songs and jobs to the shown page. They come from the event stream and from actions in this tab.

let page = null;

/** Sets the page that receives events. Its `on` holds handlers by name: song, song_removed, job. */
export function setPage(next) {
  page = next;
}

const publish = (name) => (data) => page?.on?.[name]?.(data);

export const songChanged = publish("song");
export const songRemoved = publish("song_removed");
export const jobChanged = publish("job");
