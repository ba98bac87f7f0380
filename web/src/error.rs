//! What can go wrong in a request, the status it has, and the sentence that says what to do.
//!
//! What is the client's doing is told in full. What is this node's is logged in full, and the client is told no more
//! than that it happened.

use audio::decode::DecodeError;
use audio::encode::EncodeError;
use audio::thread::Panicked;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use net::request::RequestId;
use net::secret_box::SecretBoxError;
use raft::ClusterError;
use replication::ShareError;
use state::ViewError;
use state::command::{Answer as Applied, Refusal};
use storage::blobs::BlobError;

use crate::answer::{Answer, Problem};
use crate::archive::{ArchiveError, EntryError};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is nothing at this path.
    #[error("There is nothing at this address. The interface is described in /api/openapi.json.")]
    NoSuchPath,
    /// The path is there, but not with this method.
    #[error("This address does not take {0} requests. The interface is described in /api/openapi.json.")]
    Method(String),
    /// No song has this id.
    #[error("There is no song {0}. It may have been deleted; GET /songs/ lists what is here.")]
    NoSong(String),
    /// No job has this id.
    #[error("There is no job {0}. It may have gone with its song; GET /jobs lists what is here.")]
    NoJob(String),
    /// The song has no such part or format.
    #[error("{0}")]
    NoPart(String),
    /// The stems are not made.
    #[error("{0}")]
    NotSplit(String),
    /// The request is malformed.
    #[error("{0}")]
    Malformed(String),
    /// A body of another kind than fields come in.
    #[error("Send the fields as application/json or application/x-www-form-urlencoded, and say which in Content-Type.")]
    NotFields,
    /// A body that is too large for what people fill in.
    #[error("The body is larger than {limit} bytes, which is more than any fields take. Send less.")]
    TooManyBytes {
        /// The limit in bytes.
        limit: usize,
    },
    /// A body that is no picture.
    #[error("This is no picture that can be shown here. Send the bytes of a JPEG, PNG, WebP or GIF file as the body.")]
    NotPicture,
    /// A picture that is too large.
    #[error("The picture is larger than {:.1} MB, which is the limit here. Send a smaller one.", *.limit as f64 / 1e6)]
    PictureTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A form without its file.
    #[error("The form has no file. Send multipart/form-data with the fields \"title\" and \"file\".")]
    NoFile,
    /// A file of no bytes.
    #[error("The file is empty. Choose a song.")]
    EmptyFile,
    /// The upload is too large.
    #[error("The file is larger than {:.1} MB, which is the limit here. Send a shorter song, or one in a compressed format.", *.limit as f64 / 1e6)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The title is too long.
    #[error("The title is longer than {0} characters. Give it a shorter one.")]
    TitleTooLong(usize),
    /// The file is no audio.
    #[error("{0}")]
    NotAudio(String),
    /// The file is audio, but damaged, cut off, or empty of sound.
    #[error("{0}")]
    Damaged(String),
    /// The song is too long.
    #[error("{0}")]
    TooLong(String),
    /// The client stopped sending.
    #[error("No byte of the upload came for {0} seconds, so it was given up. Send it again.")]
    Idle(u64),
    /// The body ended before its end, or is no form.
    #[error("The upload could not be read to its end: {0}. Send it again.")]
    Broken(String),
    /// A delivery took too long.
    #[error("The delivery took longer than {0} seconds, so it was given up. Send it again over a quicker line.")]
    TooSlow(u64),
    /// A worker's tar file is not what it should be.
    #[error("{0}")]
    BadArchive(String),
    /// A worker came without its token.
    #[error("Only workers may deliver stems. Send \"Authorization: Bearer TOKEN\" with a worker's token.")]
    NoToken,
    /// A token that is no worker's.
    #[error("This is none of the tokens whose SHA-256 stands in cluster.toml under outside.token_sha256.")]
    WrongToken,
    /// No worker outside is wanted.
    #[error("This cluster has no workers outside: its cluster.toml has no section [outside].")]
    NoOutside,
    /// Nobody is let in without an account.
    #[error("Log in first: POST /auth/login, or send \"Authorization: Bearer TOKEN\" with a token of yours.")]
    NotLoggedIn,
    /// A token that opens nothing.
    #[error("This token opens nothing. It may have been revoked or have ended; make another one.")]
    UnknownToken,
    /// Name and password do not go together, or there is no such name; which, is not told.
    #[error("The name or the password is wrong. Look how both are written; a name's case makes no difference.")]
    WrongPassword,
    /// It takes the password to do this.
    #[error("This takes a browser in which you are logged in; a token does not suffice.")]
    NeedsSession,
    /// Too many tries.
    #[error("{message}")]
    TooManyTries {
        /// What to do.
        message: String,
        /// When, in seconds.
        seconds: u32,
    },
    /// Fields that are not as they should be.
    #[error("some fields are not as they should be")]
    Fields(Vec<Problem>),
    /// Another user has the name.
    #[error("{0}")]
    NameTaken(String),
    /// The cluster takes no new users.
    #[error("{0}")]
    Closed(String),
    /// No user has this id, or none that the caller may look after.
    #[error("There is no user {0}. GET /auth/me says who you are.")]
    NoUser(String),
    /// There is no such session, token, share, link or playlist for the caller.
    #[error("There is no {what} {id} here. It may have ended already.")]
    NoSuch {
        /// What is missing.
        what: &'static str,
        /// Which.
        id: String,
    },
    /// No link has this secret, or none that still holds.
    #[error("This link opens nothing. It may have ended; ask whoever gave it to you for another one.")]
    NoLink,
    /// Another site's page sent this.
    #[error(
        "This was sent by the page of another site, so it was not done. Do it on this node's own page, or with a token."
    )]
    CrossSite,
    /// The user has as many open jobs as one may have.
    #[error("{0}")]
    TooManyJobs(String),
    /// The key of an upload was another upload's.
    #[error("{0}")]
    KeyTaken(String),
    /// The state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// A condition of the request does not hold.
    #[error("The file is not the one that If-Match names. Ask for it anew, without the condition.")]
    Precondition,
    /// Too few nodes are up.
    #[error(
        "Too few nodes of the cluster answer, so nothing can be changed or read reliably: {0}. Try again in a moment."
    )]
    NoMajority(String),
    /// No node that answers has the file.
    #[error("The file cannot be had from any node that answers now: {0}. Try again when all nodes are up.")]
    FileAway(String),
    /// Too much at once.
    #[error("This node is busy {0}. Try again in a moment.")]
    Busy(String),
    /// The node stops.
    #[error("This node is stopping. Ask another one.")]
    Stopping,
    /// The disk is full, or the node's quota is used up.
    #[error(
        "This node has no room for more files. Delete songs that nobody needs, make room on its disk, or raise its quota_bytes."
    )]
    DiskFull,
    /// Too few nodes have room.
    #[error("Too few nodes have room for the file. Delete songs that nobody needs, or make room on the nodes' disks.")]
    NoRoom,
    /// This node failed; what happened is in its log.
    #[error("This node failed while {0}. Its log says more.")]
    Internal(String),
}

