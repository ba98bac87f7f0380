//! The order in which open tasks are given to workers.
//!
//! Three decisions are made for each free slot, one after the other:
//!
//! 1. **Priority.** Of 21 tasks, 16 have high priority, 4 normal and 1 low, as long as tasks of all three wait. Urgent
//!    tasks come first and none starves. A priority without waiting tasks saves up no share.
//! 2. **Owner.** The owner with the fewest tasks at work; among equals the one whose last turn is the longest ago. A
//!    hundred songs of one user take at most every other slot from another user's single song.
//! 3. **Task.** A task of the latest stage, so that jobs end; else the next task of the oldest job.
//!
//! The choice is a pure function of the open jobs, of the dispatched tasks, and of the turns counted so far. Turns belong
//! to one term of leadership; a new leader counts from zero, which is unfair for a moment and never wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter::Peekable;

use state::Priority;

use super::open_jobs::OpenJobs;
use crate::Dispatch;

/// The priorities, and the virtual time that a turn of each takes. The one with the least virtual time is next.
const CLASSES: [(Priority, u64); 3] = [(Priority::High, 1), (Priority::Normal, 4), (Priority::Low, 16)];

/// The turns counted so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct FairQueue {
    /// The virtual time of each priority, in the order of [`CLASSES`].
    virtual_time: [u64; CLASSES.len()],
    /// The number of turns.
    turns: u64,
    /// Each owner's last turn.
    last: HashMap<String, u64>,
}

type Tasks<'a> = Peekable<Box<dyn Iterator<Item = Dispatch> + 'a>>;

impl FairQueue {
    /// Counts a turn of this priority and owner.
    pub(crate) fn count(&mut self, priority: Priority, owner: &str) {
        self.turns += 1;
        if let Some((class, (_, step))) = CLASSES.iter().enumerate().find(|(_, (known, _))| *known == priority) {
            self.virtual_time[class] += step;
        }
        match self.last.get_mut(owner) {
            Some(last) => *last = self.turns,
            None => drop(self.last.insert(owner.to_owned(), self.turns)),
        }
    }

    /// Advances priorities without waiting tasks along with the others, and drops owners without open jobs.
    pub(crate) fn rebalance(&mut self, jobs: &OpenJobs) {
        let mut waiting = [false; CLASSES.len()];
        let mut owners = HashSet::new();
        for job in jobs.iter() {
            owners.insert(job.owner.as_str());
            for (waits, (priority, _)) in waiting.iter_mut().zip(CLASSES) {
                *waits |= job.priority == priority && !job.pending.is_empty();
            }
        }
        self.last.retain(|owner, _| owners.contains(owner.as_str()));
        let virtual_time =
            self.virtual_time.iter().zip(waiting).filter(|(_, waits)| *waits).map(|(virtual_time, _)| *virtual_time);
        let Some(least) = virtual_time.min() else { return };
        for (virtual_time, waits) in self.virtual_time.iter_mut().zip(waiting) {
            if !waits {
                *virtual_time = least.max(*virtual_time);
            }
        }
    }

    /// At most `limit` pending tasks that are not among `dispatched`, in the order in which they should run. Dispatched
    /// tasks count as turns.
    pub(crate) fn choose(&self, jobs: &OpenJobs, dispatched: &[Dispatch], limit: usize) -> Vec<Dispatch> {
        let mut turns = self.clone();
        let mut busy: HashMap<&str, usize> = HashMap::new();
        for job in jobs.iter() {
            *busy.entry(&job.owner).or_default() += job.running.len();
        }
        for job in dispatched.iter().filter_map(|dispatch| jobs.job_of(dispatch)) {
            *busy.entry(&job.owner).or_default() += 1;
            turns.count(job.priority, &job.owner);
        }

        let dispatched: HashSet<&Dispatch> = dispatched.iter().collect();
        let mut queues = CLASSES.map(|(priority, _)| queues(jobs, priority, &dispatched));
        let mut chosen = Vec::new();
        while chosen.len() < limit {
            let waiting = (0..CLASSES.len()).filter(|class| !queues[*class].is_empty());
            let Some(class) = waiting.min_by_key(|class| turns.virtual_time[*class]) else { break };
            let next = queues[class].iter_mut().filter_map(|(owner, tasks)| {
                let first = tasks.peek()?;
                let last = turns.last.get(*owner).copied().unwrap_or(0);
                Some(((busy.get(owner).copied().unwrap_or(0), last, first.task.job), *owner))
            });
            let Some((_, owner)) = next.min() else { break };
            let Some(tasks) = queues[class].get_mut(owner) else { break };
            chosen.extend(tasks.next());
            if tasks.peek().is_none() {
                queues[class].remove(owner);
            }
            *busy.entry(owner).or_default() += 1;
            turns.count(CLASSES[class].0, owner);
        }
        chosen
    }
}

