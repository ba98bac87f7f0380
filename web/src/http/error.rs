//! Errors of the interface: their codes, statuses and messages.
//!
//! A message says what is wrong and what to do. Errors that the client caused are described in full. Failures of this
//! node are logged in full, and the client learns only that the node failed.

use audio::decode::DecodeError;
use audio::encode::EncodeError;
use audio::thread::Panicked;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use net::request::RequestId;
use net::secret_box::SecretBoxError;
use raft::ClusterError;
use replication::ReplicationError;
use state::ViewError;
use state::command::{Answer as Applied, Refusal};
use storage::blobs::BlobError;

use super::answer::{Answer, ApiProblem};
use super::code::Code;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The path does not exist.
    #[error("There is nothing at this address. See /api/openapi.json for all addresses.")]
    NoSuchPath,
    /// The path does not support the method.
    #[error("This address does not support {0} requests. See /api/openapi.json for all addresses.")]
    Method(String),
    /// The song does not exist, or the caller has no access to it.
    #[error("There is no song {0}. It may have been deleted. GET /songs/ lists your songs.")]
    NoSong(String),
    /// The job does not exist, or the caller has no access to it.
    #[error("There is no job {0}. It may have been deleted with its song. GET /jobs/ lists your jobs.")]
    NoJob(String),
    /// The song has no such part or format.
    #[error("{0}")]
    NoPart(String),
    /// The stems are not ready.
    #[error("{0}")]
    NotSplit(String),
    /// The request is malformed.
    #[error("{0}")]
    Malformed(String),
    /// The body is neither JSON nor a form.
    #[error("Unsupported body. Send application/json or application/x-www-form-urlencoded, and set Content-Type.")]
    NotFields,
    /// The body is too large for fields.
    #[error("The body is larger than the limit of {limit} bytes. Send fewer fields or shorter texts.")]
    TooManyBytes {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is not a picture.
    #[error("The body is not a supported picture. Send the bytes of a JPEG, PNG, WebP or GIF file.")]
    NotPicture,
    /// The picture is too large.
    #[error("The picture is larger than the limit of {:.1} MB. Send a smaller one.", *.limit as f64 / 1e6)]
    PictureTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The form has no file.
    #[error("The form has no file. Send multipart/form-data with the fields \"title\" and \"file\".")]
    NoFile,
    /// The file is empty.
    #[error("The file is empty. Choose another file.")]
    EmptyFile,
    /// The file is too large.
    #[error(
        "The file is larger than the limit of {:.1} MB. Send a shorter song or a compressed format.",
        *.limit as f64 / 1e6
    )]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The title is too long; the limit in characters.
    #[error("The title is longer than {0} characters. Choose a shorter title.")]
    TitleTooLong(usize),
    /// The file is not audio.
    #[error("{0}")]
    NotAudio(String),
    /// The file is audio, but damaged, truncated or silent.
    #[error("{0}")]
    Damaged(String),
    /// The song is too long.
    #[error("{0}")]
    TooLong(String),
    /// The client sent nothing for so many seconds.
    #[error("The upload was interrupted: no data arrived for {0} seconds. Send it again.")]
    Idle(u64),
    /// The body ended early, or is not a form.
    #[error("The upload could not be read to its end: {0}. Send it again.")]
    Broken(String),
    /// Receiving a result took longer than so many seconds.
    #[error("Receiving the result took longer than {0} seconds. Send it again over a faster connection.")]
    TooSlow(u64),
    /// The tar file of an external worker is malformed.
    #[error("{0}")]
    BadArchive(String),
    /// An external worker sent no token.
    #[error("Only external workers may send results. Send \"Authorization: Bearer TOKEN\" with the token of a worker.")]
    NoToken,
    /// The token is not the token of an external worker.
    #[error("Unknown worker token. Add its SHA-256 to outside.token_sha256 in cluster.toml.")]
    WrongToken,
    /// The cluster has no external workers.
    #[error("This cluster has no external workers. Add the section [outside] to cluster.toml.")]
    NoOutside,
    /// The endpoint requires login.
    #[error("Log in first: POST /auth/login, or send \"Authorization: Bearer TOKEN\" with one of your tokens.")]
    NotLoggedIn,
    /// The token is not valid.
    #[error("Unknown token. It may be revoked or expired. Create another token.")]
    UnknownToken,
    /// The name or the password is wrong. The message does not tell which.
    #[error("Wrong name or password. Check the spelling; user names are not case-sensitive.")]
    WrongPassword,
    /// The endpoint requires a session.
    #[error("This requires a session. Log in with a browser; a token is not enough.")]
    NeedsSession,
    /// Too many attempts.
    #[error("{message}")]
    TooManyTries {
        /// What to do.
        message: String,
        /// When to try again, in seconds.
        seconds: u32,
    },
    /// Fields are invalid.
    #[error("some fields are invalid")]
    Validation(Vec<ApiProblem>),
    /// Another user has the name.
    #[error("{0}")]
    NameTaken(String),
    /// Registration is closed.
    #[error("{0}")]
    Closed(String),
    /// The user does not exist, or the caller has no access.
    #[error("There is no user {0}. GET /auth/me shows your own account.")]
    NoUser(String),
    /// The session, token, share, link or playlist does not exist, or the caller has no access.
    #[error("There is no {what} {id}. It may have expired or been removed.")]
    NoSuch {
        /// The kind of resource.
        what: &'static str,
        /// The id in the request.
        id: String,
    },
    /// The link does not exist or has expired.
    #[error("This link does not exist or has expired. Ask the sender for a new link.")]
    NoLink,
    /// A page of another site sent the request.
    #[error("A page of another site sent this request, so it was refused. Use this node's own page, or a token.")]
    CrossSite,
    /// The user has too many open jobs.
    #[error("{0}")]
    TooManyJobs(String),
    /// Another upload was sent with the same key.
    #[error("{0}")]
    KeyTaken(String),
    /// The state does not allow the request.
    #[error("{0}")]
    Conflict(String),
    /// A condition of the request is not met.
    #[error("The file does not match If-Match. Request it again without the condition.")]
    Precondition,
    /// The cluster has no majority.
    #[error("The cluster has no majority, so nothing can be changed or read reliably: {0}. Try again in a moment.")]
    NoMajority(String),
    /// No reachable node has the file.
    #[error("No reachable node has the file: {0}. Try again when all nodes are up.")]
    FileAway(String),
    /// The node is overloaded.
    #[error("This node is busy {0}. Try again in a moment.")]
    Busy(String),
    /// The node is stopping.
    #[error("This node is stopping. Use another node.")]
    Stopping,
    /// The disk is full, or the node's quota is used up.
    #[error("This node has no space for more files. Delete songs, free space on its disk, or raise its quota_bytes.")]
    DiskFull,
    /// Too few nodes have space.
    #[error("Too few nodes have space for the file. Delete songs, or free space on the nodes' disks.")]
    NoRoom,
    /// The node failed. The log has the cause.
    #[error("This node failed while {0}. See its log.")]
    Internal(String),
}

