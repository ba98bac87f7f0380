// Plays through Quartet's OpenSubsonic with subsonic-api, the library of players that are written in JavaScript.
// scripts/subsonic runs it where there is npm: node subsonic_client.mjs ADDRESS USER TOKEN ORIGINAL
// ORIGINAL is a file with the bytes that the vocals of the song "Mill" should have.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The library lies where npm has put it, not beside this file.
const library = createRequire(`${process.cwd()}/`).resolve("subsonic-api");
const { default: SubsonicAPI } = await import(pathToFileURL(library));
const [url, username, token, original] = process.argv.slice(2);
const titles = (list) => list.map((one) => one.title ?? one.name);

for (const [way, config] of [
    ["a proof", { auth: { username, password: token } }],
    ["a key, posted", { auth: { apiKey: token }, post: true }],
]) {
    const player = new SubsonicAPI({ url, ...config });
    const pong = await player.ping();
    assert.deepEqual([pong.status, pong.openSubsonic, pong.type], ["ok", true, "quartet"]);
    const { artists } = await player.getArtists();
    const ada = artists.index.flatMap((index) => index.artist).find((artist) => artist.name.startsWith("Ada"));
    const { artist } = await player.getArtist({ id: ada.id });
    const stems = artist.album.find((album) => album.name === "Mill (stems)");
    const { album } = await player.getAlbum({ id: stems.id });
    assert.deepEqual(titles(album.song), ["Bass", "Drums", "Other", "Vocals"]);
    const heard = await player.stream({ id: album.song[3].id });
    assert.ok(Buffer.from(await heard.arrayBuffer()).equals(await readFile(original)), "the bytes of the vocals");
    const { searchResult3 } = await player.search3({ query: "" });
    assert.deepEqual(titles(searchResult3.song), ["Loose", "Mill", "Punch"]);
    const [loose] = searchResult3.song;
    await player.star({ id: loose.id });
    assert.deepEqual(titles((await player.getStarred2()).starred2.song), ["Loose"]);
    await player.unstar({ id: loose.id });
    await player.scrobble({ id: loose.id, time: Date.now() });
    assert.equal((await player.getAlbumList2({ type: "recent" })).albumList2.album[0].name, "Loose");
    const { playlist } = await player.createPlaylist({ name: "Modern", songId: [loose.id, loose.id] });
    await player.updatePlaylist({ playlistId: playlist.id, songIndexToRemove: [0] });
    assert.equal((await player.getPlaylist({ id: playlist.id })).playlist.songCount, 1);
    await player.deletePlaylist({ id: playlist.id });
    const wrong = new SubsonicAPI({ url, auth: { username, password: "wrong" } });
    assert.equal((await wrong.ping()).error.code, 40);
    console.log(`  subsonic-api (${way}): browsed, streamed, starred, scrobbled and kept a playlist`);
}
