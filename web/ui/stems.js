// Names and order of stems, and names of audio formats.

const ORDER = ["vocals", "no_vocals", "drums", "no_drums", "bass", "no_bass", "guitar", "no_guitar", "piano", "no_piano"];
const WAV = { int16: "16 bit", int24: "24 bit", float32: "32 bit float" };

/** The name of a stem. “no_vocals” is the sum of all stems but the vocals. */
export const stemName = (part) => (part.startsWith("no_") ? `no ${part.slice(3)}` : part);

/** Stems in display order. */
export function sortStems(stems) {
  const place = (stem) => (ORDER.includes(stem) ? ORDER.indexOf(stem) : ORDER.length);
  return [...stems].sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

/** The quality of a format: "mp3:320" is "320 kbit/s". */
export function formatQuality(format) {
  const [name, detail] = format.split(":");
  return { mp3: `${detail} kbit/s`, flac: `${detail} bit`, wav: WAV[detail] }[name] ?? detail;
}

/** The name of a format: "mp3:320" is "MP3, 320 kbit/s". */
export const formatName = (format) => `${format.split(":")[0].toUpperCase()}, ${formatQuality(format)}`;

/** The label of jobs that produce every stem. */
export const ALL_STEMS = "all stems";

/** The stems that a job produces, as text. */
export function stemsOf(job) {
  if (job.two_stems) return `${job.two_stems}, no ${job.two_stems}`;
  return job.stems ? sortStems(job.stems).join(", ") : ALL_STEMS;
}
