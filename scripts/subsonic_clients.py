#!/usr/bin/env python3
"""Plays through Quartet's OpenSubsonic as players do, with the client libraries that there are: py-opensonic and py-sonic.

scripts/subsonic starts nodes with songs in them and runs this. Neither library knows Quartet. py-opensonic reads answers
into typed objects and fails where a required field is missing; it asks for JSON, and once more for XML, whose elements
and attributes are given to the same types. It prints each step and ends with 1 and a sentence if one is not as it should
be.
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

# Beneath the answer itself, what XML has once is a list of one all the same, but for these.
NAMESPACE = "{http://subsonic.org/restapi}"
TOP_LISTS = {"openSubsonicExtensions"}
# Lists of what is no object.
PLAIN = {"versions", "folder"}


class Wrong(Exception):
    """Something is not as it should be."""


def expect(found, wanted, what):
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, and should be {wanted!r}")


def read_xml(element, depth=0):
    """An element as the object that JSON has in its place. Values stay texts, which the library's types convert."""
    read = {name: {"true": True, "false": False}.get(value, value) for name, value in element.attrib.items()}
    if element.text and element.text.strip():
        read["value"] = element.text
    for child in element:
        name = child.tag.removeprefix(NAMESPACE)
        if not child.tag.startswith(NAMESPACE):
            raise Wrong(f"<{child.tag}> is not of Subsonic's namespace")
        value = child.text if name in PLAIN else read_xml(child, depth + 1)
        if name == "lyrics":
            # No text in XML is an empty one in JSON.
            value.setdefault("value", "")
        if depth == 0 and name not in TOP_LISTS:
            read[name] = value
        else:
            read.setdefault(name, []).append(value)
    return read


class XmlConnection(libopensonic.AsyncConnection):
    """The library, asking for XML."""

    def _get_base_qdict(self):
        return super()._get_base_qdict() | {"f": "xml"}

    async def _handle_info_res(self, res):
        res.raise_for_status()
        expect(res.content_type, "application/xml", "the kind of an answer in XML")
        read = read_xml(ElementTree.fromstring(await res.read()))
        self._check_status(read)
        return read

    async def _handle_bin_res(self, res):
        if res.content_type == "application/xml":
            await self._handle_info_res(res)
        return await super()._handle_bin_res(res)


async def refused(doing, kind, what):
    """A request that must fail so."""
    try:
        await doing
    except kind:
        return
    raise Wrong(f"{what} was not refused")


def plain(address, path, token):
    """The bytes that the rest of the interface gives."""
    request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


async def with_py_opensonic(kind, name, asked, other, more):
    """One way through everything, as one kind of player, at two nodes."""
    here = kind(asked.at[0], port=asked.port[0], **more)
    there = kind(asked.at[1], port=asked.port[1], **more)
    try:
        await play(here, there, name, asked, other)
    finally:
        await here.cleanup()
        await there.cleanup()


