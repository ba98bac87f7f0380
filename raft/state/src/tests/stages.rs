//! The order of tasks, with a kind of job that no release has: three stages, no songs, and a job for each request.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::Machine;
use crate::command::{ClaimTask, FinishTask, Refusal, ReopenTask};
use crate::jobs::request;
use crate::jobs::spec::{JobResult, Spec};
use crate::{JobOptions, JobSpec, JobState, Output, Stems, Task, TaskId, TaskKind, TaskState};

/// See the module's page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planted;

const PART: TaskKind = TaskKind::Separate { first: 0, count: 1 };

impl Spec for Planted {
    fn stages(&self) -> Vec<Vec<TaskKind>> {
        vec![vec![PART; 2], vec![PART; 2], vec![TaskKind::Merge]]
    }

    fn dedup_key(&self) -> Option<String> {
        None
    }

    fn file(&self) -> Option<&Hash> {
        None
    }

    fn accepts(&self, kind: TaskKind, output: &Output) -> bool {
        (kind == TaskKind::Merge) == matches!(output, Output::Stems(_))
    }

    fn result(&self, tasks: Vec<Task>) -> Option<JobResult> {
        tasks.into_iter().find_map(|task| match task.output {
            Some(Output::Stems(stems)) => Some(JobResult::Separation(stems)),
            _ => None,
        })
    }

    fn audio_seconds(&self, _: TaskKind) -> u64 {
        1
    }
}

fn add(machine: &mut Machine) -> u64 {
    let options = JobOptions { max_attempts: 3, ..JobOptions::default() };
    machine.change(|state| request::find_or_add(state, JobSpec::Planted(Planted), &options, 0)).unwrap()
}

fn task(index: u32) -> TaskId {
    TaskId { job: 1, index }
}

/// The tasks that are pending or running.
fn open(machine: &Machine) -> Vec<u32> {
    machine.view().open_tasks_of(1).unwrap().iter().map(|task| task.id.index).collect()
}

fn claim(machine: &mut Machine, index: u32) -> Result<u32, Refusal> {
    let attempt = machine.view().task(task(index)).unwrap().unwrap().attempt;
    machine.apply(ClaimTask { task: task(index), attempt, node: 0, at: 0 })?;
    Ok(attempt)
}

fn finish(machine: &mut Machine, index: u32, attempt: u32, output: Output) -> Result<(), Refusal> {
    let finish = FinishTask { task: task(index), attempt, node: 0, output, lines: Vec::new(), at: 0 };
    machine.apply(finish).map(|_| ())
}

fn part() -> Output {
    Output::Part(Hash::of(b"part"))
}

fn work(machine: &mut Machine, index: u32) {
    let attempt = claim(machine, index).unwrap();
    finish(machine, index, attempt, part()).unwrap();
}

#[test]
fn a_stage_opens_when_the_stages_before_are_done() {
    let mut machine = Machine::new();
    assert_eq!(add(&mut machine), 1);
    assert_eq!(add(&mut machine), 2, "without a dedup key no request joins another one's job");
    assert_eq!(open(&machine), [0, 1]);
    assert_eq!(claim(&mut machine, 2), Err(Refusal::ClaimLost));
    work(&mut machine, 1);
    assert_eq!(open(&machine), [0]);
    work(&mut machine, 0);
    assert_eq!(open(&machine), [2, 3]);
    work(&mut machine, 2);
    work(&mut machine, 3);
    assert_eq!(open(&machine), [4]);

    let attempt = claim(&mut machine, 4).unwrap();
    assert_eq!(finish(&mut machine, 4, attempt, part()), Err(Refusal::WrongOutput(task(4))));
    let stems = Stems { files: Default::default(), facts: None, peaks: None };
    finish(&mut machine, 4, attempt, Output::Stems(stems.clone())).unwrap();
    let job = machine.view().job(1).unwrap().unwrap();
    assert_eq!((job.state, job.done, job.stems()), (JobState::Done, 5, Some(&stems)));
    assert!(machine.view().tasks(1).unwrap().iter().all(|task| task.output.is_none()));
}

#[test]
fn later_stages_wait_again_while_an_earlier_task_is_done_again() {
    let mut machine = Machine::new();
    add(&mut machine);
    for index in [0, 1, 2] {
        work(&mut machine, index);
    }
    let lost = claim(&mut machine, 3).unwrap();
    machine.apply(ReopenTask { task: task(0), reason: "its part is lost".into(), at: 0 }).unwrap();
    assert_eq!(open(&machine), [0]);
    assert_eq!(finish(&mut machine, 3, lost, part()), Err(Refusal::ClaimLost));
    let state = |machine: &Machine, index| machine.view().task(task(index)).unwrap().unwrap().state;
    assert_eq!((state(&machine, 2), state(&machine, 3)), (TaskState::Done { node: 0 }, TaskState::Waiting));

    // A task of a later stage that is reopened meanwhile waits as well.
    machine.apply(ReopenTask { task: task(2), reason: "its part is lost".into(), at: 0 }).unwrap();
    assert_eq!(open(&machine), [0]);
    work(&mut machine, 0);
    assert_eq!(open(&machine), [2, 3]);
    work(&mut machine, 3);
    work(&mut machine, 2);
    assert_eq!(open(&machine), [4]);
}
