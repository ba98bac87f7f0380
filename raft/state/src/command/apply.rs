//! What a command is, for applying it.

use super::answer::{Answer, Refusal};
use crate::{Transaction, ViewError};

/// The outcome of applying: a value, a refusal, or an error that stops the node.
pub(crate) type Applied<T> = Result<Result<T, Refusal>, ViewError>;

/// A command.
pub(crate) trait Apply {
    /// The feature level that introduced the command. Below it the command is refused.
    const SINCE: u32 = 1;

    /// Applies the command. A refusal must leave no change behind.
    fn apply(&self, state: &mut Transaction) -> Applied<Answer>;

    /// The time of the command, if it adds something that expires: then expired things are removed first.
    fn adds_expiring(&self) -> Option<u64> {
        None
    }
}

/// Returns a refusal from the function.
macro_rules! refuse {
    ($refusal:expr) => {
        return Ok(Err($refusal))
    };
}
pub(crate) use refuse;

/// The granted value; a refusal is returned from the function.
macro_rules! granted {
    ($granted:expr) => {
        match $granted {
            Ok(granted) => granted,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}
pub(crate) use granted;

/// The answer that needs no words.
pub(crate) const DONE: Applied<Answer> = Ok(Ok(Answer::Done));
