//! Commands: every change of the cluster's state.
//!
//! A command is a struct with everything that applying it needs, including the time in milliseconds since 1970, because
//! applying reads no clock. It lies in the file of its family together with its `impl` of `Apply`, and is named once more
//! here, in the list of all commands.
//!
//! Invariant: commands and answers are written to the log and sent to peers under the names of their types and fields.
//! Names that a release has used never change, and a field added later has `#[serde(default)]`.

pub(crate) mod answer;
pub(crate) mod apply;

use serde::{Deserialize, Serialize};

use self::apply::{Applied, Apply};
use crate::Transaction;

pub use answer::{Answer, Refusal};

/// Declares the commands: the enum of all of them, the conversions into it, and what applies each.
macro_rules! commands {
    ($($family:ident: $($(#[$attribute:meta])* $name:ident),*;)*) => {
        $($($(#[$attribute])* pub use crate::$family::$name;)*)*

        /// A change of the cluster's state.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[allow(clippy::large_enum_variant)]
        pub enum Command {
            $($($(#[$attribute])* #[doc = concat!("See [`", stringify!($name), "`](crate::command::", stringify!($name), ").")]
            $name($name),)*)*
        }

        $($($(#[$attribute])* impl From<$name> for Command {
            fn from(command: $name) -> Self {
                Self::$name(command)
            }
        })*)*

        impl Command {
            /// The feature level that introduced the command.
            pub fn since(&self) -> u32 {
                match self {
                    $($($(#[$attribute])* Self::$name(_) => $name::SINCE,)*)*
                }
            }

            /// The time of the command, if it adds something that expires.
            pub(crate) fn adds_expiring(&self) -> Option<u64> {
                match self {
                    $($($(#[$attribute])* Self::$name(command) => command.adds_expiring(),)*)*
                }
            }

            pub(crate) fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
                match self {
                    $($($(#[$attribute])* Self::$name(command) => command.apply(state),)*)*
                }
            }
        }
    };
}

commands! {
    songs: AddSong, ChangeSong, RemoveSong;
    idempotency: AddSongOnce;
    separations: Separate, DropSeparation;
    jobs: CancelJob, RetryJob, SetPriority, QueueJob, ReclaimJob, FinishJob;
    tasks: ClaimTask, FinishTask, FailTask, ReleaseTask, ExpireTask, ReopenTask;
    models: AddModel, RemoveModel;
    cluster: SetLevel, RetireNode;
    accounts: Register, ChangeUser, RemoveUser, OpenSession, EndSession, EndSessions, MakeToken, RevokeToken;
    rate_limits: CheckRateLimits;
    sharing: ShareSong, UnshareSong, MakeLink, RemoveLink;
    hooks: MakeHook, ChangeHook, RemoveHook, RecordDelivery;
    playlists: MakePlaylist, ChangePlaylist, RemovePlaylist, AddToPlaylist, RemoveFromPlaylist, ReorderPlaylist,
        SharePlaylist, UnsharePlaylist;
    listening: SetFavourite, CountPlay;
    tests: #[cfg(test)] NextLevel;
}
