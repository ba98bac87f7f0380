// What musicians ask first about a song, as far as it was found and is likely.

const SURE = 0.3;

/** The tempo as text, or nothing. */
export function bpm({ facts }) {
  return facts?.tempo && facts.tempo_confidence >= SURE ? String(Math.round(facts.tempo)) : "";
}

/** The key, or nothing. */
export function key({ facts }) {
  return facts?.key && facts.key_confidence >= SURE ? facts.key : "";
}

/** How loud it is, or nothing. */
export function loudness({ facts }) {
  return typeof facts?.loudness === "number" ? `${facts.loudness.toFixed(1)} LUFS` : "";
}

/** Tempo and key in one line's pieces. */
export const tempoAndKey = (song) => [bpm(song) && `${bpm(song)} BPM`, key(song)].filter(Boolean);
