// What musicians ask first about a song, as far as somebody says it, or it was found and is likely.

const SURE = 0.3;

/** The tempo as text, or nothing: what somebody says is likely. */
export function bpm({ own_bpm: own, facts }) {
  if (own) return String(Math.round(own));
  return facts?.tempo && facts.tempo_confidence >= SURE ? String(Math.round(facts.tempo)) : "";
}

/** The key, or nothing. */
export function key({ own_key: own, facts }) {
  return own ?? (facts?.key && facts.key_confidence >= SURE ? facts.key : "");
}

/** How loud it is, or nothing. */
export function loudness({ facts }) {
  return typeof facts?.loudness === "number" ? `${facts.loudness.toFixed(1)} LUFS` : "";
}

/** Tempo and key in one line's pieces. */
export const tempoAndKey = (song) => [bpm(song) && `${bpm(song)} BPM`, key(song)].filter(Boolean);
