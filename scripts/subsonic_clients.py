#!/usr/bin/env python3
"""Tests Quartet's OpenSubsonic API with two third-party client libraries: py-opensonic and py-sonic.

scripts/subsonic starts nodes, uploads songs and runs this. py-opensonic parses responses into typed objects and fails
if a required field is missing. It runs once with JSON and once with XML, whose elements and attributes are parsed into
the same types. Prints each step. On a failure, exits with 1 and an error message.
"""

import argparse
import asyncio
import sys
import time
import urllib.request
import xml.etree.ElementTree as ElementTree

import libopensonic
import libsonic
from libopensonic import errors

# Below the top level, an element that occurs once becomes a list of one. At the top level, only these become lists.
NAMESPACE = "{http://subsonic.org/restapi}"
TOP_LISTS = {"openSubsonicExtensions"}
# Elements with a plain text value.
PLAIN = {"versions", "folder"}


class TestFailure(Exception):
    """A response differs from the expectation."""


def expect(found, wanted, what):
    if found != wanted:
        raise TestFailure(f"{what}: found {found!r}, expected {wanted!r}")


def read_xml(element, depth=0):
    """The element as the corresponding JSON object. Values stay strings, which the library converts."""
    read = {name: {"true": True, "false": False}.get(value, value) for name, value in element.attrib.items()}
    if element.text and element.text.strip():
        read["value"] = element.text
    for child in element:
        name = child.tag.removeprefix(NAMESPACE)
        if not child.tag.startswith(NAMESPACE):
            raise TestFailure(f"<{child.tag}> is not in the Subsonic namespace")
        value = child.text if name in PLAIN else read_xml(child, depth + 1)
        if name == "lyrics":
            # An element without text corresponds to an empty string in JSON.
            value.setdefault("value", "")
        if depth == 0 and name not in TOP_LISTS:
            read[name] = value
        else:
            read.setdefault(name, []).append(value)
    return read


class XmlConnection(libopensonic.AsyncConnection):
    """py-opensonic with XML responses."""

    def _get_base_qdict(self):
        return super()._get_base_qdict() | {"f": "xml"}

    async def _handle_info_res(self, res):
        res.raise_for_status()
        expect(res.content_type, "application/xml", "content type of an XML response")
        read = read_xml(ElementTree.fromstring(await res.read()))
        self._check_status(read)
        return read

    async def _handle_bin_res(self, res):
        if res.content_type == "application/xml":
            await self._handle_info_res(res)
        return await super()._handle_bin_res(res)


async def expect_error(request, kind, what):
    """Fails unless the request raises this kind of error."""
    try:
        await request
    except kind:
        return
    raise TestFailure(f"{what} was not rejected")


def fetch(address, path, token):
    """The response body of Quartet's own HTTP API."""
    request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read()


async def with_py_opensonic(kind, name, arguments, other, options):
    """Runs through the API with one kind of client, at two nodes."""
    here = kind(arguments.at[0], port=arguments.port[0], **options)
    there = kind(arguments.at[1], port=arguments.port[1], **options)
    try:
        await play(here, there, name, arguments, other)
    finally:
        await here.cleanup()
        await there.cleanup()


