//! Loss scaling for float16, whose small gradients would vanish without it.

const START: f64 = 65_536.0;
const PATIENCE: u32 = 2_000;
/// A scale that changes nothing.
const LEAST: f64 = 1.0;

/// What the loss is multiplied by before it goes backward: halved when a gradient overflows, doubled after 2,000
/// steps without.
pub struct LossScaler {
    /// The factor of the next step.
    pub scale: f64,
    /// Number of steps since the factor has changed.
    pub steady: u32,
    active: bool,
}

impl LossScaler {
    /// A scaler; one that is not `active` leaves the loss alone.
    pub fn new(active: bool) -> Self {
        LossScaler { scale: if active { START } else { LEAST }, steady: 0, active }
    }

    /// Takes note of a step's gradient norm, and says what becomes of the step.
    pub fn judge(&mut self, norm: f64) -> Verdict {
        if !self.active {
            return if norm.is_finite() { Verdict::Make } else { Verdict::Diverged };
        }
        match norm.is_finite() {
            true => {
                self.steady += 1;
                if self.steady == PATIENCE {
                    (self.scale, self.steady) = (self.scale * 2.0, 0);
                }
                Verdict::Make
            }
            false if self.scale > LEAST => {
                (self.scale, self.steady) = ((self.scale / 2.0).max(LEAST), 0);
                Verdict::Skip
            }
            false => Verdict::Diverged,
        }
    }
}

/// What is done with the gradients of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are finite, and the parameters are updated.
    Make,
    /// They overflowed. The parameters stay as they are, and the next step has a smaller scale.
    Skip,
    /// They overflow although nothing is scaled: the run has diverged.
    Diverged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinks_on_overflow_and_grows_again() {
        let mut scaler = LossScaler::new(true);
        assert_eq!(scaler.judge(f64::INFINITY), Verdict::Skip);
        assert_eq!(scaler.scale, START / 2.0);
        assert!((0..PATIENCE).all(|_| scaler.judge(1.0) == Verdict::Make));
        assert_eq!((scaler.scale, scaler.steady), (START, 0));
    }

    #[test]
    fn every_scale_down_to_one_is_tried() {
        let mut scaler = LossScaler::new(true);
        let mut tried = Vec::new();
        loop {
            tried.push(scaler.scale);
            if scaler.judge(f64::NAN) == Verdict::Diverged {
                break;
            }
        }
        assert_eq!(tried.len(), 17);
        assert_eq!(tried[14..], [4.0, 2.0, 1.0]);
    }

    #[test]
    fn leaves_float32_alone() {
        let mut scaler = LossScaler::new(false);
        assert_eq!(scaler.judge(f64::NAN), Verdict::Diverged);
        assert_eq!(scaler.scale, 1.0);
    }
}
