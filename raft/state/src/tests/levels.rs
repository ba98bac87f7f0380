//! Feature levels, with a command that only the next one has.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Machine;
use crate::command::apply::{Applied, Apply};
use crate::command::{Answer, Refusal, SetLevel};
use crate::{ClusterMeta, FEATURE_LEVEL, Transaction};

const NEXT: u32 = FEATURE_LEVEL + 1;

/// A command that the next feature level introduces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextLevel;

impl Apply for NextLevel {
    const SINCE: u32 = NEXT;

    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        Ok(Ok(Answer::Made(state.next("planted")?)))
    }
}

#[test]
fn commands_are_refused_below_the_level_that_introduced_them() {
    let mut machine = Machine::new();
    let cluster = Uuid::new_v4();
    let not_yet = Err(Refusal::NotYet { needed: NEXT, level: FEATURE_LEVEL });
    // A cluster without a name is at the first level.
    assert_eq!(machine.apply(NextLevel), not_yet);
    machine.apply(SetLevel { level: FEATURE_LEVEL, cluster }).unwrap();
    let request = Uuid::new_v4();
    assert_eq!(machine.apply_as(request, &NextLevel.into()), (not_yet.clone(), Vec::new()));

    machine.apply(SetLevel { level: NEXT, cluster: Uuid::new_v4() }).unwrap();
    assert!(machine.view().has_level(NEXT).unwrap() && !machine.view().has_level(NEXT + 1).unwrap());
    assert_eq!(machine.apply(NextLevel), Ok(Answer::Made(1)));
    // A repeated request still has the same answer.
    assert_eq!(machine.apply_as(request, &NextLevel.into()).0, not_yet);

    // The level never falls, and the name stays.
    machine.apply(SetLevel { level: FEATURE_LEVEL, cluster }).unwrap();
    assert_eq!(machine.view().cluster_meta().unwrap(), Some(ClusterMeta { cluster, level: NEXT }));
}
