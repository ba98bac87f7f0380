//! The models that Demucs' authors released (`demucs/remote/files.txt` and the bags beside it) and whose architecture
//! is in the registry.

use super::manifest::Manifest;

/// The address of the released files.
pub const OFFICIAL: &str = "https://dl.fbaipublicfiles.com/demucs/hybrid_transformer/";

/// A released model.
#[derive(Debug, Clone, Copy)]
pub struct Released {
    /// Its name.
    pub name: &'static str,
    /// A description for users.
    pub about: &'static str,
    /// The architecture of its networks.
    architecture: &'static str,
    /// Its files. The eight hexadecimal digits before the extension are the first of the SHA-256.
    pub files: &'static [&'static str],
    /// The approximate size of the download, in millions of bytes.
    pub megabytes: u32,
    /// Whether each file serves one stem only, in the order of the files.
    one_each: bool,
    /// The length of a segment in seconds, if not the checkpoint's own.
    segment: Option<f64>,
}

/// All released models.
pub const RELEASED: [Released; 4] = [
    Released {
        name: "htdemucs",
        about: "Hybrid Transformer Demucs: vocals, drums, bass and other; the usual choice",
        architecture: "htdemucs",
        files: &["955717e8-8726e21a.th"],
        megabytes: 84,
        one_each: false,
        segment: None,
    },
    Released {
        name: "htdemucs_ft",
        about: "htdemucs fine-tuned for each stem: slightly better, four times slower",
        architecture: "htdemucs",
        files: &["f7e0c4bc-ba3fe64a.th", "d12395a8-e57c48e6.th", "92cfc3b6-ef3bcb9c.th", "04573f0d-f3cf25b2.th"],
        megabytes: 336,
        one_each: true,
        segment: None,
    },
    Released {
        name: "htdemucs_6s",
        about: "six stems, with guitar and piano; the piano is weak",
        architecture: "htdemucs",
        files: &["5c90dfd2-34c22ccb.th"],
        megabytes: 55,
        one_each: false,
        segment: None,
    },
    Released {
        name: "hdemucs_mmi",
        about: "Hybrid Demucs, the previous version, without a transformer",
        architecture: "hdemucs",
        files: &["75fc33f5-1941ce65.th"],
        megabytes: 167,
        one_each: false,
        segment: Some(44.0),
    },
];

impl Released {
    /// The released model of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        RELEASED.iter().find(|released| released.name == name)
    }

    /// Its manifest.
    pub fn manifest(&self) -> Manifest {
        let count = self.files.len();
        let row = |file| (0..count).map(|stem| f32::from(u8::from(stem == file))).collect();
        Manifest {
            architecture: Some(self.architecture.into()),
            files: self.files.iter().map(|file| (*file).into()).collect(),
            weights: self.one_each.then(|| (0..count).map(row).collect()),
            segment: self.segment,
        }
    }
}
