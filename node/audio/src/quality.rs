//! Measures the quality of a separation.

/// The scale-invariant signal-to-distortion ratio of an estimate, in dB (Le Roux et al., "SDR – half-baked or well
/// done?", 2019): the energy of the reference's part of the estimate divided by the energy of the remainder. Both
/// signals have the same length. The result is infinite without a remainder, and NaN for a silent reference.
pub fn si_sdr(estimate: &[f32], reference: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let scale = dot(estimate, reference) / dot(reference, reference);
    let mut noise = 0.0;
    for (estimate, reference) in estimate.iter().zip(reference) {
        noise += (f64::from(*estimate) - scale * f64::from(*reference)).powi(2);
    }
    10.0 * (scale * scale * dot(reference, reference) / noise).log10()
}
