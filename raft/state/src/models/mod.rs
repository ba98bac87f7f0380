//! Models of the cluster. Their checkpoints are files like any others: a majority of the nodes holds them, and the others
//! fetch them when they need them.

pub(crate) mod types;

use serde::{Deserialize, Serialize};

use self::types::Model;
use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, refuse};
use crate::tables::MODELS;
use crate::{Read, Transaction};

/// Adds a model whose files a majority of the nodes holds. Adding the same model again changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddModel {
    /// The model.
    pub model: Box<Model>,
}

impl Apply for AddModel {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let model = &*self.model;
        if let Some(known) = state.get(MODELS, &*model.name)? {
            let same = Model { added_at: known.added_at, ..model.clone() } == known;
            return if same { DONE } else { Ok(Err(Refusal::ModelTaken(model.name.clone()))) };
        }
        state.put(MODELS, &*model.name, model)?;
        DONE
    }
}

/// Removes a model. Jobs that still need it fail when their next task begins; finished ones stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveModel {
    /// Its name.
    pub name: String,
}

impl Apply for RemoveModel {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        if !state.has(MODELS, &*self.name)? {
            refuse!(Refusal::NoSuchModel(self.name.clone()));
        }
        state.delete(MODELS, &*self.name);
        DONE
    }
}
