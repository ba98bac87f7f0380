// Tests Quartet's OpenSubsonic API with subsonic-api, a JavaScript client library.
// scripts/subsonic runs it if npm is installed: node subsonic_client.mjs ADDRESS USER TOKEN ORIGINAL
// ORIGINAL is a file with the expected bytes of the vocals of the song "Mill".

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// npm installed the library in the working directory, not next to this file.
const library = createRequire(`${process.cwd()}/`).resolve("subsonic-api");
const { default: SubsonicAPI } = await import(pathToFileURL(library));
const [url, username, token, original] = process.argv.slice(2);
const titles = (list) => list.map((item) => item.title ?? item.name);

for (const [method, config] of [
    ["token hash", { auth: { username, password: token } }],
    ["API key, POST", { auth: { apiKey: token }, post: true }],
]) {
    const client = new SubsonicAPI({ url, ...config });
    const pong = await client.ping();
    assert.deepEqual([pong.status, pong.openSubsonic, pong.type], ["ok", true, "quartet"]);
    const { artists } = await client.getArtists();
    const ada = artists.index.flatMap((index) => index.artist).find((artist) => artist.name.startsWith("Ada"));
    const { artist } = await client.getArtist({ id: ada.id });
    const stems = artist.album.find((album) => album.name === "Mill (stems)");
    const { album } = await client.getAlbum({ id: stems.id });
    assert.deepEqual(titles(album.song), ["Bass", "Drums", "Other", "Vocals"]);
    const streamed = await client.stream({ id: album.song[3].id });
    assert.ok(Buffer.from(await streamed.arrayBuffer()).equals(await readFile(original)), "the bytes of the vocals differ");
    const { searchResult3 } = await client.search3({ query: "" });
    assert.deepEqual(titles(searchResult3.song), ["Loose", "Mill", "Punch"]);
    const [loose] = searchResult3.song;
    await client.star({ id: loose.id });
    assert.deepEqual(titles((await client.getStarred2()).starred2.song), ["Loose"]);
    await client.unstar({ id: loose.id });
    await client.scrobble({ id: loose.id, time: Date.now() });
    assert.equal((await client.getAlbumList2({ type: "recent" })).albumList2.album[0].name, "Loose");
    const { playlist } = await client.createPlaylist({ name: "Modern", songId: [loose.id, loose.id] });
    await client.updatePlaylist({ playlistId: playlist.id, songIndexToRemove: [0] });
    assert.equal((await client.getPlaylist({ id: playlist.id })).playlist.songCount, 1);
    await client.deletePlaylist({ id: playlist.id });
    const wrong = new SubsonicAPI({ url, auth: { username, password: "wrong" } });
    assert.equal((await wrong.ping()).error.code, 40);
    console.log(`  subsonic-api (${method}): browsed, streamed, starred, scrobbled and edited a playlist`);
}