impl ApiError {
    /// A failure of this node. This logs the error and its causes.
    pub(crate) fn internal(doing: &str, error: &dyn std::error::Error) -> Self {
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

    /// An answer of the state that does not match the command. This logs the answer.
    pub(crate) fn unexpected(doing: &str, answer: &Applied) -> Self {
        tracing::error!(?answer, "failed while {doing}: unexpected answer of the state");
        Self::Internal(doing.into())
    }

    /// A failure of this node's disk.
    pub(crate) fn io(doing: &str, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            tracing::warn!("the disk is full");
            return Self::DiskFull;
        }
        Self::internal(doing, error)
    }

    /// A stored file that cannot be decoded any more: the decoders changed, or it proved to be harmful.
    pub(crate) fn of_stored(error: DecodeError) -> Self {
        if error.is_the_files() { Self::Damaged(sentence(&error.to_string())) } else { error.into() }
    }

    /// The code. [`ApiError::Validation`] has one of its own for each field.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NoSuchPath => Code::NoSuchPath,
            Self::Method(_) => Code::MethodNotAllowed,
            Self::NoSong(_) => Code::NoSuchSong,
            Self::NoJob(_) => Code::NoSuchJob,
            Self::NoPart(_) => Code::NoSuchPart,
            Self::NotSplit(_) => Code::NotSplit,
            Self::Malformed(_) => Code::Malformed,
            Self::NotFields => Code::NotFields,
            Self::TooManyBytes { .. } => Code::TooLarge,
            Self::NotPicture => Code::NotPicture,
            Self::PictureTooLarge { .. } => Code::TooLarge,
            Self::NoFile => Code::NoFile,
            Self::Broken(_) => Code::BrokenUpload,
            Self::EmptyFile => Code::EmptyFile,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::TitleTooLong(_) => Code::TitleTooLong,
            Self::NotAudio(_) => Code::NotAudio,
            Self::Damaged(_) => Code::Damaged,
            Self::TooLong(_) => Code::TooLong,
            Self::Idle(_) => Code::Idle,
            Self::TooSlow(_) => Code::TooSlow,
            Self::BadArchive(_) => Code::BadArchive,
            Self::NoToken => Code::NoToken,
            Self::WrongToken => Code::WrongToken,
            Self::NoOutside => Code::NoOutside,
            Self::NotLoggedIn => Code::NotLoggedIn,
            Self::UnknownToken => Code::UnknownToken,
            Self::WrongPassword => Code::WrongPassword,
            Self::NeedsSession => Code::NeedsSession,
            Self::TooManyTries { .. } => Code::TooManyTries,
            Self::Validation(problems) => problems.first().map_or(Code::Malformed, |problem| problem.code),
            Self::NameTaken(_) => Code::NameTaken,
            Self::Closed(_) => Code::RegistrationClosed,
            Self::NoUser(_) => Code::NoSuchUser,
            Self::NoSuch { .. } => Code::NoSuchEntry,
            Self::NoLink => Code::NoSuchLink,
            Self::CrossSite => Code::CrossSite,
            Self::TooManyJobs(_) => Code::TooManyJobs,
            Self::KeyTaken(_) => Code::KeyTaken,
            Self::Conflict(_) => Code::Conflict,
            Self::Precondition => Code::PreconditionFailed,
            Self::NoMajority(_) => Code::NoMajority,
            Self::FileAway(_) => Code::FileAway,
            Self::Busy(_) => Code::Busy,
            Self::Stopping => Code::Stopping,
            Self::DiskFull => Code::DiskFull,
            Self::NoRoom => Code::NoRoom,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// The status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        self.code().about().status
    }

    /// Seconds after which the client should try again, if trying again helps.
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
        Self::internal("generating a secret", &error)
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
            Refusal::RateLimited { wait_ms } => Self::TooManyTries {
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
            Refusal::NoSuchEntry(id) => Self::NoSuch { what: "playlist entry", id: id.to_string() },
            Refusal::PlaylistNotShared(id) => Self::NoSuch { what: "such share of playlist", id: id.to_string() },
            Refusal::NotShared(id) => Self::NoSuch { what: "such share of song", id: id.to_string() },
            Refusal::KeyTaken => Self::KeyTaken(sentence(&refusal.to_string())),
            Refusal::HasSongs(songs) => Self::Conflict(format!(
                "The user has {songs} songs. Choose what to do with them: songs=delete deletes all, \
                 songs=hand_over keeps those that are shared with everybody and deletes the others."
            )),
            Refusal::NotYet { .. } => Self::Busy(format!("upgrading: {refusal}")),
            refusal => Self::Conflict(sentence(&refusal.to_string())),
        }
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Full => {
                tracing::warn!("no space for more files");
                Self::DiskFull
            }
            BlobError::Missing(_) | BlobError::Corrupt(_) => Self::FileAway(error.to_string()),
            error => Self::internal("working on a file", &error),
        }
    }
}

