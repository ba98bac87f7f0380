//! The files that the state refers to, and the models.

use std::collections::HashSet;

use storage::blobs::Hash;

use crate::tables::{JOBS, MODELS, SONGS};
use crate::{Model, Read, View, ViewError};

impl View {
    /// A model.
    pub fn model(&self, name: &str) -> Result<Option<Model>, ViewError> {
        self.get(MODELS, name)
    }

    /// All models, in the order of their names.
    pub fn models(&self) -> Result<Vec<Model>, ViewError> {
        self.list(MODELS, MODELS.all())
    }

    /// Every file that the state refers to: [`View::files`], and the outputs of the tasks of jobs that are not done.
    pub fn references(&self) -> Result<HashSet<Hash>, ViewError> {
        let mut found = self.files()?;
        self.each(JOBS, |job| {
            if job.result.is_none() {
                for output in self.tasks(job.id)?.into_iter().filter_map(|task| task.output) {
                    found.extend(output.files());
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Every file of which a majority of the nodes should hold a replica: songs, covers, models and the results of jobs.
    pub fn files(&self) -> Result<HashSet<Hash>, ViewError> {
        let mut found = HashSet::new();
        self.each(SONGS, |song| {
            found.insert(song.hash);
            found.extend(song.credits.cover.map(|cover| cover.hash));
            Ok(())
        })?;
        for model in self.models()? {
            found.extend(model.files.iter().map(|file| file.hash));
        }
        self.each(JOBS, |job| {
            found.extend(job.result.iter().flat_map(|result| result.files()));
            Ok(())
        })?;
        Ok(found)
    }
}
