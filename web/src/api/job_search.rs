//! Searching jobs: `state:failed node:2 title:"so what" model:htdemucs user:ada after:2026-01-01 before:2026-02-01`.
//!
//! By their state jobs are found without a look at the others. Whatever else is asked for, a request looks at so many of
//! them and no more, and says where the next one goes on.

use state::View;
use state::{ACCOUNTS, Job, JobState, folded};

use crate::caller::Caller;
use crate::dates::{DAY, days_until};
use crate::error::ApiError;

/// How many jobs are looked at for a page of a list.
const LOOKED_AT: usize = 4000;
/// How many of them are read at a time.
const AT_A_TIME: usize = 200;
/// The longest query, in bytes.
const LONGEST: usize = 1000;

/// What jobs are looked for. All of it must hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Search {
    /// Any of these; any at all if there are none.
    states: Vec<JobState>,
    /// One of the attempts was made there.
    node: Option<u64>,
    /// Each is in the title of one of the songs.
    titles: Vec<String>,
    model: Option<String>,
    /// Whose one of the songs is.
    user: Option<Whose>,
    /// Made then or later, in milliseconds since 1970.
    after: Option<u64>,
    /// Made sooner.
    before: Option<u64>,
}

/// A user, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whose {
    Number(u64),
    Name(String),
    Mine,
}

impl Search {
    /// Reads a query.
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        if query.len() > LONGEST {
            return Err(ApiError::Malformed(format!("A search has at most {LONGEST} bytes. Look for less at once.")));
        }
        let mut search = Self::default();
        for (key, value) in terms(query) {
            match key.as_deref() {
                None | Some("title") => search.titles.push(value.to_lowercase()),
                Some("state") => {
                    for word in value.split(',') {
                        search.states.push(word.parse().map_err(|error| wrong("state", word, &error))?);
                    }
                }
                Some("node") => search.node = Some(value.parse().map_err(|error| wrong("node", &value, &error))?),
                Some("model") => search.model = Some(value),
                Some("user") => {
                    search.user = Some(match (value.parse(), value.as_str()) {
                        (Ok(number), _) => Whose::Number(number),
                        (Err(_), "me") => Whose::Mine,
                        (Err(_), name) => Whose::Name(folded(name).map_err(|error| wrong("user", name, &error))?),
                    });
                }
                Some("after") => search.after = Some(time_of("after", &value)?),
                Some("before") => search.before = Some(time_of("before", &value)?),
                Some(other) => {
                    let other: String = other.chars().take(20).collect();
                    return Err(ApiError::Malformed(format!(
                        "Jobs cannot be searched by {other:?}: there are state, node, title, model, user, after and \
                         before, as in state:failed node:2 title:\"so what\". Put quotation marks around what has a colon."
                    )));
                }
            }
        }
        search.states.sort();
        search.states.dedup();
        Ok(search)
    }

    /// At most `limit` of the caller's jobs that are looked for, with smaller numbers than `cursor`, the newest first, and
    /// where the next page goes on.
    pub(crate) fn page(
        &self,
        view: &View,
        caller: &Caller,
        mut cursor: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Job>, Option<u64>), ApiError> {
        let user = match &self.user {
            None => None,
            Some(Whose::Number(number)) => Some(*number),
            Some(Whose::Mine) => Some(caller.known()?.id),
            Some(Whose::Name(name)) => match view.user_named(name)? {
                Some(user) => Some(user.id),
                None => return Ok((Vec::new(), None)),
            },
        };
        let listed = view.has_level(ACCOUNTS)? && !self.states.is_empty();
        let mut found = Vec::new();
        for _ in 0..LOOKED_AT / AT_A_TIME {
            let some = match listed {
                true => view.jobs_in(&self.states, cursor, AT_A_TIME)?,
                false => view.jobs(cursor, AT_A_TIME)?,
            };
            let last = some.len() < AT_A_TIME;
            for job in some {
                // The clocks of nodes differ, but not by a day.
                if self.after.is_some_and(|after| job.created_at.saturating_add(DAY) < after) {
                    return Ok((found, None));
                }
                let id = job.id;
                if self.holds(view, caller, &job, user)? {
                    found.push(job);
                }
                cursor = Some(id);
                if found.len() == limit {
                    return Ok((found, cursor));
                }
            }
            if last {
                return Ok((found, None));
            }
        }
        Ok((found, cursor))
    }

    fn holds(&self, view: &View, caller: &Caller, job: &Job, user: Option<u64>) -> Result<bool, ApiError> {
        let cheap = (self.states.is_empty() || self.states.contains(&job.state))
            && self.model.as_ref().is_none_or(|model| *model == job.model)
            && self.after.is_none_or(|after| job.created_at >= after)
            && self.before.is_none_or(|before| job.created_at < before);
        if !cheap {
            return Ok(false);
        }
        let mut songs = Vec::new();
        for song in view.songs_with(job)? {
            if caller.may_see(view, &song)? {
                songs.push(song);
            }
        }
        if songs.is_empty() || user.is_some_and(|user| songs.iter().all(|song| song.uploader_id != Some(user))) {
            return Ok(false);
        }
        let titled = |title: &String| songs.iter().any(|song| song.title.to_lowercase().contains(title));
        if !self.titles.iter().all(titled) {
            return Ok(false);
        }
        let Some(node) = self.node else { return Ok(true) };
        Ok(view.tasks(job.id)?.iter().any(|task| task.attempts.iter().any(|attempt| attempt.node == node)))
    }
}