async def play(here, there, name, asked, other):
    say = lambda words: print(f"  {name}: {words}")
    if not await here.ping():
        raise Wrong("ping fails")
    extensions = {extension.name for extension in await here.get_open_subsonic_extensions()}
    expect({"apiKeyAuthentication", "formPost"} <= extensions, True, f"the extensions {extensions}")
    expect((await here.get_user(asked.user)).username, asked.user, "who one is")
    await here.get_license()
    if here.api_key:
        expect((await here.token_info()).username, asked.user, "whose the key is")

    # By tags: artists, albums, songs.
    found = await here.get_artists()
    artists = {artist.name: artist for index in found.index for artist in index.artist}
    expect(sorted(artists), ["Ada & the <Engines>", "[Unknown Artist]"], "the artists")
    artist = await there.get_artist(artists["Ada & the <Engines>"].id)
    albums = {album.name: album for album in artist.album}
    expect(sorted(albums), ["Difference", "Mill (stems)", "Punch (stems)"], "the albums")
    expect(artists["Ada & the <Engines>"].album_count, 3, "how many albums there are")
    album = await here.get_album(albums["Difference"].id)
    expect([(song.track, song.title) for song in album.song], [(1, "Mill"), (2, "Punch")], "the songs")
    mill, punch = album.song
    expect((album.song_count, album.artist, album.year), (2, "Ada & the <Engines>", 1843), "the album")
    song = await there.get_song(mill.id)
    expect((song.album_id, song.artist_id, song.suffix), (album.id, artist.id, "mp3"), "the song")
    expect((song.duration, song.content_type, song.is_dir), (8, "audio/mpeg", False), "the song")
    # What has no album is one.
    unknown = await here.get_artist(artists["[Unknown Artist]"].id)
    expect(sorted(album.name for album in unknown.album), ["Loose", "Loose (stems)"], "albums of no artist")

    # By folders.
    letters = {index.name: [artist.name for artist in index.artist] for index in (await here.get_indexes()).index}
    expect(letters, {"A": ["Ada & the <Engines>"], "#": ["[Unknown Artist]"]}, "the letters")
    folder = await here.get_music_directory(artist.id)
    expect(sorted(child.title for child in folder.child), sorted(albums), "the artist's folder")
    folder = await there.get_music_directory(album.id)
    expect([child.id for child in folder.child], [mill.id, punch.id], "the album's folder")
    genres = await here.get_genres()
    expect([(genre.value, genre.song_count, genre.album_count) for genre in genres], [("March", 2, 1)], "the genres")
    say("browsed by tags and by folders at two nodes")

    # The stems of a song are an album of it.
    stems = await there.get_album(albums["Mill (stems)"].id)
    expect([song.title for song in stems.song], ["Bass", "Drums", "Other", "Vocals"], "the stems")
    vocals = stems.song[-1]
    expect((await here.get_song(vocals.id)).album, "Mill (stems)", "a stem's album")
    for heard, path in [(mill, f"/songs/{asked.mill}/song.mp3"), (vocals, f"/songs/{asked.mill}/vocals.mp3")]:
        whole = plain(other, path, asked.token)
        expect(await (await here.stream(heard.id)).read() == whole, True, f"the bytes of {heard.title}")
        expect(await (await there.download(heard.id)).read() == whole, True, f"the download of {heard.title}")
        part = await (await there.stream(heard.id, byte_range="bytes=1000-1999")).read()
        expect(part == whole[1000:2000], True, f"a range of {heard.title}")
    wav = plain(other, f"/songs/{asked.mill}/drums.wav", asked.token)
    drums = await (await here.stream(stems.song[1].id, tformat="wav")).read()
    expect((drums[:4], drums == wav), (b"RIFF", True), "drums as WAV")
    loose = unknown.album[0] if unknown.album[0].name == "Loose" else unknown.album[1]
    track = (await here.get_album(loose.id)).song[0]
    expect(track.suffix, "wav", "a song's own format")
    raw = await (await here.stream(track.id, tformat="raw", max_bit_rate=128)).read()
    expect(raw == plain(other, f"/songs/{asked.loose}/song.wav", asked.token), True, "the song as it is")
    small = await (await here.stream(track.id, max_bit_rate=128)).read()
    expect(small == plain(other, f"/songs/{asked.loose}/song.mp3", asked.token), True, "the song made small")
    cover = await (await here.get_cover_art(mill.cover_art, size=300)).read()
    expect(cover == plain(other, f"/songs/{asked.mill}/cover", asked.token), True, "the picture")
    expect(await (await there.get_cover_art(album.id)).read() == cover, True, "the album's picture")
    await refused(here.get_cover_art(track.id), errors.DataNotFoundError, "a picture that is not there")
    say("streamed a song and its stem, whole and in parts, with the bytes that another node has")

    # Words, and everything, as those who copy the library ask.
    found = await here.search3("mil")
    expect([song.title for song in found.song], ["Mill"], "songs by a word")
    expect([album.name for album in found.album], ["Mill (stems)"], "albums by a word")
    expect([artist.name for artist in (await here.search3("engin")).artist], ["Ada & the <Engines>"], "artists by a word")
    everything, step = [], 2
    for offset in range(0, 10, step):
        page = await there.search3("", artist_count=0, album_count=step, album_offset=offset, song_count=0)
        everything += [album.name for album in page.album or []]
    expect(everything, ["Difference", "Loose", "Loose (stems)", "Mill (stems)", "Punch (stems)"], "all albums")
    titles = [song.title for song in (await here.search3("", song_count=500)).song]
    expect(titles, ["Loose", "Mill", "Punch"], "all songs")
    expect([song.title for song in (await here.search2("punch")).song], ["Punch"], "the old search")

    # Lists.
    names = lambda albums: [album.name for album in albums]
    expect(names(await here.get_album_list2("alphabeticalByName", size=500)), everything, "albums by name")
    expect(names(await there.get_album_list2("alphabeticalByName", size=2, offset=1)), everything[1:3], "a page")
    by_artist = names(await here.get_album_list2("alphabeticalByArtist"))
    expect(by_artist, ["Difference", "Mill (stems)", "Punch (stems)", "Loose", "Loose (stems)"], "albums by artist")
    expect(names(await here.get_album_list2("newest"))[:2], ["Loose", "Loose (stems)"], "the newest albums")
    expect(sorted(names(await here.get_album_list("random"))), everything, "albums by chance")
    expect("Difference" in names(await here.get_album_list2("byGenre", genre="march")), True, "albums of a genre")
    years = names(await here.get_album_list2("byYear", from_year=1900, to_year=1800))
    expect("Difference" in years and "Loose" not in years, True, "albums of some years")
    await here.get_album_list2("highest")
    expect(sorted(song.title for song in await here.get_random_songs(size=10)), titles, "songs by chance")
    expect(len(await there.get_songs_by_genre("March")), 2, "songs of a genre")
    say("searched and listed")

    # Likes and plays; another node knows of them at once.
    await here.star(sids=[mill.id])
    starred = await there.get_starred2()
    expect([song.title for song in starred.song], ["Mill"], "what is liked")
    expect(bool((await there.get_song(mill.id)).starred), True, "the song's star")
    expect(names(await there.get_album_list2("starred"))[0], "Difference", "albums with what is liked")
    await refused(here.star(album_ids=[album.id]), errors.SonicError, "to like a whole album")
    await there.unstar(sids=[mill.id])
    expect((await here.get_starred2()).song or [], [], "what is liked no more")
    plays = (await here.get_song(punch.id)).play_count
    await here.scrobble(punch.id, submission=False)
    await here.scrobble(punch.id, submission=True, listen_time=int(time.time()))
    await here.scrobble(vocals.id)
    expect((await there.get_song(punch.id)).play_count, plays + 1, "how often it was played")
    expect(names(await there.get_album_list2("frequent"))[0], "Difference", "what is played often")
    expect(names(await there.get_album_list2("recent"))[:2], ["Difference", "Mill (stems)"], "what was played last")
    expect((await there.get_top_songs(artist.name))[0].id in (mill.id, punch.id), True, "the artist's top songs")
    await refused(here.set_rating(mill.id, 5), errors.SonicError, "a mark")
    say("starred, unstarred and scrobbled")

    # Playlists.
    await here.create_playlist(name="Märchen & <more>", song_ids=[mill.id, punch.id, mill.id])
    (made,) = await there.get_playlists()
    expect((made.name, made.song_count, made.owner), ("Märchen & <more>", 3, asked.user), "the playlist")
    await there.update_playlist(made.id, name="Tales", comment="read aloud", song_ids_to_add=[track.id],
                                song_indices_to_remove=[0, 1])
    told = await here.get_playlist(made.id)
    expect((told.name, told.comment), ("Tales", "read aloud"), "the playlist's words")
    expect([song.title for song in told.entry], ["Mill", "Loose"], "the playlist's songs")
    await there.create_playlist(playlist_id=made.id, song_ids=[punch.id])
    expect([song.title for song in (await here.get_playlist(made.id)).entry], ["Punch"], "the songs in their place")
    await refused(here.update_playlist(made.id, song_ids_to_add=[vocals.id]), errors.SonicError, "a stem in a playlist")
    await refused(here.update_playlist(made.id, song_indices_to_remove=[7]), errors.SonicError, "a place that is not there")
    await here.delete_playlist(made.id)
    expect(await there.get_playlists(), [], "the playlists that are left")
    say("made, changed and deleted a playlist")

    # What is not there, and what is not offered.
    for doing in [here.get_song("so-999"), here.get_album("al-00-00"), here.get_playlist("pl-999"), here.get_song("x"),
                  here.get_song(f"so-{asked.hidden}"), here.stream(f"so-{asked.hidden}")]:
        await refused(doing, errors.DataNotFoundError, "what is not there, or somebody else's,")
    expect((await here.get_scan_status()).scanning, False, "whether it scans")
    await here.start_scan()
    await here.get_artist_info2(artist.id)
    await here.get_album_info2(album.id)
    await here.get_lyrics(artist.name, mill.title)
    for nothing in [here.get_now_playing(), here.get_similar_songs2(artist.id), here.get_podcasts(), here.get_bookmarks(),
                    here.get_internet_radio_stations(), here.get_shares(), here.get_lyrics_by_song_id(mill.id)]:
        expect(await nothing, [], "what is not offered")
    await refused(here.get_chat_messages(), errors.SonicError, "a method that there is not")
    say("was told what is not there")


