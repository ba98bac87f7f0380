//! Statistics over time, for charts. They are computed from the jobs in the state, so they are the same at every node
//! and survive restarts. Deleted jobs do not count.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use state::View;
use state::{Job, JobState, Task};
use utoipa::{IntoParams, ToSchema};

use super::jobs::history_of;
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::clock::now;
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::query::Query;

/// The longest time span, in seconds: 31 days.
const LONGEST: u64 = 31 * 24 * 3600;
/// The most points of a series.
const MOST_POINTS: u64 = 1500;
/// The most jobs that are counted: open jobs, and then those that ended last.
const LOOKED_AT: usize = 10_000;

/// The parameters of a series.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesQuery {
    /// The time span up to now in seconds, at most 31 days. The default is 3600.
    #[param(minimum = 1, maximum = 2_678_400)]
    span: Option<u64>,
    /// The seconds per point. The default is a sixtieth of the span. A series has at most 1500 points.
    #[param(minimum = 1, maximum = 2_678_400)]
    step: Option<u64>,
}

/// A point of a series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Point {
    /// The start of the point, in milliseconds since 1970.
    pub(crate) at: u64,
    /// Jobs that finished.
    pub(crate) finished: u32,
    /// Jobs that failed.
    pub(crate) failed: u32,
    /// Jobs that were cancelled.
    pub(crate) cancelled: u32,
    /// Jobs that were waiting for their first worker at the end of the point; in the last point, now.
    pub(crate) queued: u32,
    /// Jobs that were running at that time.
    pub(crate) running: u32,
    /// The mean duration of the finished jobs in seconds, from the start of the first task; null without finished jobs.
    pub(crate) seconds_per_song: Option<f64>,
    /// The mean number of running tasks by node. With one worker, this is its utilization.
    pub(crate) nodes: BTreeMap<u64, f64>,
}

/// A series.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SeriesData {
    /// The points, oldest first.
    pub(crate) series: Vec<Point>,
    /// The time from which the series is complete, in milliseconds since 1970: of very many jobs only the latest count.
    pub(crate) complete_from: u64,
    /// The seconds per point.
    pub(crate) step: u64,
}

/// A time span in steps, in milliseconds since 1970.
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

    /// The points that overlap the time from `begin` to `end`.
    fn touched(&self, begin: u64, end: u64) -> Range<usize> {
        let (begin, end) = (begin.max(self.from), end.min(self.to));
        match (begin < end, self.index(begin)) {
            (true, Some(first)) => first..usize::try_from((end - self.from).div_ceil(self.step)).unwrap_or(usize::MAX),
            _ => 0..0,
        }
    }
}

/// A point that is being computed.
struct Gathered {
    point: Point,
    /// The total duration of the finished jobs in milliseconds, and their number.
    took: (u64, u32),
    /// Milliseconds of running tasks, by node.
    busy: BTreeMap<u64, u64>,
}

/// Returns statistics over time: finished, failed, cancelled and waiting jobs, durations, and the load of each node.
///
/// Only jobs that the caller may see count, and at most 10000 of them.
#[utoipa::path(get, path = "/stats/series", tag = "jobs", params(SeriesQuery), responses(
    (status = 200, body = Answer<SeriesData>),
))]
pub(crate) async fn series(
    state: State,
    auth: RequestAuth,
    query: Result<Query<SeriesQuery>, ApiError>,
) -> Result<Answer<SeriesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let Query(SeriesQuery { span, step }) = query?;
        let span = span.unwrap_or(3600);
        let step = step.unwrap_or_else(|| (span / 60).max(1));
        let fits = |seconds| (1..=LONGEST).contains(&seconds);
        if !fits(span) || !fits(step) || span.div_ceil(step) > MOST_POINTS {
            return Err(ApiError::Malformed(format!(
                "Invalid range: use a `span` and a `step` of 1 to {LONGEST} seconds, and at most {MOST_POINTS} points."
            )));
        }
        let now = now();
        // Points begin at multiples of the step, so that they do not move while time passes.
        let to = (now / 1000 / step + 1) * step * 1000;
        let grid = Grid { from: to.saturating_sub(span.div_ceil(step) * step * 1000), to, step: step * 1000 };
        let (series, complete_from) = gather(view, caller, grid, now)?;
        Ok(Answer::with(SeriesData { series, complete_from, step }))
    };
    state.read_for(&auth, look).await
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

/// Counts a job.
fn count(points: &mut [Gathered], grid: Grid, now: u64, job: &Job, tasks: &[Task]) {
    let history: Vec<_> = history_of(job).collect();
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
    use state::{
        Attempt, Executor, JobSpec, Plan, Priority, Selection, Separation, TaskId, TaskKind, TaskState, Transition,
    };
    use storage::blobs::Hash;

    use super::*;

    fn job(history: &[(JobState, u64)]) -> Job {
        Job {
            id: 1,
            owner: String::new(),
            priority: Priority::Normal,
            executor: Executor::Cluster,
            state: history.last().map_or(JobState::Pending, |was| was.0),
            tasks: 0,
            done: 0,
            max_attempts: 1,
            error: None,
            created_at: history.first().map_or(0, |was| was.1),
            finished_at: history.last().filter(|was| !was.0.is_open()).map(|was| was.1),
            history: history.iter().map(|(state, at)| Transition { state: *state, at: *at }).collect(),
            spec: JobSpec::Separation(Separation {
                hash: Hash::of(b""),
                format: String::new(),
                model: String::new(),
                formats: Vec::new(),
                plan: Plan { frames: 1, segments: 1, segments_per_task: 1 },
                selection: Selection::All,
            }),
            result: None,
        }
    }

    fn task(started: u64, ended: Option<u64>) -> Task {
        let id = TaskId { job: 1, index: 0 };
        let attempt = Attempt { number: 1, node: 2, started, ended, error: None, ending: None };
        let (kind, state) = (TaskKind::Merge, TaskState::Waiting);
        Task { id, kind, stage: 1, state, attempt: 1, failures: 0, attempts: vec![attempt], output: None }
    }

    #[test]
    fn jobs_are_counted_in_their_points() {
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
