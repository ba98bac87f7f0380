//! The codes of all errors, for programs that compare them.
//!
//! A code stays the same when the message beside it changes. A code with two statuses has two variants.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};

/// What is known about a code.
pub(crate) struct About {
    /// The code in responses.
    pub(crate) name: &'static str,
    /// The status of the response.
    pub(crate) status: StatusCode,
    /// Substrings of the paths whose endpoints return the code, or endings if they end in `$`; empty for all paths.
    paths: &'static [&'static str],
    /// What happened.
    pub(crate) meaning: &'static str,
}

impl About {
    /// Whether an endpoint at `path` that returns this status may return this code.
    pub(crate) fn applies_to(&self, path: &str) -> bool {
        let fits = |part: &&str| part.strip_suffix('$').map_or_else(|| path.contains(*part), |end| path.ends_with(end));
        self.paths.is_empty() || self.paths.iter().any(fits)
    }
}

/// All paths.
const ALL: &[&str] = &[];
/// Endpoints that return songs, stems, mixes and pictures as files.
const FILES: &[&str] = &["{file}", "mix.mp3", "stems.zip", "/cover"];
/// Endpoints that take the data of a user.
const USER: &[&str] = &["/auth/register", "/users/{id}$"];

/// Defines [`Code`] from rows of variant, name, status, paths and meaning.
macro_rules! codes {
    ($($code:ident $name:literal $status:ident $paths:expr, $meaning:literal;)*) => {
        /// The code of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $(#[doc = $meaning] $code,)*
        }

        impl Code {
            /// All codes, by status.
            pub(crate) const ALL: &[Self] = &[$(Self::$code),*];

            /// The name, the status and the meaning of the code.
            pub(crate) const fn about(self) -> About {
                match self {
                    $(Self::$code => {
                        About { name: $name, status: StatusCode::$status, paths: $paths, meaning: $meaning }
                    })*
                }
            }
        }
    };
}