/// The pending tasks of one priority that are not dispatched, by owner.
fn queues<'a>(
    jobs: &'a OpenJobs,
    priority: Priority,
    dispatched: &'a HashSet<&Dispatch>,
) -> BTreeMap<&'a str, Tasks<'a>> {
    let mut by_owner: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.priority == priority && !job.pending.is_empty()) {
        by_owner.entry(&job.owner).or_default().push(job);
    }
    let queues = by_owner.into_iter().filter_map(|(owner, mut jobs)| {
        // The sort is stable, so the jobs stay in the order of their age.
        jobs.sort_by_key(|job| Reverse(job.pending[0].stage));
        let tasks =
            jobs.into_iter().flat_map(|job| &job.pending).filter(|dispatch| !dispatched.contains(dispatch)).copied();
        let tasks: Box<dyn Iterator<Item = Dispatch> + 'a> = Box::new(tasks);
        let mut tasks = tasks.peekable();
        tasks.peek().is_some().then_some((owner, tasks))
    });
    queues.collect()
}

#[cfg(test)]
mod tests {
    use state::{TaskId, TaskKind};

    use super::super::open_jobs::{OpenJob, RunningTask};
    use super::*;

    fn part(job: u64, index: u32) -> Dispatch {
        Dispatch {
            task: TaskId { job, index },
            attempt: 1,
            kind: TaskKind::Separate { first: index, count: 1 },
            stage: 0,
        }
    }

    fn job(id: u64, owner: &str, priority: Priority, tasks: u32) -> (u64, OpenJob) {
        let pending = (0..tasks).map(|index| part(id, index)).collect();
        (id, OpenJob { priority, owner: owner.into(), pending, running: Vec::new() })
    }

    fn open(jobs: impl IntoIterator<Item = (u64, OpenJob)>) -> OpenJobs {
        let mut open = OpenJobs::default();
        for (id, job) in jobs {
            open.insert(id, job);
        }
        open
    }

    /// Workers with `slots` slots take what is chosen until nothing is left; the task that began first ends first.
    /// Returns the tasks in the order in which they were given.
    fn run_all(mut jobs: BTreeMap<u64, OpenJob>, slots: usize) -> Vec<Dispatch> {
        let (mut queue, mut given, mut running) = (FairQueue::default(), Vec::new(), Vec::new());
        loop {
            let now = open(jobs.clone());
            queue.rebalance(&now);
            let Some(next) = queue.choose(&now, &[], 1).first().copied() else { return given };
            let job = jobs.get_mut(&next.task.job).unwrap();
            job.pending.retain(|dispatch| *dispatch != next);
            job.running.push(RunningTask { dispatch: next, node: 0, audio_seconds: 1 });
            queue.count(job.priority, &job.owner);
            given.push(next);
            running.push(next);
            if running.len() == slots {
                let ended = running.remove(0);
                jobs.get_mut(&ended.task.job).unwrap().running.retain(|running| running.dispatch != ended);
            }
        }
    }

    fn jobs_of(given: &[Dispatch]) -> Vec<u64> {
        given.iter().map(|dispatch| dispatch.task.job).collect()
    }