async def play(here, there, name, arguments, other):
    log = lambda message: print(f"  {name}: {message}")
    if not await here.ping():
        raise TestFailure("ping fails")
    extensions = {extension.name for extension in await here.get_open_subsonic_extensions()}
    expect({"apiKeyAuthentication", "formPost"} <= extensions, True, f"the extensions {extensions}")
    expect((await here.get_user(arguments.user)).username, arguments.user, "authenticated user")
    await here.get_license()
    if here.api_key:
        expect((await here.token_info()).username, arguments.user, "user of the API key")

    # By tags: artists, albums, songs.
    found = await here.get_artists()
    artists = {artist.name: artist for index in found.index for artist in index.artist}
    expect(sorted(artists), ["Ada & the <Engines>", "[Unknown Artist]"], "the artists")
    artist = await there.get_artist(artists["Ada & the <Engines>"].id)
    albums = {album.name: album for album in artist.album}
    expect(sorted(albums), ["Difference", "Mill (stems)", "Punch (stems)"], "the albums")
    expect(artists["Ada & the <Engines>"].album_count, 3, "album count")
    album = await here.get_album(albums["Difference"].id)
    expect([(song.track, song.title) for song in album.song], [(1, "Mill"), (2, "Punch")], "the songs")
    mill, punch = album.song
    expect((album.song_count, album.artist, album.year), (2, "Ada & the <Engines>", 1843), "the album")
    song = await there.get_song(mill.id)
    expect((song.album_id, song.artist_id, song.suffix), (album.id, artist.id, "mp3"), "the song")
    expect((song.duration, song.content_type, song.is_dir), (8, "audio/mpeg", False), "the song")
    # A song without an album gets its own album.
    unknown = await here.get_artist(artists["[Unknown Artist]"].id)
    expect(sorted(album.name for album in unknown.album), ["Loose", "Loose (stems)"], "albums of no artist")

    # By folders.
    letters = {index.name: [artist.name for artist in index.artist] for index in (await here.get_indexes()).index}
    expect(letters, {"A": ["Ada & the <Engines>"], "#": ["[Unknown Artist]"]}, "index letters")
    folder = await here.get_music_directory(artist.id)
    expect(sorted(child.title for child in folder.child), sorted(albums), "the artist's folder")
    folder = await there.get_music_directory(album.id)
    expect([child.id for child in folder.child], [mill.id, punch.id], "the album's folder")
    genres = await here.get_genres()
    expect([(genre.value, genre.song_count, genre.album_count) for genre in genres], [("March", 2, 1)], "the genres")
    log("browsed by tags and by folders at two nodes")

    # The stems of a song form an album.
    stems = await there.get_album(albums["Mill (stems)"].id)
    expect([song.title for song in stems.song], ["Bass", "Drums", "Other", "Vocals"], "the stems")
    vocals = stems.song[-1]
    expect((await here.get_song(vocals.id)).album, "Mill (stems)", "a stem's album")
    for track, path in [(mill, f"/songs/{arguments.mill}/song.mp3"), (vocals, f"/songs/{arguments.mill}/vocals.mp3")]:
        whole = fetch(other, path, arguments.token)
        expect(await (await here.stream(track.id)).read() == whole, True, f"the bytes of {track.title}")
        expect(await (await there.download(track.id)).read() == whole, True, f"the download of {track.title}")
        part = await (await there.stream(track.id, byte_range="bytes=1000-1999")).read()
        expect(part == whole[1000:2000], True, f"a range of {track.title}")
    wav = fetch(other, f"/songs/{arguments.mill}/drums.wav", arguments.token)
    drums = await (await here.stream(stems.song[1].id, tformat="wav")).read()
    expect((drums[:4], drums == wav), (b"RIFF", True), "drums as WAV")
    loose = unknown.album[0] if unknown.album[0].name == "Loose" else unknown.album[1]
    track = (await here.get_album(loose.id)).song[0]
    expect(track.suffix, "wav", "a song's own format")
    raw = await (await here.stream(track.id, tformat="raw", max_bit_rate=128)).read()
    expect(raw == fetch(other, f"/songs/{arguments.loose}/song.wav", arguments.token), True, "original file of the song")
    small = await (await here.stream(track.id, max_bit_rate=128)).read()
    expect(small == fetch(other, f"/songs/{arguments.loose}/song.mp3", arguments.token), True, "transcoded song")
    cover = await (await here.get_cover_art(mill.cover_art, size=300)).read()
    expect(cover == fetch(other, f"/songs/{arguments.mill}/cover", arguments.token), True, "cover")
    expect(await (await there.get_cover_art(album.id)).read() == cover, True, "album cover")
    await expect_error(here.get_cover_art(track.id), errors.DataNotFoundError, "request for a missing cover")
    log("streamed a song and a stem, whole and in ranges, identical to another node's files")

    # Search by word, and for everything, as clients do that copy the library.
    found = await here.search3("mil")
    expect([song.title for song in found.song], ["Mill"], "songs found by word")
    expect([album.name for album in found.album], ["Mill (stems)"], "albums found by word")
    expect([artist.name for artist in (await here.search3("engin")).artist], ["Ada & the <Engines>"], "artists found by word")
    everything, step = [], 2
    for offset in range(0, 10, step):
        page = await there.search3("", artist_count=0, album_count=step, album_offset=offset, song_count=0)
        everything += [album.name for album in page.album or []]
    expect(everything, ["Difference", "Loose", "Loose (stems)", "Mill (stems)", "Punch (stems)"], "all albums")
    titles = [song.title for song in (await here.search3("", song_count=500)).song]
    expect(titles, ["Loose", "Mill", "Punch"], "all songs")
    expect([song.title for song in (await here.search2("punch")).song], ["Punch"], "songs found by search2")

    # Lists.
    names = lambda albums: [album.name for album in albums]
    expect(names(await here.get_album_list2("alphabeticalByName", size=500)), everything, "albums by name")
    expect(names(await there.get_album_list2("alphabeticalByName", size=2, offset=1)), everything[1:3], "a page")
    by_artist = names(await here.get_album_list2("alphabeticalByArtist"))
    expect(by_artist, ["Difference", "Mill (stems)", "Punch (stems)", "Loose", "Loose (stems)"], "albums by artist")
    expect(names(await here.get_album_list2("newest"))[:2], ["Loose", "Loose (stems)"], "the newest albums")
    expect(sorted(names(await here.get_album_list("random"))), everything, "random albums")
    expect("Difference" in names(await here.get_album_list2("byGenre", genre="march")), True, "albums of a genre")
    years = names(await here.get_album_list2("byYear", from_year=1900, to_year=1800))
    expect("Difference" in years and "Loose" not in years, True, "albums by year")
    await here.get_album_list2("highest")
    expect(sorted(song.title for song in await here.get_random_songs(size=10)), titles, "random songs")
    expect(len(await there.get_songs_by_genre("March")), 2, "songs of a genre")
    log("searched and listed")

    # Stars and scrobbles, which another node returns immediately.
    await here.star(sids=[mill.id])
    starred = await there.get_starred2()
    expect([song.title for song in starred.song], ["Mill"], "starred songs")
    expect(bool((await there.get_song(mill.id)).starred), True, "star of the song")
    expect(names(await there.get_album_list2("starred"))[0], "Difference", "albums with starred songs")
    await expect_error(here.star(album_ids=[album.id]), errors.SonicError, "starring an album")
    await there.unstar(sids=[mill.id])
    expect((await here.get_starred2()).song or [], [], "starred songs after unstar")
    plays = (await here.get_song(punch.id)).play_count
    await here.scrobble(punch.id, submission=False)
    await here.scrobble(punch.id, submission=True, listen_time=int(time.time()))
    await here.scrobble(vocals.id)
    expect((await there.get_song(punch.id)).play_count, plays + 1, "play count")
    expect(names(await there.get_album_list2("frequent"))[0], "Difference", "frequent albums")
    expect(names(await there.get_album_list2("recent"))[:2], ["Difference", "Mill (stems)"], "recent albums")
    expect((await there.get_top_songs(artist.name))[0].id in (mill.id, punch.id), True, "the artist's top songs")
    await expect_error(here.set_rating(mill.id, 5), errors.SonicError, "setting a rating")
    log("starred, unstarred and scrobbled")

    # Playlists.
    await here.create_playlist(name="Märchen & <more>", song_ids=[mill.id, punch.id, mill.id])
    (made,) = await there.get_playlists()
    expect((made.name, made.song_count, made.owner), ("Märchen & <more>", 3, arguments.user), "the playlist")
    await there.update_playlist(made.id, name="Tales", comment="read aloud", song_ids_to_add=[track.id],
                                song_indices_to_remove=[0, 1])
    changed = await here.get_playlist(made.id)
    expect((changed.name, changed.comment), ("Tales", "read aloud"), "name and comment of the playlist")
    expect([song.title for song in changed.entry], ["Mill", "Loose"], "the playlist's songs")
    await there.create_playlist(playlist_id=made.id, song_ids=[punch.id])
    expect([song.title for song in (await here.get_playlist(made.id)).entry], ["Punch"], "songs of the replaced playlist")
    addition = here.update_playlist(made.id, song_ids_to_add=[vocals.id])
    await expect_error(addition, errors.SonicError, "adding a stem to a playlist")
    removal = here.update_playlist(made.id, song_indices_to_remove=[7])
    await expect_error(removal, errors.SonicError, "removing a position beyond the end")
    await here.delete_playlist(made.id)
    expect(await there.get_playlists(), [], "playlists after the deletion")
    log("created, edited and deleted a playlist")

    # Missing resources and unsupported methods.
    for request in [here.get_song("so-999"), here.get_album("al-00-00"), here.get_playlist("pl-999"), here.get_song("x"),
                    here.get_song(f"so-{arguments.hidden}"), here.stream(f"so-{arguments.hidden}")]:
        await expect_error(request, errors.DataNotFoundError, "request for a missing or inaccessible resource")
    expect((await here.get_scan_status()).scanning, False, "scan status")
    await here.start_scan()
    await here.get_artist_info2(artist.id)
    await here.get_album_info2(album.id)
    await here.get_lyrics(artist.name, mill.title)
    for request in [here.get_now_playing(), here.get_similar_songs2(artist.id), here.get_podcasts(), here.get_bookmarks(),
                    here.get_internet_radio_stations(), here.get_shares(), here.get_lyrics_by_song_id(mill.id)]:
        expect(await request, [], "result of an unsupported method")
    await expect_error(here.get_chat_messages(), errors.SonicError, "call of an unsupported method")
    log("missing resources and unsupported methods are handled")


