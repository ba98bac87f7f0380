//! Whose turn it is: the order in which open tasks are given to workers.
//!
//! Three questions are asked of each free place, one after the other:
//!
//! 1. **Which priority?** Of 21 tasks, 16 are of high priority, 4 of normal and 1 of low as long as all three wait. So
//!    what is urgent comes first and nothing waits for ever. A priority of which nothing waits saves nothing up.
//! 2. **Whose?** The owner with the fewest tasks at work; among equals the one whose last turn is the longest ago. So a
//!    hundred songs of one take no more than every other place from another's single one.
//! 3. **Which task?** A merge, so that jobs end; else the next task of the oldest job.
//!
//! Everything here is a pure function of the board, of the hints that are out, and of the turns taken so far. Those
//! belong to one term of leadership; a new leader counts from nothing, which is unfair for a moment and never wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter::Peekable;

use state::Priority;

use super::Hint;
use super::board::Board;

/// The priorities, and how far a turn of each moves it on. The one that has moved the least is next.
const CLASSES: [(Priority, u64); 3] = [(Priority::High, 1), (Priority::Normal, 4), (Priority::Low, 16)];

/// The turns that were taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    /// How far each priority has moved, in the order of [`CLASSES`].
    moved: [u64; CLASSES.len()],
    /// Counts the turns.
    count: u64,
    /// Each owner's last turn.
    last: HashMap<String, u64>,
}

type Tasks<'a> = Peekable<Box<dyn Iterator<Item = Hint> + 'a>>;

impl Turns {
    /// Notes that a task of this priority and owner was given away.
    pub(crate) fn take(&mut self, priority: Priority, owner: &str) {
        self.count += 1;
        if let Some((class, (_, step))) = CLASSES.iter().enumerate().find(|(_, (known, _))| *known == priority) {
            self.moved[class] += step;
        }
        match self.last.get_mut(owner) {
            Some(last) => *last = self.count,
            None => drop(self.last.insert(owner.to_owned(), self.count)),
        }
    }

    /// Moves the priorities of which nothing waits along with the others, and forgets owners who have nothing open.
    pub(crate) fn level(&mut self, board: &Board) {
        let mut waiting = [false; CLASSES.len()];
        let mut owners = HashSet::new();
        for job in board.jobs() {
            owners.insert(job.owner.as_str());
            for (waits, (priority, _)) in waiting.iter_mut().zip(CLASSES) {
                *waits |= job.priority == priority && !job.pending.is_empty();
            }
        }
        self.last.retain(|owner, _| owners.contains(owner.as_str()));
        let moved = self.moved.iter().zip(waiting).filter(|(_, waits)| *waits).map(|(moved, _)| *moved);
        let Some(least) = moved.min() else { return };
        for (moved, waits) in self.moved.iter_mut().zip(waiting) {
            if !waits {
                *moved = least.max(*moved);
            }
        }
    }

    /// At most `room` of the board's pending tasks that are not `out` yet, in the order in which they should be done.
    /// What is out counts as given.
    pub(crate) fn choose(&self, board: &Board, out: &[Hint], room: usize) -> Vec<Hint> {
        let mut turns = self.clone();
        let mut busy: HashMap<&str, usize> = HashMap::new();
        for job in board.jobs() {
            *busy.entry(&job.owner).or_default() += job.running.len();
        }
        for job in out.iter().filter_map(|hint| board.job(hint)) {
            *busy.entry(&job.owner).or_default() += 1;
            turns.take(job.priority, &job.owner);
        }

        let out: HashSet<&Hint> = out.iter().collect();
        let mut queues = CLASSES.map(|(priority, _)| queues(board, priority, &out));
        let mut chosen = Vec::new();
        while chosen.len() < room {
            let waiting = (0..CLASSES.len()).filter(|class| !queues[*class].is_empty());
            let Some(class) = waiting.min_by_key(|class| turns.moved[*class]) else { break };
            let next = queues[class].iter_mut().filter_map(|(owner, tasks)| {
                let first = tasks.peek()?;
                let last = turns.last.get(*owner).copied().unwrap_or(0);
                Some(((busy.get(owner).copied().unwrap_or(0), last, first.job), *owner))
            });
            let Some((_, owner)) = next.min() else { break };
            let Some(tasks) = queues[class].get_mut(owner) else { break };
            chosen.extend(tasks.next());
            if tasks.peek().is_none() {
                queues[class].remove(owner);
            }
            *busy.entry(owner).or_default() += 1;
            turns.take(CLASSES[class].0, owner);
        }
        chosen
    }
}

