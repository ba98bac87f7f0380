//! Mixes any number of channels to two, by their positions.
//!
//! The coefficients are those of ITU-R BS.775-3, annex 4: the centre and the surround channels at -3 dB, a single rear
//! channel at -6 dB on both sides, no low-frequency channel. Positions outside of the recommendation are treated as the
//! nearest position within it. Sums are not scaled and may exceed full scale.

use symphonia::core::audio::{Channels, Position};

const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// The positions of a track's channels, in the order of its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout(Vec<Position>);

impl Layout {
    /// The default positions of `count` channels: those of FLAC (RFC 9639, section 9.1.3). `None` if there is no
    /// default for this number.
    pub(super) fn usual(count: usize) -> Option<Self> {
        use Position as P;
        let positions: &[Position] = match count {
            1 => &[P::FRONT_CENTER],
            2 => &[P::FRONT_LEFT, P::FRONT_RIGHT],
            3 => &[P::FRONT_LEFT, P::FRONT_RIGHT, P::FRONT_CENTER],
            4 => &[P::FRONT_LEFT, P::FRONT_RIGHT, P::REAR_LEFT, P::REAR_RIGHT],
            5 => &[P::FRONT_LEFT, P::FRONT_RIGHT, P::FRONT_CENTER, P::REAR_LEFT, P::REAR_RIGHT],
            6 => &[P::FRONT_LEFT, P::FRONT_RIGHT, P::FRONT_CENTER, P::LFE1, P::REAR_LEFT, P::REAR_RIGHT],
            7 => {
                &[P::FRONT_LEFT, P::FRONT_RIGHT, P::FRONT_CENTER, P::LFE1, P::REAR_CENTER, P::SIDE_LEFT, P::SIDE_RIGHT]
            }
            8 => &[
                P::FRONT_LEFT,
                P::FRONT_RIGHT,
                P::FRONT_CENTER,
                P::LFE1,
                P::REAR_LEFT,
                P::REAR_RIGHT,
                P::SIDE_LEFT,
                P::SIDE_RIGHT,
            ],
            _ => return None,
        };
        Some(Self(positions.to_vec()))
    }

    /// The positions of `count` channels in Vorbis' order (Vorbis I specification, section 4.3.9), which Opus shares.
    pub(super) fn of_vorbis(count: usize) -> Option<Self> {
        use Position as P;
        let (left, right, centre, low) = (P::FRONT_LEFT, P::FRONT_RIGHT, P::FRONT_CENTER, P::LFE1);
        let (rear_left, rear_right, rear) = (P::REAR_LEFT, P::REAR_RIGHT, P::REAR_CENTER);
        let (side_left, side_right) = (P::SIDE_LEFT, P::SIDE_RIGHT);
        let positions: &[P] = match count {
            1 => &[centre],
            2 => &[left, right],
            3 => &[left, centre, right],
            4 => &[left, right, rear_left, rear_right],
            5 => &[left, centre, right, rear_left, rear_right],
            6 => &[left, centre, right, rear_left, rear_right, low],
            7 => &[left, centre, right, side_left, side_right, rear, low],
            8 => &[left, centre, right, side_left, side_right, rear_left, rear_right, low],
            _ => return None,
        };
        Some(Self::of(positions))
    }

    /// The positions, in the order of the samples.
    pub(super) fn of(positions: &[Position]) -> Self {
        Self(positions.to_vec())
    }

    /// The positions of a Symphonia buffer, whose samples are in the order of the positions' bits.
    pub(super) fn of_channels(channels: &Channels) -> Option<Self> {
        match channels {
            Channels::Positioned(positions) if positions.bits().count_ones() > 0 => {
                Some(Self(positions.iter().collect()))
            }
            other => Self::usual(other.count()),
        }
    }

    /// The number of channels.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Mixes frames of one layout down to stereo.
pub(super) struct Downmix(Vec<[f32; 2]>);

impl Downmix {
    pub(super) fn new(layout: &Layout) -> Self {
        Self(match layout.0.as_slice() {
            // A single channel goes to both sides, even if its position is on one side.
            [_] => vec![[1.0, 1.0]],
            positions => positions.iter().map(|position| gains(*position)).collect(),
        })
    }