def with_py_sonic(arguments, other):
    """Tests with py-sonic, the older library, which does not check responses."""

    def connect(node, secret, **options):
        return libsonic.Connection(arguments.at[node], arguments.user, secret, port=arguments.port[node], **options)

    here, there = connect(0, arguments.token), connect(1, arguments.password, legacyAuth=True)
    expect((here.ping(), there.ping()), (True, True), "ping")
    artists = {artist["name"]: artist for index in here.getArtists()["artists"]["index"] for artist in index["artist"]}
    artist = there.getArtist(artists["Ada & the <Engines>"]["id"])["artist"]
    stems = next(album for album in artist["album"] if album["name"] == "Mill (stems)")
    vocals = here.getAlbum(stems["id"])["album"]["song"][-1]
    whole = fetch(other, f"/songs/{arguments.mill}/vocals.mp3", arguments.token)
    expect(here.stream(vocals["id"]).read() == whole, True, "the stem's bytes")
    expect(there.download(vocals["id"]).read() == whole, True, "the stem's bytes with a password")
    # py-opensonic looks for the folders at another place than the protocol has them.
    expect(len(here.getMusicFolders()["musicFolders"]["musicFolder"]), 1, "the folders")
    songs = there.search3("")["searchResult3"]["song"]
    expect([song["title"] for song in songs], ["Loose", "Mill", "Punch"], "all songs")
    here.star(sids=[songs[0]["id"]])
    expect([song["title"] for song in there.getStarred2()["starred2"]["song"]], ["Loose"], "starred songs")
    there.unstar(sids=[songs[0]["id"]])
    here.scrobble(songs[0]["id"])
    expect(there.getAlbumList2("recent")["albumList2"]["album"][0]["name"], "Loose", "recent albums")
    here.createPlaylist(name="Old", songIds=[song["id"] for song in songs])
    (made,) = there.getPlaylists()["playlists"]["playlist"]
    there.updatePlaylist(made["id"], songIndexesToRemove=[1])
    entries = here.getPlaylist(made["id"])["playlist"]["entry"]
    expect([song["title"] for song in entries], ["Loose", "Punch"], "the playlist's songs")
    here.deletePlaylist(made["id"])
    try:
        connect(0, "wrong").ping()
        raise TestFailure("a wrong token was not rejected")
    except libsonic.errors.CredentialError:
        pass
    print("  py-sonic: browsed, streamed, starred, scrobbled and edited a playlist, with a token and with a password")