codes! {
    Malformed "malformed" BAD_REQUEST ALL, "The request does not match this description";
    NoFile "no_file" BAD_REQUEST &["/songs/upload"], "The form has no file";
    BrokenUpload "broken_upload" BAD_REQUEST &["/upload", "/cover"], "The body ended too early or is not a form";
    NotLoggedIn "not_logged_in" UNAUTHORIZED ALL, "This endpoint requires login";
    UnknownToken "unknown_token" UNAUTHORIZED ALL, "The token is unknown, revoked or expired";
    WrongPassword "wrong_password" UNAUTHORIZED &["/auth/login", "/users/{id}$"], "The name or the password is wrong";
    NoToken "no_token" UNAUTHORIZED &["/upload_result"], "The external worker sent no token";
    WrongToken "wrong_token" FORBIDDEN &["/upload_result"], "The token is not the token of an external worker";
    NoOutside "no_outside" FORBIDDEN &["/upload_result"], "The cluster has no external workers";
    NeedsSession "needs_session" FORBIDDEN &["/tokens", "/webhooks"], "This endpoint requires a session, not a token";
    RegistrationClosed "registration_closed" FORBIDDEN &["/auth/register"], "Only administrators create accounts";
    CrossSite "cross_site" FORBIDDEN ALL, "A page of another site sent the request";
    NoSuchPath "no_such_path" NOT_FOUND &["/users/$"], "The path does not exist, or the caller has no access";
    NoSuchSong "no_such_song" NOT_FOUND &["/songs"], "The song does not exist, or the caller has no access";
    NoSuchJob "no_such_job" NOT_FOUND &["/jobs/", "/songs/", "/shared/"],
        "The job does not exist, or the caller has no access";
    NoSuchPart "no_such_part" NOT_FOUND FILES, "The song has no such file";
    NotSplit "not_split" NOT_FOUND FILES, "The stems of the song are not ready";
    NoSuchUser "no_such_user" NOT_FOUND &["/users/"], "The user does not exist, or the caller has no access";
    NoSuchEntry "no_such_entry" NOT_FOUND &["/users/{id}/", "/shares", "/links", "/playlists/"],
        "The session, token, web hook, link, share, playlist or playlist entry does not exist";
    NoSuchLink "no_such_link" NOT_FOUND &["/shared/"], "The link does not exist or has expired";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED ALL,
        "The path does not support the method; `Allow` lists those that it supports";
    Idle "idle" REQUEST_TIMEOUT ALL, "The client sent no byte for too long";
    TooSlow "too_slow" REQUEST_TIMEOUT ALL, "Receiving the body took too long";
    NameTaken "name_taken" CONFLICT &["/auth/register", "/users/{id}$"], "Another user has the name";
    Conflict "conflict" CONFLICT ALL, "The current state does not allow the request; see the message";
    PreconditionFailed "precondition_failed" PRECONDITION_FAILED ALL, "The entity tag does not match `If-Match`";
    TooLarge "too_large" PAYLOAD_TOO_LARGE ALL, "The body is larger than the limit";
    NotAudio "not_audio" UNSUPPORTED_MEDIA_TYPE &["/upload"], "The file is not audio in a supported format";
    NotPicture "not_picture" UNSUPPORTED_MEDIA_TYPE &["/cover"], "The body is not a JPEG, PNG, WebP or GIF file";
    NotFields "not_fields" UNSUPPORTED_MEDIA_TYPE ALL, "The body is neither JSON nor a form";
    EmptyFile "empty_file" UNPROCESSABLE_ENTITY &["/upload"], "The file is empty";
    TitleTooLong "title_too_long" UNPROCESSABLE_ENTITY &["/songs/upload"], "The title is too long";
    Damaged "damaged" UNPROCESSABLE_ENTITY &["/upload", "{file}", "mix.mp3", "stems.zip"],
        "The file, or the one from which it would be generated, is damaged, truncated, silent or too costly to decode";
    TooLong "too_long" UNPROCESSABLE_ENTITY &["/songs/", "/playlists/"],
        "The song is longer than the limit; for a field: the text is too long";
    KeyTaken "key_taken" UNPROCESSABLE_ENTITY &["/songs/upload"],
        "Another upload was sent with the same `Idempotency-Key`";
    BadArchive "bad_archive" UNPROCESSABLE_ENTITY &["/upload_result"],
        "The tar file of the external worker does not hold the requested stems";
    BadUsername "bad_username" UNPROCESSABLE_ENTITY USER, "Field: invalid user name";
    BadPassword "bad_password" UNPROCESSABLE_ENTITY USER, "Field: the password is too short or too long";
    PasswordsDiffer "passwords_differ" UNPROCESSABLE_ENTITY USER, "Field: the passwords differ";
    MissingPassword "missing_password" UNPROCESSABLE_ENTITY &["/users/{id}$"],
        "Field: the current password is required";
    BadEmail "bad_email" UNPROCESSABLE_ENTITY USER, "Field: invalid e-mail address";
    NotAdministrator "not_administrator" UNPROCESSABLE_ENTITY &["/users/{id}$"],
        "Field: only administrators may change it";
    UnknownUsername "no_such_user" UNPROCESSABLE_ENTITY &["/shares"], "Field: no user has this name";
    BadName "bad_name" UNPROCESSABLE_ENTITY &["/tokens", "/playlists/"],
        "Field: the name of the token or playlist is missing or too long";
    BadDays "bad_days" UNPROCESSABLE_ENTITY &["/tokens", "/links"], "Field: the number of days is out of range";
    BadShare "bad_share" UNPROCESSABLE_ENTITY &["/shares"], "Field: neither a user nor everybody";
    BadEvents "bad_events" UNPROCESSABLE_ENTITY &["/webhooks"], "Field: unknown or missing events";
    BadUrl "bad_url" UNPROCESSABLE_ENTITY &["/webhooks"], "Field: invalid or forbidden URL";
    Empty "empty" UNPROCESSABLE_ENTITY &["/songs/{id}$"], "Field: the text is blank";
    BadKey "bad_key" UNPROCESSABLE_ENTITY &["/songs/{id}$"], "Field: unknown musical key";
    OutOfRange "out_of_range" UNPROCESSABLE_ENTITY &["/songs/{id}$"], "Field: the number is out of range";
    NoSuchStem "no_such_stem" UNPROCESSABLE_ENTITY &["/separate"], "Field: the model does not separate this stem";
    NoStems "no_stems" UNPROCESSABLE_ENTITY &["/separate"], "Field: the list of stems is empty";
    TwoChoices "two_choices" UNPROCESSABLE_ENTITY &["/separate"], "Field: it excludes another given field";
    TooManyTries "too_many_tries" TOO_MANY_REQUESTS &["/auth/", "/users/{id}$", "/plays"],
        "Too many attempts from this address; see `Retry-After`";
    TooManyJobs "too_many_jobs" TOO_MANY_REQUESTS &["/songs/upload", "/retry", "/separate"],
        "The user has too many open jobs";
    Internal "internal" INTERNAL_SERVER_ERROR ALL, "The node failed; see its log";
    NoMajority "no_majority" SERVICE_UNAVAILABLE ALL, "The cluster has no majority; see `Retry-After`";
    FileAway "file_away" SERVICE_UNAVAILABLE &["{file}", "mix.mp3", "stems.zip", "/cover", "/upload"],
        "No reachable node has the file; see `Retry-After`";
    Busy "busy" SERVICE_UNAVAILABLE ALL, "The node is overloaded or being upgraded; see `Retry-After`";
    Stopping "stopping" SERVICE_UNAVAILABLE ALL, "The node is stopping; use another node";
    DiskFull "disk_full" INSUFFICIENT_STORAGE ALL, "The node has no space for files";
    NoRoom "no_room" INSUFFICIENT_STORAGE ALL, "Too few nodes have space for files";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.about().name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_with_statuses_are_unique() {
        let rows: BTreeSet<_> =
            Code::ALL.iter().map(|code| code.about()).map(|about| (about.name, about.status)).collect();
        assert_eq!(rows.len(), Code::ALL.len());
    }
}
