//! Every code that an error of the interface can have, for programs that compare them.
//!
//! A code stays what it is when the sentence beside it changes. A test holds this table against the sources: what
//! [`crate::error::ApiError::kind`] and the checks of fields can say stands here, and nothing else does. A code that comes
//! with two statuses stands here twice.

/// A code that an error can have.
pub(crate) struct Code {
    pub(crate) name: &'static str,
    /// The status that it comes with.
    pub(crate) status: u16,
    /// At which paths: those that have one of these in them, or, where it has a `$`, at their end; or all.
    at: &'static [&'static str],
    /// What has happened.
    pub(crate) when: &'static str,
}

impl Code {
    /// Whether an operation at this path can answer with it, if it can answer with its status.
    pub(crate) fn is_of(&self, path: &str) -> bool {
        let fits = |part: &&str| part.strip_suffix('$').map_or_else(|| path.contains(*part), |end| path.ends_with(end));
        self.at.is_empty() || self.at.iter().any(fits)
    }
}

const fn code(name: &'static str, status: u16, at: &'static [&'static str], when: &'static str) -> Code {
    Code { name, status, at, when }
}

const ANYWHERE: &[&str] = &[];
/// Where songs, stems, mixes and pictures come as files.
const FILES: &[&str] = &["{file}", "mix.mp3", "stems.zip", "/cover"];
/// Where people say who they are.
const PERSON: &[&str] = &["/auth/register", "/users/{id}$"];

/// All of them, by their status.
pub(crate) const CODES: &[Code] = &[
    code("malformed", 400, ANYWHERE, "The request is not written as this description says"),
    code("no_file", 400, &["/songs/upload"], "The form has no file"),
    code("broken_upload", 400, &["/upload", "/cover"], "The body ended too soon, or is no form"),
    code("not_logged_in", 401, ANYWHERE, "Nobody is let in here without an account"),
    code("unknown_token", 401, ANYWHERE, "The token was revoked, has ended, or never was"),
    code("wrong_password", 401, &["/auth/login", "/users/{id}$"], "Name and password do not go together"),
    code("no_token", 401, &["/upload_result"], "A worker delivers without its token"),
    code("wrong_token", 403, &["/upload_result"], "The token is no worker's"),
    code("no_outside", 403, &["/upload_result"], "The cluster has no workers outside"),
    code("needs_session", 403, &["/tokens", "/webhooks"], "A token does not suffice for this; a session does"),
    code("registration_closed", 403, &["/auth/register"], "Administrators make the accounts"),
    code("cross_site", 403, ANYWHERE, "The page of another site sent this"),
    code("no_such_path", 404, &["/users/$"], "Nothing is at this address, or not for the caller"),
    code("no_such_song", 404, &["/songs"], "No song has this number, or none of the caller's"),
    code("no_such_job", 404, &["/jobs/", "/songs/", "/shared/"], "No job has this number, or none of the caller's"),
    code("no_such_part", 404, FILES, "The song has no such file"),
    code("not_split", 404, FILES, "The song's stems are not made yet"),
    code("no_such_user", 404, &["/users/"], "No user has this number, or another one than the caller"),
    code(
        "no_such_entry",
        404,
        &["/users/{id}/", "/shares", "/links", "/playlists/"],
        "There is no such session, token, web hook, link, share, playlist or entry of one",
    ),
    code("no_such_link", 404, &["/shared/"], "The link opens nothing"),
    code(
        "method_not_allowed",
        405,
        ANYWHERE,
        "The address is there, but not for this method; `Allow` has those that it takes",
    ),
    code("idle", 408, ANYWHERE, "No byte came for too long"),
    code("too_slow", 408, ANYWHERE, "The delivery took too long"),
    code("name_taken", 409, &["/auth/register", "/users/{id}$"], "Another user has the name"),
    code("conflict", 409, ANYWHERE, "The state of things does not allow it; the message says why"),
    code("precondition_failed", 412, ANYWHERE, "The file is not the one that If-Match names"),
    code("too_large", 413, ANYWHERE, "The body has more bytes than are taken here"),
    code("not_audio", 415, &["/upload"], "The file is no audio that can be decoded here"),
    code("not_picture", 415, &["/cover"], "The body is no JPEG, PNG, WebP or GIF"),
    code("not_fields", 415, ANYWHERE, "The body is neither JSON nor a form"),
    code("empty_file", 422, &["/upload"], "The file has no bytes"),
    code("title_too_long", 422, &["/songs/upload"], "The title has more characters than a title may have"),
    code(
        "damaged",
        422,
        &["/upload", "{file}", "mix.mp3", "stems.zip"],
        "The file, or the one that it would be made from, is damaged, cut off, without a sound, or takes too much to decode",
    ),
    code("too_long", 422, &["/songs/", "/playlists/"], "The song is longer than songs may be; of a field: the text is"),
    code("key_taken", 422, &["/songs/upload"], "The Idempotency-Key was used for another upload"),
    code("bad_archive", 422, &["/upload_result"], "A worker's tar file has not the stems that were asked for"),
    code("bad_username", 422, PERSON, "A field: no name"),
    code("bad_password", 422, PERSON, "A field: too short or too long a password"),
    code("passwords_differ", 422, PERSON, "A field: not the same password again"),
    code("missing_password", 422, &["/users/{id}$"], "A field: the password that one has is needed as well"),
    code("bad_email", 422, PERSON, "A field: no address"),
    code("not_administrator", 422, &["/users/{id}$"], "A field: administrators alone change it"),
    code("no_such_user", 422, &["/shares"], "A field: no user has this name"),
    code("bad_name", 422, &["/tokens", "/playlists/"], "A field: no name for a token or a playlist, or too long a one"),
    code("bad_days", 422, &["/tokens", "/links"], "A field: too few or too many days"),
    code("bad_share", 422, &["/shares"], "A field: neither a user nor everybody"),
    code("bad_events", 422, &["/webhooks"], "A field: no events of which a hook can be told"),
    code("bad_url", 422, &["/webhooks"], "A field: no address to which a hook may lead"),
    code("empty", 422, &["/songs/{id}$"], "A field: nothing but blanks"),
    code("bad_key", 422, &["/songs/{id}$"], "A field: no key that is known"),
    code("out_of_range", 422, &["/songs/{id}$"], "A field: too small or too large a number"),
    code("no_such_stem", 422, &["/separate"], "A field: the model does not find this stem"),
    code("no_stems", 422, &["/separate"], "A field: not a single stem"),
    code("two_choices", 422, &["/separate"], "A field: it excludes another one that was given too"),
    code(
        "too_many_tries",
        429,
        &["/auth/", "/users/{id}$", "/plays"],
        "Too often from this address; `Retry-After` says when again",
    ),
    code("too_many_jobs", 429, &["/songs/upload", "/retry", "/separate"], "The user has too many open jobs"),
    code("internal", 500, ANYWHERE, "The node failed; its log says how"),
    code("no_majority", 503, ANYWHERE, "Too few nodes answer"),
    code(
        "file_away",
        503,
        &["{file}", "mix.mp3", "stems.zip", "/cover", "/upload"],
        "No node that answers has the file",
    ),
    code("busy", 503, ANYWHERE, "The node has too much to do, or an upgrade goes on; `Retry-After` says when again"),
    code("stopping", 503, ANYWHERE, "The node stops; ask another one"),
    code("disk_full", 507, ANYWHERE, "The node has no room for files"),
    code("no_room", 507, ANYWHERE, "Too few nodes have room for files"),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// What stands between double quotes, up to the end of the line or of the statement.
    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split('"').skip(1).step_by(2)
    }

    /// The codes that the sources can answer with.
    fn said() -> BTreeSet<String> {
        let errors = include_str!("error.rs");
        let kinds = errors.split("pub fn kind(").nth(1).and_then(|rest| rest.split("fn ").next()).unwrap();
        let mut codes: BTreeSet<String> = words(kinds).map(str::to_owned).collect();
        // Errors of fields have the codes of their fields.
        codes.remove("fields");
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api")).unwrap() {
            let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            // The code comes behind the field, which is a word or a variable.
            let calls = source.split("faults.add(").skip(1).filter_map(|call| call.split_once(','));
            codes.extend(calls.filter_map(|(_, rest)| words(rest).next()).map(str::to_owned));
        }
        codes
    }

    #[test]
    fn every_code_stands_in_the_table_once() {
        let rows: BTreeSet<_> = CODES.iter().map(|code| (code.name, code.status)).collect();
        assert_eq!(rows.len(), CODES.len(), "a code stands there twice with one status");
        let listed: BTreeSet<String> = CODES.iter().map(|code| code.name.to_owned()).collect();
        assert!(listed.len() > 40);
        assert_eq!(listed, said());
    }
}
