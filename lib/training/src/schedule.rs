//! The learning rate: a linear warm-up from 0, and what follows it.

use std::f64::consts::PI;

use serde::Serialize;

/// How the rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Decay {
    /// Linear to 0 at the last step.
    Linear,
    /// Half a cosine wave to 0 at the last step (Loshchilov & Hutter 2017).
    Cosine,
    /// The highest rate to the end.
    Constant,
}

/// Rate as a function of the step.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// What follows the warm-up.
    pub decay: Decay,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps in total; a rate that decays would be 0 at this one.
    pub total: u64,
}

impl Schedule {
    /// Rate of the update at `step` (from 0), where `rate` is the highest: rate · step / warmup, then as the decay
    /// says. The very first update has rate 0 when there is a warm-up.
    pub fn of(&self, rate: f64, step: u64) -> f64 {
        if step < self.warmup {
            rate * step as f64 / self.warmup as f64
        } else {
            let left = self.total.saturating_sub(step) as f64;
            let all = self.total.saturating_sub(self.warmup).max(1) as f64;
            match self.decay {
                Decay::Linear => rate * left / all,
                Decay::Cosine => rate * (1.0 - (PI * left / all).cos()) / 2.0,
                Decay::Constant => rate,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls() {
        let schedule = Schedule { decay: Decay::Linear, warmup: 2, total: 6 };
        let rates: Vec<f64> = (0..7).map(|step| schedule.of(1e-3, step)).collect();
        assert_eq!(rates, [0.0, 0.0005, 0.001, 0.00075, 0.0005, 0.00025, 0.0]);
    }

    #[test]
    fn starts_at_the_top_without_warmup() {
        for decay in [Decay::Linear, Decay::Cosine, Decay::Constant] {
            assert_eq!(Schedule { decay, warmup: 0, total: 4 }.of(0.5, 0), 0.5);
        }
    }

    #[test]
    fn falls_as_half_a_wave_or_not_at_all() {
        let rates = |decay| {
            let schedule = Schedule { decay, warmup: 2, total: 6 };
            [2, 3, 4, 5, 6].map(|step| (schedule.of(1.0, step) * 1e6).round() / 1e6)
        };
        // transformers' get_cosine_schedule_with_warmup gives the same figures.
        assert_eq!(rates(Decay::Cosine), [1.0, 0.853553, 0.5, 0.146447, 0.0]);
        assert_eq!(rates(Decay::Constant), [1.0; 5]);
    }

    #[test]
    fn may_be_shorter_than_its_warmup() {
        let schedule = Schedule { decay: Decay::Linear, warmup: 10, total: 5 };
        assert_eq!(schedule.of(1.0, 4), 0.4);
        assert_eq!(schedule.of(1.0, 10), 0.0);
    }
}
