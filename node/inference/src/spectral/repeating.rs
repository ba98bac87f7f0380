//! The novelty of each moment of a song: accompaniment repeats and singing does not.
//!
//! For every frame, the most similar other frames are found. Their common part is the accompaniment (Rafii and Pardo,
//! "Music/voice separation using the similarity matrix", 2012: REPET-SIM).

use candle_core::{D, Device, Result, Tensor};

use super::median::MedianOfRows;

/// The number of similar frames that are compared, including the frame itself.
const SIMILAR: usize = 11;
/// The least distance of similar frames, in frames: a third of a second, so that a held note is not its own repetition.
const DISTANCE: usize = 14;
/// Prevents divisions by zero.
const FLOOR: f64 = 1e-8;

/// For magnitudes `[frames, bins]`, the part of each that does not repeat, from 0 to 1.
pub(super) fn novelty(magnitude: &Tensor) -> Result<Tensor> {
    let similar = similar_frames(magnitude)?;
    let common = magnitude.apply_op2_no_bwd(&similar, &MedianOfRows)?.minimum(magnitude)?;
    // A Wiener filter: the power of the new part divided by the sum of both powers.
    let (new, common) = ((magnitude - &common)?.sqr()?, common.sqr()?);
    &new / (&new + common)?.affine(1.0, FLOOR)?
}

/// For every frame the [`SIMILAR`] most similar frames, by the cosine of their magnitudes.
fn similar_frames(magnitude: &Tensor) -> Result<Tensor> {
    let length = magnitude.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.affine(1.0, FLOOR)?;
    let directions = magnitude.broadcast_div(&length)?;
    let cosines = directions.matmul(&directions.t()?)?.to_vec2::<f32>()?;
    let frames = cosines.len();
    let mut similar = Vec::with_capacity(frames * SIMILAR);
    for (frame, cosines) in cosines.iter().enumerate() {
        let mut order: Vec<usize> = (0..frames).filter(|other| other.abs_diff(frame) >= DISTANCE).collect();
        order.sort_by(|a, b| cosines[*b].total_cmp(&cosines[*a]));
        let mut chosen = vec![frame];
        for other in order {
            if chosen.len() == SIMILAR {
                break;
            }
            if chosen.iter().all(|chosen| chosen.abs_diff(other) >= DISTANCE) {
                chosen.push(other);
            }
        }
        chosen.resize(SIMILAR, frame);
        similar.extend(chosen.into_iter().map(|frame| frame as u32));
    }
    Tensor::from_vec(similar, (frames, SIMILAR), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_sounds_are_new_and_repeated_ones_are_not() {
        // A chord of two bins every 20 frames, and once a third bin with it.
        let frames = 20 * 12;
        let mut magnitude = vec![[0f32; 3]; frames];
        for start in (0..frames).step_by(20) {
            magnitude[start..start + 10].fill([1.0, 1.0, 0.0]);
        }
        magnitude[100..110].fill([1.0, 1.0, 1.0]);
        let new = novelty(&Tensor::from_vec(magnitude.concat(), (frames, 3), &Device::Cpu).unwrap())
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        assert!(new[105][2] > 0.99, "{:?}", new[105]);
        assert!(new[105][0] < 0.01 && new[45][1] < 0.01, "{:?} {:?}", new[105], new[45]);
    }

    #[test]
    fn silence_and_short_inputs_have_no_novelty() {
        let silence = Tensor::zeros((3, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert_eq!(novelty(&silence).unwrap().to_vec2::<f32>().unwrap(), vec![vec![0.0; 5]; 3]);
    }
}
