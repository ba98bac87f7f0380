//! The models that Demucs' authors released (`demucs/remote/files.txt` and the bags beside it), as far as their
//! architecture is built here.

use super::Manifest;

/// Where the released files lie.
pub const OFFICIAL: &str = "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/";

/// A released model.
#[derive(Debug, Clone, Copy)]
pub struct Released {
    /// Its name.
    pub name: &'static str,
    /// What it is, for people who choose.
    pub about: &'static str,
    /// Its files. The eight digits before the extension begin the SHA-256.
    pub files: &'static [&'static str],
    /// About how much there is to download, in millions of bytes.
    pub megabytes: u32,
    /// Each file serves one stem, in the order of the files.
    one_each: bool,
    /// How many seconds it separates at a time, if the checkpoint does not say so itself.
    segment: Option<f64>,
}

/// All of them.
pub const RELEASED: [Released; 4] = [
    Released {
        name: "htdemucs",
        about: "Hybrid Transformer Demucs: vocals, drums, bass and other; the usual choice",
        files: &["955717e8-8726e21a.th"],
        megabytes: 84,
        one_each: false,
        segment: None,
    },
    Released {
        name: "htdemucs_ft",
        about: "the same, fine-tuned for each stem: a little better, four times slower",
        files: &["f7e0c4bc-ba3fe64a.th", "d12395a8-e57c48e6.th", "92cfc3b6-ef3bcb9c.th", "04573f0d-f3cf25b2.th"],
        megabytes: 336,
        one_each: true,
        segment: None,
    },
    Released {
        name: "htdemucs_6s",
        about: "six stems: guitar and piano too; its piano is weak",
        files: &["5c90dfd2-34c22ccb.th"],
        megabytes: 55,
        one_each: false,
        segment: None,
    },
    Released {
        name: "hdemucs_mmi",
        about: "Hybrid Demucs, the version before, without a transformer",
        files: &["75fc33f5-1941ce65.th"],
        megabytes: 167,
        one_each: false,
        segment: Some(44.0),
    },
];

impl Released {
    /// The model of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        RELEASED.iter().find(|released| released.name == name)
    }

    /// Its files and weights.
    pub fn manifest(&self) -> Manifest {
        let count = self.files.len();
        let row = |file| (0..count).map(|stem| f32::from(u8::from(stem == file))).collect();
        Manifest {
            files: self.files.iter().map(|file| (*file).into()).collect(),
            weights: self.one_each.then(|| (0..count).map(row).collect()),
            segment: self.segment,
        }
    }
}
