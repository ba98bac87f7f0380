//! Searching jobs: `state:failed node:2 title:"so what" model:htdemucs user:ada after:2026-01-01 before:2026-02-01`.
//!
//! Jobs are indexed by state. Other conditions are checked job by job: a request looks at a limited number of jobs and
//! returns the cursor at which the next request continues.

use state::View;
use state::{Job, JobState, folded};

use crate::auth::caller::Caller;
use crate::clock::{DAY, start_of_day};
use crate::http::error::ApiError;

/// The most jobs that a request looks at.
const LOOKED_AT: usize = 4000;
/// Jobs that are read at a time.
const AT_A_TIME: usize = 200;
/// The longest search text, in bytes.
const LONGEST: usize = 1000;

/// The conditions of a search, all of which must hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct JobSearch {
    /// The states; all if empty.
    states: Vec<JobState>,
    /// The node of one of the attempts.
    node: Option<u64>,
    /// Texts that the titles of the job's songs contain.
    titles: Vec<String>,
    model: Option<String>,
    /// The uploader of one of the songs.
    user: Option<Uploader>,
    /// The earliest creation, in milliseconds since 1970.
    after: Option<u64>,
    /// The end of the range of creation, exclusive.
    before: Option<u64>,
}

/// A user in a search.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Uploader {
    Id(u64),
    Name(String),
    Caller,
}

impl JobSearch {
    /// Parses a search text.
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        if query.len() > LONGEST {
            return Err(ApiError::Malformed(format!(
                "The search is longer than {LONGEST} bytes. Use fewer conditions."
            )));
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
                        (Ok(number), _) => Uploader::Id(number),
                        (Err(_), "me") => Uploader::Caller,
                        (Err(_), name) => Uploader::Name(folded(name).map_err(|error| wrong("user", name, &error))?),
                    });
                }
                Some("after") => search.after = Some(time_of("after", &value)?),
                Some("before") => search.before = Some(time_of("before", &value)?),
                Some(other) => {
                    let other: String = other.chars().take(20).collect();
                    return Err(ApiError::Malformed(format!(
                        "Unknown search key {other:?}: use state, node, title, model, user, after or before, as in \
                         state:failed node:2 title:\"so what\". Put texts with colons in quotation marks."
                    )));
                }
            }
        }
        search.states.sort();
        search.states.dedup();
        Ok(search)
    }

    /// At most `limit` matching jobs that the caller may see, with ids below `cursor`, newest first; and the next
    /// cursor.
    pub(crate) fn page(
        &self,
        view: &View,
        caller: &Caller,
        mut cursor: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Job>, Option<u64>), ApiError> {
        let user = match &self.user {
            None => None,
            Some(Uploader::Id(number)) => Some(*number),
            Some(Uploader::Caller) => Some(caller.known()?.id),
            Some(Uploader::Name(name)) => match view.user_named(name)? {
                Some(user) => Some(user.id),
                None => return Ok((Vec::new(), None)),
            },
        };
        let listed = !self.states.is_empty();
        let mut found = Vec::new();
        for _ in 0..LOOKED_AT / AT_A_TIME {
            let some = match listed {
                true => view.jobs_in(&self.states, cursor, AT_A_TIME)?,
                false => view.jobs(cursor, AT_A_TIME)?,
            };
            let last = some.len() < AT_A_TIME;
            for job in some {
                // Jobs are in the order of their creation. The clocks of nodes differ by less than a day.
                if self.after.is_some_and(|after| job.created_at.saturating_add(DAY) < after) {
                    return Ok((found, None));
                }
                let id = job.id;
                if self.matches(view, caller, &job, user)? {
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

    fn matches(&self, view: &View, caller: &Caller, job: &Job, user: Option<u64>) -> Result<bool, ApiError> {
        let cheap = (self.states.is_empty() || self.states.contains(&job.state))
            && self
                .model
                .as_ref()
                .is_none_or(|model| job.separation().is_some_and(|separation| separation.model == *model))
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
    ApiError::Malformed(format!("Invalid search {key}:{value}: {error}."))
}

/// The time of a date in UTC, or a time in milliseconds since 1970.
fn time_of(key: &str, text: &str) -> Result<u64, ApiError> {
    let time = start_of_day(text).or_else(|| text.parse().ok());
    time.ok_or_else(|| {
        let text: String = text.chars().take(40).collect();
        ApiError::Malformed(format!("Invalid date {key}:{text}: use a date in UTC such as {key}:2026-01-31."))
    })
}

/// The terms of a search text, each with its key if it has one. Quotation marks enclose values with spaces or colons.
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
        // An unclosed quotation mark.
        terms.push((key, word.trim().to_owned()));
    }
    terms
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn search_texts_are_parsed() {
        assert_eq!(JobSearch::parse(" ").unwrap(), JobSearch::default());
        let search =
            JobSearch::parse("state:failed,done node:2 title:\"So  What: live\" blue model:htdemucs after:1970-01-02")
                .unwrap();
        assert_eq!(
            search,
            JobSearch {
                states: vec![JobState::Done, JobState::Failed],
                node: Some(2),
                titles: vec!["so  what: live".into(), "blue".into()],
                model: Some("htdemucs".into()),
                after: Some(DAY),
                ..JobSearch::default()
            }
        );
        assert_eq!(JobSearch::parse("\"a:b").unwrap().titles, ["a:b"]);
        assert_eq!(JobSearch::parse("user:me").unwrap().user, Some(Uploader::Caller));
        assert_eq!(JobSearch::parse("user:3").unwrap().user, Some(Uploader::Id(3)));
        assert_eq!(JobSearch::parse("user:Ada before:5000").unwrap().user, Some(Uploader::Name("ada".into())));
        for bad in ["state:lost", "node:two", "when:now", "after:yesterday", "user:a/b", "state:", &"x".repeat(1001)] {
            let found = JobSearch::parse(bad);
            assert!(found.is_err() || bad == "state:", "{bad}: {found:?}");
        }
    }
}