async def wrong_secrets(arguments):
    """Checks that wrong credentials are rejected."""
    at = (arguments.at[0],)
    for kind in [libopensonic.AsyncConnection, XmlConnection]:
        for what, options in [
            ("a wrong token", {"username": arguments.user, "password": "qt_wrong"}),
            ("the name of another user", {"username": "bystander", "password": arguments.token}),
            ("an unknown name", {"username": "nobody", "password": arguments.token}),
            ("a wrong password", {"username": arguments.user, "password": "wrong", "legacy_auth": True}),
            ("the password as a token hash", {"username": arguments.user, "password": arguments.password}),
        ]:
            client = kind(*at, port=arguments.port[0], **options)
            await expect_error(client.get_artists(), errors.CredentialError, what)
            await client.cleanup()
        client = kind(*at, port=arguments.port[0], api_key="qt_wrong")
        await expect_error(client.get_artists(), errors.SonicError, "a wrong key")
        await client.cleanup()
    print("  wrong tokens, passwords, names and keys are rejected")


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addr", action="append", required=True, help="address of a node; give three")
    for name in ["user", "password", "token", "mill", "loose", "hidden"]:
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    addresses = (node.rsplit(":", 1) for node in arguments.addr)
    arguments.at, arguments.port = zip(*((host, int(port)) for host, port in addresses))
    other = arguments.addr[2]
    token_hash = {"username": arguments.user, "password": arguments.token}
    clients = [
        (libopensonic.AsyncConnection, "JSON, token hash, POST", token_hash),
        (XmlConnection, "XML, token hash, POST", token_hash),
        (libopensonic.AsyncConnection, "JSON, API key, GET", {"api_key": arguments.token, "use_get": True}),
        (XmlConnection, "XML, password, without .view",
         {"username": arguments.user, "password": arguments.password, "legacy_auth": True, "use_views": False}),
    ]
    for kind, name, options in clients:
        await with_py_opensonic(kind, f"py-opensonic ({name})", arguments, other, options)
    with_py_sonic(arguments, other)
    await wrong_secrets(arguments)


try:
    asyncio.run(main())
except (TestFailure, errors.SonicError) as error:
    print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
    raise SystemExit(1) from error
