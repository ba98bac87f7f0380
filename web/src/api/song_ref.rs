//! How an address names a song: by its id (`/songs/ID`), or by the secret of a link (`/shared/SECRET`).

use state::Song;
use state::View;

use super::links::song_of_link;
use super::songs::song_of;
use crate::app::State;
use crate::auth::request_auth::RequestAuth;
use crate::auth::secret::Secret;
use crate::http::error::ApiError;

/// A song in an address.
pub(crate) enum SongRef {
    /// By its id, for callers who may listen to it.
    Id(RequestAuth, String),
    /// By a link, for everybody.
    Link(Secret),
}

impl SongRef {
    pub(crate) fn link(secret: &str) -> Self {
        Self::Link(Secret::shown(secret))
    }

    /// Reads the song, if the caller may listen to it.
    pub(crate) async fn look<T: Send + 'static>(
        self,
        state: &State,
        look: impl FnOnce(&View, Song) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        match self {
            Self::Id(auth, id) => {
                state.read_or_peek_for(&auth, move |view, caller| look(view, song_of(view, caller, &id)?)).await
            }
            Self::Link(secret) => state.read_or_peek(move |view, _| look(view, song_of_link(view, &secret)?)).await,
        }
    }
}
