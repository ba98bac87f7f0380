//! Figures over time, for charts: computed from the jobs in the state, so they are the same at every node, outlive every
//! restart, and say nothing of jobs that were removed.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use state::View;
use state::{Job, JobState, Task};
use utoipa::{IntoParams, ToSchema};

use super::jobs::passages;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::query::Query;
use crate::{State, now};

/// The longest time that is looked at, in seconds: 31 days.
const LONGEST: u64 = 31 * 24 * 3600;
/// The most points.
const MOST_POINTS: u64 = 1500;
/// How many jobs are looked at: the open ones, and of those that ended the latest.
const LOOKED_AT: usize = 10_000;

/// Which time is asked for.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Span {
    /// How many seconds back from now; 3600 if it is not given, at most 31 days.
    #[param(minimum = 1, maximum = 2_678_400)]
    span: Option<u64>,
    /// How many seconds to a point; a sixtieth of the span if it is not given. There may be 1500 points.
    #[param(minimum = 1, maximum = 2_678_400)]
    step: Option<u64>,
}

/// What happened in one step of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// When it begins, in milliseconds since 1970.
    pub at: u64,
    /// Jobs that were done.
    pub finished: u32,
    /// Jobs that failed.
    pub failed: u32,
    /// Jobs that were cancelled.
    pub cancelled: u32,
    /// Jobs that waited for their first worker at its end, or now in the last step.
    pub queued: u32,
    /// Jobs that were worked on then.
    pub running: u32,
    /// How long the jobs that were done took from their first task's beginning on, on average; null without any.
    pub seconds_per_song: Option<f64>,
    /// By node: how many tasks it worked on at a time, on average. With one worker, the share of time in which it was busy.
    pub nodes: BTreeMap<u64, f64>,
}

/// Figures over time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SeriesData {
    /// The oldest first.
    pub series: Vec<Point>,
    /// From when on the figures are whole, in milliseconds since 1970: of very many jobs only the latest are looked at.
    pub complete_from: u64,
    /// Seconds to a point.
    pub step: u64,
}

/// Steps of time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Grid {
    from: u64,
    to: u64,
    step: u64,
}

impl Grid {
    fn points(&self) -> Vec<Gathered> {
        let count = (self.to - self.from).div_ceil(self.step);
        (0..count)
            .map(|index| Gathered {
                point: Point { at: self.from + index * self.step, ..Point::default() },
                took: (0, 0),
                busy: BTreeMap::new(),
            })
            .collect()
    }

    fn index(&self, at: u64) -> Option<usize> {
        (self.from..self.to).contains(&at).then(|| usize::try_from((at - self.from) / self.step).unwrap_or(usize::MAX))
    }

    /// The points that a time from `begin` to `end` touches.
    fn touched(&self, begin: u64, end: u64) -> Range<usize> {
        let (begin, end) = (begin.max(self.from), end.min(self.to));
        match (begin < end, self.index(begin)) {
            (true, Some(first)) => first..usize::try_from((end - self.from).div_ceil(self.step)).unwrap_or(usize::MAX),
            _ => 0..0,
        }
    }
}

/// A point on its way.
struct Gathered {
    point: Point,
    /// Milliseconds of the jobs that were done, and how many those are.
    took: (u64, u32),
    /// Milliseconds of work by node.
    busy: BTreeMap<u64, u64>,
}

/// Gives figures over time: what was done, what waited, how long songs took, and how busy each node was.
///
/// Whoever is let in may call this, and sees the figures of the jobs that are theirs to see. As new as the newest committed
/// change. At most ten thousand jobs are looked at.
#[utoipa::path(get, path = "/stats/series", tag = "jobs", params(Span), responses(
    (status = 200, body = Answer<SeriesData>),
    (status = 400, description = "`span` or `step` is no number, or they do not go together", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn series(
    state: State,
    visitor: Visitor,
    span: Result<Query<Span>, ApiError>,
) -> Result<Answer<SeriesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let Query(Span { span, step }) = span?;
        let span = span.unwrap_or(3600);
        let step = step.unwrap_or_else(|| (span / 60).max(1));
        let fits = |seconds| (1..=LONGEST).contains(&seconds);
        if !fits(span) || !fits(step) || span.div_ceil(step) > MOST_POINTS {
            return Err(ApiError::Malformed(format!(
                "`span` and `step` must be 1 to {LONGEST} seconds, and `step` at least a {MOST_POINTS}th of `span`."
            )));
        }
        let now = now();
        // Points begin at whole steps, so that they stay where they are while time goes on.
        let to = (now / 1000 / step + 1) * step * 1000;
        let grid = Grid { from: to.saturating_sub(span.div_ceil(step) * step * 1000), to, step: step * 1000 };
        let (series, complete_from) = gather(view, caller, grid, now)?;
        Ok(Answer::with(SeriesData { series, complete_from, step }))
    };
    state.read_for(&visitor, look).await
}

