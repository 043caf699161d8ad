//! The learning rate: linear warm-up from 0, then linear decay to 0.

use serde::Serialize;

/// Rate as a function of the step.
#[derive(Clone, Debug, Serialize)]
pub struct Schedule {
    /// The highest rate, reached when the warm-up ends.
    pub rate: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps in total; the rate would be 0 at this one.
    pub total: u64,
}

impl Schedule {
    /// Rate of the update at `step` (from 0): rate · step / warmup, then linear to 0 at the last. The very first
    /// update has rate 0 when there is a warm-up.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            self.rate * step as f64 / self.warmup as f64
        } else {
            let left = self.total.saturating_sub(step) as f64;
            self.rate * left / self.total.saturating_sub(self.warmup).max(1) as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls() {
        let schedule = Schedule { rate: 1e-3, warmup: 2, total: 6 };
        let rates: Vec<f64> = (0..7).map(|step| schedule.at(step)).collect();
        assert_eq!(rates, [0.0, 0.0005, 0.001, 0.00075, 0.0005, 0.00025, 0.0]);
    }

    #[test]
    fn starts_at_the_top_without_warmup() {
        assert_eq!(Schedule { rate: 0.5, warmup: 0, total: 4 }.at(0), 0.5);
    }

    #[test]
    fn may_be_shorter_than_its_warmup() {
        let schedule = Schedule { rate: 1.0, warmup: 10, total: 5 };
        assert_eq!(schedule.at(4), 0.4);
        assert_eq!(schedule.at(10), 0.0);
    }
}
