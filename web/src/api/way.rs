//! The two ways to a song: by its number, and by a link. What is below `/songs/ID` is also below `/shared/SECRET`.

use state::Song;
use state::View;

use super::links::opened;
use super::songs::song_of;
use crate::State;
use crate::caller::Visitor;
use crate::error::ApiError;
use crate::secret::Secret;

/// How a request comes to a song.
pub(crate) enum Way {
    /// By its number, as somebody whom it may be for.
    Id(Visitor, String),
    /// By a link.
    Link(Secret),
}

impl Way {
    pub(crate) fn link(secret: &str) -> Self {
        Self::Link(Secret::shown(secret))
    }

    /// Looks at the song in the state, if it is there for who asks.
    pub(crate) async fn look<T: Send + 'static>(
        self,
        state: &State,
        look: impl FnOnce(&View, Song) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        match self {
            Self::Id(visitor, id) => {
                state.read_or_peek_for(&visitor, move |view, caller| look(view, song_of(view, caller, &id)?)).await
            }
            Self::Link(secret) => state.read_or_peek(move |view, _| look(view, opened(view, &secret)?)).await,
        }
    }
}
