// The files in what was dropped or chosen, those in folders too.

let extensions = new Set();

/** Sets the extensions of songs, in lower case. The cluster has the list. */
export function setExtensions(list) {
  extensions = new Set(list);
}

/** Whether a file looks like a song. Other files in a folder, such as pictures, do not. */
export const looksLikeSong = (file) =>
  file.type.startsWith("audio/") || extensions.has(file.name.split(".").pop().toLowerCase());

/** All files that were dropped. Has to be called while the event is there; folders are read later. */
export function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return Promise.resolve({ files: [...transfer.files], folders: false });
  return walk(entries).then((files) => ({ files, folders: entries.some((entry) => entry.isDirectory) }));
}

async function walk(entries) {
  const files = [];
  for (const entry of entries) {
    if (entry.isFile) files.push(await new Promise((resolve, reject) => { entry.file(resolve, reject); }));
    else files.push(...await walk(await inside(entry)));
  }
  return files;
}

/** A folder tells its entries in portions, until one is empty. */
async function inside(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (some.length === 0) return all.sort((a, b) => a.name.localeCompare(b.name, [], { numeric: true }));
    all.push(...some);
  }
}