def with_py_sonic(asked, other):
    """The older library, which takes answers as they come."""
    at = lambda node, secret, **more: libsonic.Connection(asked.at[node], asked.user, secret, port=asked.port[node], **more)
    here, there = at(0, asked.token), at(1, asked.password, legacyAuth=True)
    expect((here.ping(), there.ping()), (True, True), "ping")
    artists = {artist["name"]: artist for index in here.getArtists()["artists"]["index"] for artist in index["artist"]}
    artist = there.getArtist(artists["Ada & the <Engines>"]["id"])["artist"]
    stems = next(album for album in artist["album"] if album["name"] == "Mill (stems)")
    vocals = here.getAlbum(stems["id"])["album"]["song"][-1]
    whole = plain(other, f"/songs/{asked.mill}/vocals.mp3", asked.token)
    expect(here.stream(vocals["id"]).read() == whole, True, "the stem's bytes")
    expect(there.download(vocals["id"]).read() == whole, True, "the stem's bytes with a password")
    # The newer library looks for the folders where the protocol does not have them.
    expect(len(here.getMusicFolders()["musicFolders"]["musicFolder"]), 1, "the folders")
    songs = there.search3("")["searchResult3"]["song"]
    expect([song["title"] for song in songs], ["Loose", "Mill", "Punch"], "all songs")
    here.star(sids=[songs[0]["id"]])
    expect([song["title"] for song in there.getStarred2()["starred2"]["song"]], ["Loose"], "what is liked")
    there.unstar(sids=[songs[0]["id"]])
    here.scrobble(songs[0]["id"])
    expect(there.getAlbumList2("recent")["albumList2"]["album"][0]["name"], "Loose", "what was played last")
    here.createPlaylist(name="Old", songIds=[song["id"] for song in songs])
    (made,) = there.getPlaylists()["playlists"]["playlist"]
    there.updatePlaylist(made["id"], songIndexesToRemove=[1])
    entries = here.getPlaylist(made["id"])["playlist"]["entry"]
    expect([song["title"] for song in entries], ["Loose", "Punch"], "the playlist's songs")
    here.deletePlaylist(made["id"])
    try:
        at(0, "wrong").ping()
        raise Wrong("a wrong token was not refused")
    except libsonic.errors.CredentialError:
        pass
    print("  py-sonic: browsed, streamed, starred, scrobbled and kept a playlist, with a token and with a password")


