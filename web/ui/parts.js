// What a separation makes: its stems in the order that people look for them, and how they and their files are called.

const ORDER = ["vocals", "no_vocals", "drums", "no_drums", "bass", "no_bass", "guitar", "no_guitar", "piano", "no_piano"];
const WAV = { int16: "16 bit", int24: "24 bit", float32: "32 bit float" };

/** What a stem is called: the sum of all others too, which stands beside the one stem of two. */
export const partName = (part) => (part.startsWith("no_") ? `all but ${part.slice(3)}` : part);

/** Stems in the order in which they are shown. */
export function inOrder(stems) {
  const place = (stem) => (ORDER.includes(stem) ? ORDER.indexOf(stem) : ORDER.length);
  return [...stems].sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

/** How good a format is, as people say it: "mp3:320" has "320 kbit/s". */
export function quality(format) {
  const [name, detail] = format.split(":");
  return { mp3: `${detail} kbit/s`, flac: `${detail} bit`, wav: WAV[detail] }[name] ?? detail;
}

/** A format as people say it: "mp3:320" is "MP3, 320 kbit/s". */
export const formatName = (format) => `${format.split(":")[0].toUpperCase()}, ${quality(format)}`;

export const ALL = "all stems";

/** Which stems a job makes. */
export function stemsOf(job) {
  if (job.two_stems) return `${job.two_stems} and the rest`;
  return job.stems ? inOrder(job.stems).join(", ") : ALL;
}
