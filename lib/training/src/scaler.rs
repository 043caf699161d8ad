//! Loss scaling for float16, whose small gradients would vanish without it.

const START: f64 = 65_536.0;
const PATIENCE: u32 = 2_000;

/// What the loss is multiplied by before it goes backward: halved when a gradient overflows, doubled after 2,000
/// steps without.
pub struct LossScaler {
    /// The factor now.
    pub scale: f64,
    /// Steps since it changed.
    pub steady: u32,
    active: bool,
}

impl LossScaler {
    /// A scaler; one that is not `active` leaves the loss alone.
    pub fn new(active: bool) -> Self {
        LossScaler { scale: if active { START } else { 1.0 }, steady: 0, active }
    }

    /// Takes note of a step's gradient norm; says whether the step may be made.
    pub fn accept(&mut self, norm: f64) -> bool {
        let finite = norm.is_finite();
        if self.active {
            self.steady = if finite { self.steady + 1 } else { 0 };
            if !finite {
                self.scale = (self.scale / 2.0).max(1.0);
            } else if self.steady == PATIENCE {
                (self.scale, self.steady) = (self.scale * 2.0, 0);
            }
        }
        finite
    }

    /// Whether an overflow is only a matter of a scale that is still too large.
    pub fn can_shrink(&self) -> bool {
        self.active && self.scale > 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinks_on_overflow_and_grows_again() {
        let mut scaler = LossScaler::new(true);
        assert!(!scaler.accept(f64::INFINITY));
        assert_eq!(scaler.scale, START / 2.0);
        assert!((0..PATIENCE).all(|_| scaler.accept(1.0)));
        assert_eq!((scaler.scale, scaler.steady), (START, 0));
    }

    #[test]
    fn leaves_float32_alone() {
        let mut scaler = LossScaler::new(false);
        assert!(!scaler.accept(f64::NAN) && !scaler.can_shrink());
        assert_eq!(scaler.scale, 1.0);
    }
}