fn wrong(key: &str, value: &str, error: &dyn std::error::Error) -> ApiError {
    let value: String = value.chars().take(40).collect();
    ApiError::Malformed(format!("{key}:{value} cannot be searched for: {error}."))
}

/// A date in UTC, or milliseconds since 1970.
fn time_of(key: &str, text: &str) -> Result<u64, ApiError> {
    let time = days_until(text).map(|days| days * DAY).or_else(|| text.parse().ok());
    time.ok_or_else(|| {
        let text: String = text.chars().take(40).collect();
        ApiError::Malformed(format!("{key}:{text} names no day; write it as {key}:2026-01-31, in UTC."))
    })
}

/// The words of a query, each with its key if it has one. Quotation marks hold together what has spaces or colons in it.
fn terms(query: &str) -> Vec<(Option<String>, String)> {
    let (mut terms, mut key, mut word, mut quoted, mut any) = (Vec::new(), None, String::new(), false, false);
    for character in query.chars().chain([' ']) {
        match character {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            ':' if !quoted && key.is_none() && !any && !word.is_empty() => key = Some(std::mem::take(&mut word)),
            space if space.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    terms.push((key.take(), std::mem::take(&mut word)));
                }
                (key, any) = (None, false);
            }
            other => word.push(other),
        }
    }
    if !word.trim().is_empty() {
        // A quotation mark that was not closed.
        terms.push((key, word.trim().to_owned()));
    }
    terms
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn queries_are_read() {
        assert_eq!(Search::parse(" ").unwrap(), Search::default());
        let search =
            Search::parse("state:failed,done node:2 title:\"So  What: live\" blue model:htdemucs after:1970-01-02")
                .unwrap();
        assert_eq!(
            search,
            Search {
                states: vec![JobState::Done, JobState::Failed],
                node: Some(2),
                titles: vec!["so  what: live".into(), "blue".into()],
                model: Some("htdemucs".into()),
                after: Some(DAY),
                ..Search::default()
            }
        );
        assert_eq!(Search::parse("\"a:b").unwrap().titles, ["a:b"]);
        assert_eq!(Search::parse("user:me").unwrap().user, Some(Whose::Mine));
        assert_eq!(Search::parse("user:3").unwrap().user, Some(Whose::Number(3)));
        assert_eq!(Search::parse("user:Ada before:5000").unwrap().user, Some(Whose::Name("ada".into())));
        for bad in ["state:lost", "node:two", "when:now", "after:yesterday", "user:a/b", "state:", &"x".repeat(1001)] {
            let found = Search::parse(bad);
            assert!(found.is_err() || bad == "state:", "{bad}: {found:?}");
        }
    }
}