    #[test]
    fn a_hundred_songs_of_one_owner_do_not_starve_the_single_song_of_another() {
        for slots in [1, 3, 8] {
            let hundred = (1..=100).map(|id| job(id, "ann", Priority::Normal, 5));
            let given = run_all(hundred.chain([job(101, "bob", Priority::Normal, 5)]).collect(), slots);
            assert_eq!(given.len(), 505);
            let last = given.iter().rposition(|dispatch| dispatch.task.job == 101).unwrap();
            assert!(last < 10, "with {slots} slots, bob's last task was number {last}");
            // The jobs of one owner keep their order.
            let anns: Vec<u64> = jobs_of(&given).into_iter().filter(|job| *job != 101).collect();
            assert!(anns.is_sorted());
        }
    }

    #[test]
    fn owners_take_turns_and_dispatched_tasks_count() {
        let now = open([
            job(1, "ann", Priority::Normal, 9),
            job(2, "bob", Priority::Normal, 9),
            job(3, "cay", Priority::Normal, 9),
        ]);
        assert_eq!(jobs_of(&FairQueue::default().choose(&now, &[], 6)), [1, 2, 3, 1, 2, 3]);
        let dispatched = [part(1, 0), part(1, 1)];
        let chosen = FairQueue::default().choose(&now, &dispatched, 5);
        assert_eq!(jobs_of(&chosen), [2, 3, 2, 3, 1]);
        assert!(chosen.iter().all(|dispatch| !dispatched.contains(dispatch)));
        assert!(FairQueue::default().choose(&now, &dispatched, 0).is_empty());
    }

    #[test]
    fn running_tasks_count() {
        let (id, mut busy) = job(1, "ann", Priority::Normal, 3);
        busy.running = vec![RunningTask { dispatch: part(1, 7), node: 0, audio_seconds: 1 }; 2];
        let now = open([(id, busy), job(2, "bob", Priority::Normal, 3)]);
        assert_eq!(jobs_of(&FairQueue::default().choose(&now, &[], 4)), [2, 2, 1, 2]);
    }

    #[test]
    fn urgent_jobs_come_first_and_others_do_not_starve() {
        let jobs = [
            job(1, "ann", Priority::Low, 200),
            job(2, "ann", Priority::Normal, 200),
            job(3, "ann", Priority::High, 200),
        ];
        let given = jobs_of(&run_all(jobs.into(), 3));
        assert_eq!(given[0], 3);
        let count = |job: u64| given[..84].iter().filter(|given| **given == job).count();
        assert_eq!((count(3), count(2), count(1)), (64, 16, 4));
    }

    #[test]
    fn a_priority_without_waiting_tasks_saves_up_no_share() {
        let mut queue = FairQueue::default();
        let high = open([job(1, "ann", Priority::High, 1000)]);
        for _ in 0..500 {
            queue.rebalance(&high);
            queue.count(Priority::High, "ann");
        }
        let both = open([job(1, "ann", Priority::High, 500), job(2, "ann", Priority::Low, 100)]);
        queue.rebalance(&both);
        let chosen = jobs_of(&queue.choose(&both, &[], 34));
        assert_eq!(chosen.iter().filter(|job| **job == 2).count(), 2, "{chosen:?}");
    }

    #[test]
    fn later_stages_go_before_earlier_stages_of_older_jobs() {
        let (id, mut merge) = job(2, "ann", Priority::Normal, 1);
        (merge.pending[0].kind, merge.pending[0].stage) = (TaskKind::Merge, 1);
        let now = open([job(1, "ann", Priority::Normal, 2), (id, merge)]);
        assert_eq!(jobs_of(&FairQueue::default().choose(&now, &[], 9)), [2, 1, 1]);
    }

    #[test]
    fn owners_without_open_jobs_are_dropped() {
        let mut queue = FairQueue::default();
        queue.count(Priority::Normal, "ann");
        queue.rebalance(&open([job(1, "bob", Priority::Normal, 1)]));
        assert!(queue.last.is_empty());
    }
}