fn gather(view: &View, caller: &Caller, grid: Grid, now: u64) -> Result<(Vec<Point>, u64), ApiError> {
    let mut points = grid.points();
    let mut complete_from = grid.from;
    let open = view.jobs_in(&[JobState::Pending, JobState::Running], None, LOOKED_AT)?;
    if let Some(oldest) = open.last().filter(|_| open.len() == LOOKED_AT) {
        complete_from = complete_from.max(oldest.created_at);
    }
    let ended = view.jobs_ended_since(grid.from, LOOKED_AT - open.len())?;
    if let Some(first) = ended.last().filter(|_| open.len() + ended.len() == LOOKED_AT) {
        complete_from = complete_from.max(first.finished_at.unwrap_or(now));
    }
    for job in open.into_iter().chain(ended) {
        if caller.may_see_job(view, &job)? {
            count(&mut points, grid, now, &job, &view.tasks(job.id)?);
        }
    }
    let step = grid.step as f64;
    let finish = |gathered: Gathered| {
        let Gathered { mut point, took: (total, count), busy } = gathered;
        point.seconds_per_song = (count > 0).then(|| total as f64 / 1000.0 / f64::from(count));
        point.nodes = busy.into_iter().map(|(node, busy)| (node, busy as f64 / step)).collect();
        point
    };
    Ok((points.into_iter().map(finish).collect(), complete_from))
}

/// Counts one job.
fn count(points: &mut [Gathered], grid: Grid, now: u64, job: &Job, tasks: &[Task]) {
    let history: Vec<_> = passages(job).collect();
    for (index, was) in history.iter().enumerate() {
        let until = history.get(index + 1).map_or(u64::MAX, |next| next.at);
        if was.state.is_open() {
            for gathered in points.iter_mut() {
                let at = (gathered.point.at + grid.step - 1).min(now);
                if (was.at..until).contains(&at) {
                    match was.state {
                        JobState::Pending => gathered.point.queued += 1,
                        _ => gathered.point.running += 1,
                    }
                }
            }
            continue;
        }
        let Some(gathered) = grid.index(was.at).and_then(|index| points.get_mut(index)) else { continue };
        match was.state {
            JobState::Done => {
                gathered.point.finished += 1;
                let began = history[..index].iter().rev().find(|was| was.state == JobState::Running);
                let began = began.map_or(job.created_at, |began| began.at);
                gathered.took.0 += was.at.saturating_sub(began);
                gathered.took.1 += 1;
            }
            JobState::Failed => gathered.point.failed += 1,
            _ => gathered.point.cancelled += 1,
        }
    }
    for attempt in tasks.iter().flat_map(|task| &task.attempts) {
        let ended = attempt.ended.unwrap_or(now);
        for index in grid.touched(attempt.started, ended) {
            let Some(gathered) = points.get_mut(index) else { continue };
            let (begin, end) = (gathered.point.at, gathered.point.at + grid.step);
            let busy = ended.min(end).saturating_sub(attempt.started.max(begin));
            *gathered.busy.entry(attempt.node).or_default() += busy;
        }
    }
}

#[cfg(test)]
mod tests {
    use state::{Attempt, Passage, Plan, Priority, Road, Selection, TaskId, TaskKind, TaskState};
    use storage::blobs::Hash;

    use super::*;

    fn job(history: &[(JobState, u64)]) -> Job {
        Job {
            id: 1,
            hash: Hash::of(b""),
            model: String::new(),
            formats: Vec::new(),
            plan: Plan { frames: 1, segments: 1, segments_per_task: 1 },
            format: String::new(),
            priority: Priority::Normal,
            owner: String::new(),
            road: Road::Inside,
            state: history.last().map_or(JobState::Pending, |was| was.0),
            tasks: 0,
            done: 0,
            max_attempts: 1,
            error: None,
            created_at: history.first().map_or(0, |was| was.1),
            finished_at: history.last().filter(|was| !was.0.is_open()).map(|was| was.1),
            stems: None,
            selection: Selection::All,
            history: history.iter().map(|(state, at)| Passage { state: *state, at: *at }).collect(),
        }
    }

    fn task(started: u64, ended: Option<u64>) -> Task {
        let id = TaskId { job: 1, index: 0 };
        let attempt = Attempt { number: 1, node: 2, started, ended, error: None, ending: None };
        let (kind, state) = (TaskKind::Merge, TaskState::Waiting);
        Task { id, kind, state, attempt: 1, failures: 0, attempts: vec![attempt], output: None }
    }

    #[test]
    fn jobs_are_counted_where_they_belong() {
        use JobState::{Done, Failed, Pending, Running};
        let grid = Grid { from: 1000, to: 5000, step: 1000 };
        let mut points = grid.points();
        let tried =
            job(&[(Pending, 500), (Running, 1500), (Failed, 2500), (Pending, 2600), (Running, 3100), (Done, 4100)]);
        count(&mut points, grid, 4500, &tried, &[task(1500, Some(3250)), task(4200, None), task(100, Some(900))]);
        let open = job(&[(Pending, 2000)]);
        count(&mut points, grid, 4500, &open, &[]);
        let shown: Vec<_> = points
            .iter()
            .map(|gathered| {
                let Point { finished, failed, queued, running, .. } = gathered.point;
                (finished, failed, queued, running, gathered.busy.get(&2).copied().unwrap_or(0), gathered.took)
            })
            .collect();
        assert_eq!(
            shown,
            [
                (0, 0, 0, 1, 500, (0, 0)),
                (0, 1, 2, 0, 1000, (0, 0)),
                (0, 0, 1, 1, 250, (0, 0)),
                (1, 0, 1, 0, 300, (1000, 1)),
            ]
        );
    }
}
