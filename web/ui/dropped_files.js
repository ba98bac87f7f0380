// Dropped files, including those in folders.

let extensions = new Set();

/** Sets the accepted extensions, in lower case. The list comes from the cluster. */
export function setExtensions(list) {
  extensions = new Set(list);
}

/** Whether a file looks like audio by its type or extension. */
export const looksLikeAudio = (file) =>
  file.type.startsWith("audio/") || extensions.has(file.name.split(".").pop().toLowerCase());

/** All dropped files. Call it within the event handler, before its data expires; folders are read later. */
export function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return Promise.resolve({ files: [...transfer.files], folders: false });
  return walk(entries).then((files) => ({ files, folders: entries.some((entry) => entry.isDirectory) }));
}

async function walk(entries) {
  const files = [];
  for (const entry of entries) {
    if (entry.isFile) files.push(await new Promise((resolve, reject) => { entry.file(resolve, reject); }));
    else files.push(...await walk(await entriesOf(entry)));
  }
  return files;
}

/** All entries of a folder. `readEntries` returns them in batches until a batch is empty. */
async function entriesOf(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const batch = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (batch.length === 0) return all.sort((a, b) => a.name.localeCompare(b.name, [], { numeric: true }));
    all.push(...batch);
  }
}