async def wrong_secrets(asked):
    at = (asked.at[0],)
    for kind in [libopensonic.AsyncConnection, XmlConnection]:
        for what, more in [
            ("a wrong token", {"username": asked.user, "password": "qt_wrong"}),
            ("another's name", {"username": "bystander", "password": asked.token}),
            ("nobody's name", {"username": "nobody", "password": asked.token}),
            ("a wrong password", {"username": asked.user, "password": "wrong", "legacy_auth": True}),
            ("the password as a proof", {"username": asked.user, "password": asked.password}),
        ]:
            player = kind(*at, port=asked.port[0], **more)
            await refused(player.get_artists(), errors.CredentialError, what)
            await player.cleanup()
        player = kind(*at, port=asked.port[0], api_key="qt_wrong")
        await refused(player.get_artists(), errors.SonicError, "a wrong key")
        await player.cleanup()
    print("  wrong tokens, passwords, names and keys are refused")


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addr", action="append", required=True, help="three nodes' addresses")
    for name in ["user", "password", "token", "mill", "loose", "hidden"]:
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    asked.at, asked.port = zip(*((where, int(port)) for where, port in (node.rsplit(":", 1) for node in asked.addr)))
    other = asked.addr[2]
    proof = {"username": asked.user, "password": asked.token}
    ways = [
        (libopensonic.AsyncConnection, "JSON, a proof, posted", proof),
        (XmlConnection, "XML, a proof, posted", proof),
        (libopensonic.AsyncConnection, "JSON, a key, in the address", {"api_key": asked.token, "use_get": True}),
        (XmlConnection, "XML, a password, without .view",
         {"username": asked.user, "password": asked.password, "legacy_auth": True, "use_views": False}),
    ]
    for kind, name, more in ways:
        await with_py_opensonic(kind, f"py-opensonic ({name})", asked, other, more)
    with_py_sonic(asked, other)
    await wrong_secrets(asked)


try:
    asyncio.run(main())
except (Wrong, errors.SonicError) as error:
    print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
    raise SystemExit(1) from error