/// The tasks of one priority that wait and are not out, for each owner who has any.
fn queues<'a>(board: &'a Board, priority: Priority, out: &'a HashSet<&Hint>) -> BTreeMap<&'a str, Tasks<'a>> {
    let mut jobs: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for job in board.jobs().filter(|job| job.priority == priority && !job.pending.is_empty()) {
        jobs.entry(&job.owner).or_default().push(job);
    }
    let queues = jobs.into_iter().filter_map(|(owner, mut jobs)| {
        // The sort is stable, so the jobs stay in the order of their age.
        jobs.sort_by_key(|job| Reverse(job.pending[0].merge));
        let tasks = jobs.into_iter().flat_map(|job| &job.pending).filter(|hint| !out.contains(hint)).copied();
        let tasks: Box<dyn Iterator<Item = Hint> + 'a> = Box::new(tasks);
        let mut tasks = tasks.peekable();
        tasks.peek().is_some().then_some((owner, tasks))
    });
    queues.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::board::{Claim, OpenJob};
    use super::*;

    fn hint(job: u64, index: u32) -> Hint {
        Hint { job, index, attempt: 1, merge: false }
    }

    fn job(id: u64, owner: &str, priority: Priority, tasks: u32) -> (u64, OpenJob) {
        let pending = (0..tasks).map(|index| hint(id, index)).collect();
        (id, OpenJob { priority, owner: owner.into(), pending, running: Vec::new() })
    }

    fn board(jobs: impl IntoIterator<Item = (u64, OpenJob)>) -> Board {
        let mut board = Board::default();
        for (id, job) in jobs {
            board.put(id, job);
        }
        board
    }

    /// Workers with `places` places take what is chosen until nothing is left, each time the one that began first
    /// ending first; returns the tasks in the order in which they were given.
    fn worked_off(mut jobs: BTreeMap<u64, OpenJob>, places: usize) -> Vec<Hint> {
        let (mut turns, mut given, mut at_work) = (Turns::default(), Vec::new(), Vec::new());
        loop {
            let now = board(jobs.clone());
            turns.level(&now);
            let Some(next) = turns.choose(&now, &[], 1).first().copied() else { return given };
            let job = jobs.get_mut(&next.job).unwrap();
            job.pending.retain(|hint| *hint != next);
            job.running.push(Claim { hint: next, node: 0, seconds: 1 });
            turns.take(job.priority, &job.owner);
            given.push(next);
            at_work.push(next);
            if at_work.len() == places {
                let ended = at_work.remove(0);
                jobs.get_mut(&ended.job).unwrap().running.retain(|claim| claim.hint != ended);
            }
        }
    }

    fn jobs_of(given: &[Hint]) -> Vec<u64> {
        given.iter().map(|hint| hint.job).collect()
    }

    #[test]
    fn a_hundred_songs_of_one_do_not_starve_anothers_single_one() {
        for places in [1, 3, 8] {
            let hundred = (1..=100).map(|id| job(id, "ann", Priority::Normal, 5));
            let given = worked_off(hundred.chain([job(101, "bob", Priority::Normal, 5)]).collect(), places);
            assert_eq!(given.len(), 505);
            let last = given.iter().rposition(|hint| hint.job == 101).unwrap();
            assert!(last < 10, "with {places} places, bob's last task was the {last}th");
            // And ann's own songs go on in their order.
            let anns: Vec<u64> = jobs_of(&given).into_iter().filter(|job| *job != 101).collect();
            assert!(anns.is_sorted());
        }
    }

    #[test]
    fn owners_take_turns_whatever_is_out() {
        let now = board([
            job(1, "ann", Priority::Normal, 9),
            job(2, "bob", Priority::Normal, 9),
            job(3, "cay", Priority::Normal, 9),
        ]);
        assert_eq!(jobs_of(&Turns::default().choose(&now, &[], 6)), [1, 2, 3, 1, 2, 3]);
        // What is out is not given again, and counts.
        let out = [hint(1, 0), hint(1, 1)];
        let chosen = Turns::default().choose(&now, &out, 5);
        assert_eq!(jobs_of(&chosen), [2, 3, 2, 3, 1]);
        assert!(chosen.iter().all(|hint| !out.contains(hint)));
        assert!(Turns::default().choose(&now, &out, 0).is_empty());
    }

    #[test]
    fn what_is_at_work_counts() {
        let (id, mut busy) = job(1, "ann", Priority::Normal, 3);
        busy.running = vec![Claim { hint: hint(1, 7), node: 0, seconds: 1 }; 2];
        let now = board([(id, busy), job(2, "bob", Priority::Normal, 3)]);
        assert_eq!(jobs_of(&Turns::default().choose(&now, &[], 4)), [2, 2, 1, 2]);
    }

    #[test]
    fn urgent_jobs_come_first_and_the_others_do_not_starve() {
        let jobs = [
            job(1, "ann", Priority::Low, 200),
            job(2, "ann", Priority::Normal, 200),
            job(3, "ann", Priority::High, 200),
        ];
        let given = jobs_of(&worked_off(jobs.into(), 3));
        assert_eq!(given[0], 3);
        let count = |job: u64| given[..84].iter().filter(|given| **given == job).count();
        assert_eq!((count(3), count(2), count(1)), (64, 16, 4));
    }

    #[test]
    fn a_priority_of_which_nothing_waits_saves_nothing_up() {
        let mut turns = Turns::default();
        let high = board([job(1, "ann", Priority::High, 1000)]);
        for _ in 0..500 {
            turns.level(&high);
            turns.take(Priority::High, "ann");
        }
        let both = board([job(1, "ann", Priority::High, 500), job(2, "ann", Priority::Low, 100)]);
        turns.level(&both);
        let chosen = jobs_of(&turns.choose(&both, &[], 34));
        assert_eq!(chosen.iter().filter(|job| **job == 2).count(), 2, "{chosen:?}");
    }

    #[test]
    fn merges_go_before_parts_of_older_jobs() {
        let (id, mut merge) = job(2, "ann", Priority::Normal, 1);
        merge.pending[0].merge = true;
        let now = board([job(1, "ann", Priority::Normal, 2), (id, merge)]);
        assert_eq!(jobs_of(&Turns::default().choose(&now, &[], 9)), [2, 1, 1]);
    }

    #[test]
    fn owners_who_have_nothing_open_are_forgotten() {
        let mut turns = Turns::default();
        turns.take(Priority::Normal, "ann");
        turns.level(&board([job(1, "bob", Priority::Normal, 1)]));
        assert!(turns.last.is_empty());
    }
}