impl From<ReplicationError> for ApiError {
    fn from(error: ReplicationError) -> Self {
        match error {
            ReplicationError::NoMajority { .. } => Self::NoMajority(error.to_string()),
            ReplicationError::Full { .. } => {
                tracing::warn!(%error, "the cluster has no space");
                Self::NoRoom
            }
            ReplicationError::Unavailable { .. } => Self::FileAway(error.to_string()),
            ReplicationError::Blob(error) => error.into(),
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
            DecodeError::Io(error) if is_exhaustion(&error) => {
                tracing::warn!(%error, "a file could not be read: too few processes or too little memory");
                Self::Busy("and could not read the file".into())
            }
            DecodeError::Io(error) => Self::io("reading the song", &error),
            DecodeError::Resample(_) => Self::internal("resampling the song", &error),
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

/// Whether the machine had no process or memory for a decoder, or killed it to free memory.
fn is_exhaustion(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory | ErrorKind::Interrupted)
}

/// A message as a sentence: with a capital letter at the beginning and a full stop at the end.
pub(crate) fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let first = characters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    let stop = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", characters.as_str())
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        let (status, code) = (self.status(), self.code());
        let mut message = self.to_string();
        if let (Self::Internal(_), Some(id)) = (&self, RequestId::current()) {
            message.push_str(&format!(" Search it for the request {id}."));
        }
        let problems = match &mut self {
            Self::Validation(problems) => std::mem::take(problems),
            _ => vec![ApiProblem { code, message, field: None }],
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
