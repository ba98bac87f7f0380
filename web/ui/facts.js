// Tempo, key and loudness of a song. Values from tags or the owner override detected ones; detected values are shown
// only above a confidence.

const SURE = 0.3;

/** The tempo in BPM as text, or an empty string. */
export function bpm({ own_bpm: own, facts }) {
  if (own) return String(Math.round(own));
  return facts?.tempo && facts.tempo_confidence >= SURE ? String(Math.round(facts.tempo)) : "";
}

/** The key, or an empty string. */
export function key({ own_key: own, facts }) {
  return own ?? (facts?.key && facts.key_confidence >= SURE ? facts.key : "");
}

/** The loudness, or an empty string. */
export function loudness({ facts }) {
  return typeof facts?.loudness === "number" ? `${facts.loudness.toFixed(1)} LUFS` : "";
}

/** The known values among tempo and key. */
export const tempoAndKey = (song) => [bpm(song) && `${bpm(song)} BPM`, key(song)].filter(Boolean);