    /// Appends interleaved frames to `stereo`.
    pub(super) fn apply(&self, interleaved: &[f32], stereo: &mut Vec<f32>) {
        match self.0.as_slice() {
            [[1.0, 1.0]] => stereo.extend(interleaved.iter().flat_map(|sample| [*sample, *sample])),
            [[1.0, 0.0], [0.0, 1.0]] => stereo.extend_from_slice(interleaved),
            gains => stereo.extend(interleaved.chunks_exact(gains.len()).flat_map(|frame| {
                let mut sum = [0.0; 2];
                for (sample, [left, right]) in frame.iter().zip(gains) {
                    sum[0] += left * sample;
                    sum[1] += right * sample;
                }
                sum
            })),
        }
    }
}

/// The gains of a channel in left and right.
fn gains(position: Position) -> [f32; 2] {
    use Position as P;
    let (left, right, both, rear) = ([HALF_POWER, 0.0], [0.0, HALF_POWER], [HALF_POWER; 2], [0.5; 2]);
    match position {
        P::FRONT_LEFT | P::FRONT_LEFT_CENTER | P::FRONT_LEFT_WIDE => [1.0, 0.0],
        P::FRONT_RIGHT | P::FRONT_RIGHT_CENTER | P::FRONT_RIGHT_WIDE => [0.0, 1.0],
        P::FRONT_CENTER | P::TOP_FRONT_CENTER | P::BOTTOM_FRONT_CENTER => both,
        P::REAR_LEFT
        | P::SIDE_LEFT
        | P::TOP_FRONT_LEFT
        | P::TOP_REAR_LEFT
        | P::TOP_SIDE_LEFT
        | P::BOTTOM_FRONT_LEFT => left,
        P::REAR_RIGHT
        | P::SIDE_RIGHT
        | P::TOP_FRONT_RIGHT
        | P::TOP_REAR_RIGHT
        | P::TOP_SIDE_RIGHT
        | P::BOTTOM_FRONT_RIGHT => right,
        P::REAR_CENTER | P::TOP_CENTER | P::TOP_REAR_CENTER => rear,
        _ => [0.0; 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(layout: &Layout, frame: &[f32]) -> Vec<f32> {
        let mut stereo = Vec::new();
        Downmix::new(layout).apply(frame, &mut stereo);
        stereo
    }

    #[test]
    fn channels_are_mixed_by_their_positions() {
        let six = Layout::usual(6).unwrap();
        for (channel, left, right) in [
            (0, 1.0, 0.0),
            (1, 0.0, 1.0),
            (2, HALF_POWER, HALF_POWER),
            (3, 0.0, 0.0),
            (4, HALF_POWER, 0.0),
            (5, 0.0, HALF_POWER),
        ] {
            let mut frame = [0.0; 6];
            frame[channel] = 1.0;
            assert_eq!(mixed(&six, &frame), [left, right], "channel {channel}");
        }
        let rear = Layout::of(&[Position::FRONT_LEFT, Position::FRONT_RIGHT, Position::REAR_CENTER]);
        assert_eq!(mixed(&rear, &[0.0, 0.0, 1.0]), [0.5, 0.5]);
        let low = Layout::of(&[Position::FRONT_LEFT, Position::FRONT_RIGHT, Position::LFE1]);
        assert_eq!(mixed(&low, &[0.25, 0.5, 1.0]), [0.25, 0.5]);
    }

    #[test]
    fn a_single_channel_goes_to_both_sides() {
        assert_eq!(mixed(&Layout::usual(1).unwrap(), &[0.5, -0.25]), [0.5, 0.5, -0.25, -0.25]);
        assert_eq!(mixed(&Layout::of(&[Position::FRONT_LEFT]), &[0.5]), [0.5, 0.5]);
    }
}
