//! The caller of an endpoint: an anonymous caller, or a user with a session, a token or a password.

use state::{Actor, Audience, Job, Song, View};

use crate::http::error::ApiError;

/// How a caller was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    /// Not at all: the caller is anonymous.
    None,
    /// By the cookie of the session with this id.
    Session(u64),
    /// By a token.
    Token,
    /// By the password, sent with the request itself.
    Password,
}

/// The user on whose behalf a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) id: u64,
    pub(crate) administrator: bool,
}

/// The caller of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// None for an anonymous caller.
    pub(crate) principal: Option<Principal>,
    pub(crate) method: AuthMethod,
}

impl Caller {
    pub(super) fn anonymous() -> Self {
        Self { principal: None, method: AuthMethod::None }
    }

    /// The user's id.
    pub(crate) fn user(&self) -> Option<u64> {
        self.principal.map(|principal| principal.id)
    }

    /// The user, or the error for anonymous callers.
    pub(crate) fn known(&self) -> Result<Principal, ApiError> {
        self.principal.ok_or(ApiError::NotLoggedIn)
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.principal.is_some_and(|principal| principal.administrator)
    }

    /// On whose behalf the state is to be changed.
    pub(crate) fn actor(&self) -> Actor {
        match self.principal {
            None => Actor::Anonymous,
            Some(Principal { administrator: true, .. }) => Actor::Admin,
            Some(Principal { id, .. }) => Actor::User(id),
        }
    }

    /// The audiences whose songs the caller sees; none for administrators, who see all songs.
    pub(crate) fn audiences(&self) -> Option<Vec<Audience>> {
        if self.is_administrator() {
            return None;
        }
        Some([Audience::Everybody].into_iter().chain(self.user().map(Audience::User)).collect())
    }

    /// Whether the caller is part of an audience.
    pub(crate) fn belongs_to(&self, audience: Audience) -> bool {
        self.audiences().is_none_or(|audiences| audiences.contains(&audience))
    }

    /// Whether the caller may listen to a song: by its shares, or as part of a playlist.
    pub(crate) fn may_see(&self, view: &View, song: &Song) -> Result<bool, ApiError> {
        let Some(audiences) = self.audiences() else { return Ok(true) };
        for audience in audiences.iter().copied() {
            if view.is_for(song, audience)? {
                return Ok(true);
            }
        }
        Ok(view.is_played_for(song, &audiences)?)
    }

    /// Whether a song is part of the caller's library. Songs of shared playlists are not.
    pub(crate) fn is_listed(&self, view: &View, song: u64) -> Result<bool, ApiError> {
        self.audiences().map_or(Ok(true), |audiences| Ok(view.is_listed(song, &audiences)?))
    }

    /// Whether the caller owns a song. Anonymous callers own anonymous uploads.
    pub(crate) fn owns(&self, song: &Song) -> bool {
        self.user() == song.uploader_id
    }

    /// Whether the caller may see a job: the job is done for a song that the caller may listen to.
    pub(crate) fn may_see_job(&self, view: &View, job: &Job) -> Result<bool, ApiError> {
        if self.is_administrator() {
            return Ok(true);
        }
        for song in view.songs_with(job)? {
            if self.may_see(view, &song)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the caller may cancel a job and change its priority: it is done for a song that the caller may change.
    pub(crate) fn may_change_job(&self, view: &View, job: &Job) -> Result<bool, ApiError> {
        let actor = self.actor();
        Ok(actor == Actor::Admin || view.songs_with(job)?.iter().any(|song| actor.may_change(song)))
    }

    /// Whether the caller may manage what belongs to a user.
    pub(crate) fn may_manage(&self, user: u64) -> bool {
        self.is_administrator() || self.user() == Some(user)
    }
}