impl ApiError {
    /// A failure of this node, which is logged here.
    pub fn internal(doing: &str, error: &dyn std::error::Error) -> Self {
        let mut causes = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push_str(": ");
            causes.push_str(&cause.to_string());
            source = cause.source();
        }
        tracing::error!(error = causes, "failed while {doing}");
        Self::Internal(doing.into())
    }

    /// An answer of the state that is none to what was proposed, which is logged here.
    pub fn unexpected(doing: &str, answer: &Applied) -> Self {
        tracing::error!(?answer, "failed while {doing}: the state answers something else");
        Self::Internal(doing.into())
    }

    /// A failure of this node's disk.
    pub fn io(doing: &str, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            tracing::warn!("the disk is full");
            return Self::DiskFull;
        }
        Self::internal(doing, error)
    }

    /// A file that was taken once and cannot be decoded now: it has become known as harmful, or decoders have changed.
    pub(crate) fn of_stored(error: DecodeError) -> Self {
        if error.is_the_files() { Self::Damaged(sentence(&error.to_string())) } else { error.into() }
    }

    /// The status and the word for programs.
    pub fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "no_such_path"),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NoSong(_) => (StatusCode::NOT_FOUND, "no_such_song"),
            Self::NoJob(_) => (StatusCode::NOT_FOUND, "no_such_job"),
            Self::NoPart(_) => (StatusCode::NOT_FOUND, "no_such_part"),
            Self::NotSplit(_) => (StatusCode::NOT_FOUND, "not_split"),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::NotFields => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_fields"),
            Self::TooManyBytes { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NotPicture => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_picture"),
            Self::PictureTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NoFile => (StatusCode::BAD_REQUEST, "no_file"),
            Self::Broken(_) => (StatusCode::BAD_REQUEST, "broken_upload"),
            Self::EmptyFile => (StatusCode::UNPROCESSABLE_ENTITY, "empty_file"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::TitleTooLong(_) => (StatusCode::UNPROCESSABLE_ENTITY, "title_too_long"),
            Self::NotAudio(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_audio"),
            Self::Damaged(_) => (StatusCode::UNPROCESSABLE_ENTITY, "damaged"),
            Self::TooLong(_) => (StatusCode::UNPROCESSABLE_ENTITY, "too_long"),
            Self::Idle(_) => (StatusCode::REQUEST_TIMEOUT, "idle"),
            Self::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::BadArchive(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_archive"),
            Self::NoToken => (StatusCode::UNAUTHORIZED, "no_token"),
            Self::WrongToken => (StatusCode::FORBIDDEN, "wrong_token"),
            Self::NoOutside => (StatusCode::FORBIDDEN, "no_outside"),
            Self::NotLoggedIn => (StatusCode::UNAUTHORIZED, "not_logged_in"),
            Self::UnknownToken => (StatusCode::UNAUTHORIZED, "unknown_token"),
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong_password"),
            Self::NeedsSession => (StatusCode::FORBIDDEN, "needs_session"),
            Self::TooManyTries { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_tries"),
            Self::Fields(_) => (StatusCode::UNPROCESSABLE_ENTITY, "fields"),
            Self::NameTaken(_) => (StatusCode::CONFLICT, "name_taken"),
            Self::Closed(_) => (StatusCode::FORBIDDEN, "registration_closed"),
            Self::NoUser(_) => (StatusCode::NOT_FOUND, "no_such_user"),
            Self::NoSuch { .. } => (StatusCode::NOT_FOUND, "no_such_entry"),
            Self::NoLink => (StatusCode::NOT_FOUND, "no_such_link"),
            Self::CrossSite => (StatusCode::FORBIDDEN, "cross_site"),
            Self::TooManyJobs(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_jobs"),
            Self::KeyTaken(_) => (StatusCode::UNPROCESSABLE_ENTITY, "key_taken"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::Precondition => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
            Self::NoMajority(_) => (StatusCode::SERVICE_UNAVAILABLE, "no_majority"),
            Self::FileAway(_) => (StatusCode::SERVICE_UNAVAILABLE, "file_away"),
            Self::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Self::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            Self::NoRoom => (StatusCode::INSUFFICIENT_STORAGE, "no_room"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Seconds after which trying again makes sense, where it does.
    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::NoMajority(_) | Self::Stopping => Some(2),
            Self::Busy(_) => Some(5),
            Self::FileAway(_) => Some(10),
            Self::TooManyJobs(_) => Some(60),
            Self::TooManyTries { seconds, .. } => Some(*seconds),
            _ => None,
        }
    }
}

impl From<ViewError> for ApiError {
    fn from(error: ViewError) -> Self {
        Self::internal("reading the state", &error)
    }
}

impl From<SecretBoxError> for ApiError {
    fn from(error: SecretBoxError) -> Self {
        Self::internal("making a secret", &error)
    }
}

impl From<ClusterError> for ApiError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::NoMajority | ClusterError::Timeout => Self::NoMajority(error.to_string()),
            ClusterError::Stopped => Self::Stopping,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchSong(id) => Self::NoSong(id.to_string()),
            Refusal::NoSuchJob(id) => Self::NoJob(id.to_string()),
            Refusal::TooManyJobs { .. } => Self::TooManyJobs(sentence(&refusal.to_string())),
            Refusal::TooManyTries { wait_ms } => Self::TooManyTries {
                message: sentence(&refusal.to_string()),
                seconds: u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(u32::MAX),
            },
            Refusal::NameTaken(_) => Self::NameTaken(sentence(&refusal.to_string())),
            Refusal::Closed => Self::Closed(sentence(&refusal.to_string())),
            Refusal::PasswordChanged => Self::WrongPassword,
            Refusal::NoSuchUser(id) => Self::NoUser(id.to_string()),
            Refusal::NoSuchSession(id) => Self::NoSuch { what: "session", id: id.to_string() },
            Refusal::NoSuchToken(id) => Self::NoSuch { what: "token", id: id.to_string() },
            Refusal::NoSuchLink(id) => Self::NoSuch { what: "link", id: id.to_string() },
            Refusal::NoSuchHook(id) => Self::NoSuch { what: "web hook", id: id.to_string() },
            Refusal::NoSuchPlaylist(id) => Self::NoSuch { what: "playlist", id: id.to_string() },
            Refusal::NoSuchEntry(id) => Self::NoSuch { what: "entry of the playlist", id: id.to_string() },
            Refusal::PlaylistNotShared(id) => Self::NoSuch { what: "such share of the playlist", id: id.to_string() },
            Refusal::NotShared(id) => Self::NoSuch { what: "such share of the song", id: id.to_string() },
            Refusal::KeyTaken => Self::KeyTaken(sentence(&refusal.to_string())),
            Refusal::HasSongs(songs) => Self::Conflict(format!(
                "The user has songs, {songs} of them. Say what becomes of them: songs=delete deletes them all, \
                 songs=hand_over leaves those that are for everybody and deletes the others."
            )),
            Refusal::NoAccounts => Self::Busy("upgrading: there are accounts when all nodes run this version".into()),
            refusal => Self::Conflict(sentence(&refusal.to_string())),
        }
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Full => {
                tracing::warn!("there is no room for more files");
                Self::DiskFull
            }
            BlobError::Missing(_) | BlobError::Corrupt(_) => Self::FileAway(error.to_string()),
            error => Self::internal("working on a file", &error),
        }
    }
}

impl From<ShareError> for ApiError {
    fn from(error: ShareError) -> Self {
        match error {
            ShareError::NoMajority { .. } => Self::NoMajority(error.to_string()),
            ShareError::Full { .. } => {
                tracing::warn!(%error, "the cluster has no room");
                Self::NoRoom
            }
            ShareError::Nowhere { .. } => Self::FileAway(error.to_string()),
            ShareError::Blob(error) => error.into(),
        }
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        let message = sentence(&error.to_string());
        match error {
            DecodeError::Empty => Self::EmptyFile,
            DecodeError::NotAudio | DecodeError::Unsupported(_) => Self::NotAudio(message),
            DecodeError::Silent
            | DecodeError::CutOff
            | DecodeError::Truncated { .. }
            | DecodeError::Damaged { .. }
            | DecodeError::Header { .. }
            | DecodeError::Tag(_)
            | DecodeError::Loud(_)
            | DecodeError::Failed(_) => Self::Damaged(message),
            DecodeError::TooLong(_) => Self::TooLong(message),
            DecodeError::Io(error) if is_want(&error) => {
                tracing::warn!(%error, "a file could not be read for want of processes or memory");
                Self::Busy("and could not read the file".into())
            }
            DecodeError::Io(error) => Self::io("reading the song", &error),
            DecodeError::Resample(_) => Self::internal("resampling the song", &error),
        }
    }
}

impl From<ArchiveError> for ApiError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Entry(EntryError::CutOff(_)) => Self::Broken(error.to_string()),
            error => Self::BadArchive(sentence(&error.to_string())),
        }
    }
}

impl From<Panicked> for ApiError {
    fn from(error: Panicked) -> Self {
        Self::internal("working on a file", &error)
    }
}

impl From<EncodeError> for ApiError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Stem(error) => Self::of_stored(error),
            EncodeError::Io(error) => Self::io("encoding a file", &error),
            error => Self::internal("encoding a file", &error),
        }
    }
}

/// Whether the machine had no process or no memory for a decoder, or ended it to get some back.
fn is_want(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory | ErrorKind::Interrupted)
}

/// A message as a sentence: a capital at its beginning, a full stop at its end.
fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let first = characters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    let stop = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", characters.as_str())
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        let (status, code) = self.kind();
        let mut message = self.to_string();
        if let (Self::Internal(_), Some(id)) = (&self, RequestId::current()) {
            message.push_str(&format!(" Look there for the request {id}."));
        }
        let problems = match &mut self {
            Self::Fields(problems) => std::mem::take(problems),
            _ => vec![Problem { code, message, field: None }],
        };
        let mut response = (status, Answer::refused(problems)).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
