//! The files that the state refers to, and the models that are made of some.

use std::collections::HashSet;

use storage::blobs::Hash;

use crate::{Job, Model, Output, Read, Song, View, ViewError, keys};

impl View {
    /// A model that was added to the cluster.
    pub fn model(&self, name: &str) -> Result<Option<Model>, ViewError> {
        self.value(&keys::model(name))
    }

    /// All models that were added to the cluster, in the order of their names.
    pub fn models(&self) -> Result<Vec<Model>, ViewError> {
        self.values(keys::models())
    }

    /// Every file that the state refers to: [`View::files`], and the parts of jobs that are not done.
    pub fn references(&self) -> Result<HashSet<Hash>, ViewError> {
        let mut found = self.files()?;
        self.each(keys::jobs(None), |job: Job| {
            if job.stems.is_none() {
                found.extend(self.tasks(job.id)?.iter().filter_map(|task| match task.output {
                    Some(Output::Part(part)) => Some(part),
                    _ => None,
                }));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Every file of which a majority of the nodes should hold a copy: songs with their covers, models and stems.
    pub fn files(&self) -> Result<HashSet<Hash>, ViewError> {
        let mut found = HashSet::new();
        self.each(keys::songs(None), |song: Song| {
            found.insert(song.hash);
            found.extend(song.credits.cover.map(|cover| cover.hash));
            Ok(())
        })?;
        for model in self.models()? {
            found.extend(model.files.iter().map(|file| file.hash));
        }
        self.each(keys::jobs(None), |job: Job| {
            if let Some(stems) = job.stems {
                found.extend(stems.files.values().flat_map(|files| files.values().copied()).chain(stems.peaks));
            }
            Ok(())
        })?;
        Ok(found)
    }
}
