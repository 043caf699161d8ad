//! The dev curve: what was measured so far, which of it is best, and what there is to say of it.

use std::collections::HashMap;

use tch::{Device, Tensor, no_grad};

use crate::log::Row;

/// What was measured so far, besides what is in the log.
#[derive(Default)]
pub struct Curve {
    /// The value before the first step; none until it was measured.
    pub start: Option<f64>,
    /// The best value so far.
    pub best: Option<Best>,
}

/// The best value so far; of several, the earliest.
pub struct Best {
    /// Number of steps that had been made.
    pub step: u64,
    /// The value.
    pub value: f64,
    /// The parameters by name, on the CPU; none if they are not to be kept.
    pub parameters: HashMap<String, Tensor>,
}

impl Curve {
    /// Takes in the value after `step` steps. `parameters` are copied if it is the best so far.
    pub fn add(&mut self, step: u64, value: f64, parameters: &[(String, Tensor)]) {
        self.start.get_or_insert(value);
        if self.best.as_ref().is_none_or(|best| value > best.value) {
            let copy = |tensor: &Tensor| no_grad(|| tensor.detach().copy().to_device(Device::Cpu));
            let parameters = parameters.iter().map(|(name, tensor)| (name.clone(), copy(tensor))).collect();
            self.best = Some(Best { step, value, parameters });
        }
    }

    /// How many measurements in `log` came after the best one.
    pub fn without_gain(&self, log: &[Row]) -> u64 {
        let Some(best) = &self.best else { return 0 };
        log.iter().rev().take_while(|row| row.step >= best.step).filter(|row| row.dev.is_some()).count() as u64
    }

    /// Number of steps and value of everything that was measured, in order.
    pub fn points(&self, log: &[Row]) -> Vec<(u64, f64)> {
        let later = log.iter().filter_map(|row| Some((row.step + 1, row.dev?)));
        self.start.map(|value| (0, value)).into_iter().chain(later).collect()
    }
}

impl Best {
    /// Brings `parameters` back to what they were then.
    pub fn restore(&self, parameters: &[(String, Tensor)]) {
        no_grad(|| {
            for (name, tensor) in parameters {
                if let Some(kept) = self.parameters.get(name) {
                    tensor.shallow_clone().copy_(kept);
                }
            }
        });
    }
}

/// A run that is done, as the dev queries saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The name of the metric.
    pub metric: String,
    /// Number of steps and value of everything that was measured, in order; the first is the start.
    pub points: Vec<(u64, f64)>,
    /// Number of steps and value of the model that is written.
    pub written: (u64, f64),
    /// Number of steps that were planned.
    pub total: u64,
}

impl Measured {
    /// The value of the model that training started from.
    pub fn start(&self) -> f64 {
        self.points[0].1
    }

    /// A value beside its difference to the start, such as `nDCG@10 0.4312 (+0.0123)`.
    pub fn beside_start(&self, value: f64) -> String {
        beside_start(&self.metric, value, self.start())
    }

    /// What the user should know at the end.
    pub fn notes(&self) -> Vec<String> {
        let Measured { points, written: (step, value), total, .. } = self;
        let (last, at_end) = points[points.len() - 1];
        let mut notes = Vec::new();
        if last < *total {
            notes.push(format!("stopped at step {last} of {total}, because dev had stopped improving"));
        }
        notes.push(match () {
            () if last == 0 => format!("dev {}", self.beside_start(*value)),
            () if *step == 0 => format!(
                "no step was better on dev than the start ({} {value:.4}), so the start's weights were written; after \
                 step {last} it was {at_end:.4}",
                self.metric
            ),
            () if *value <= self.start() => {
                format!("the trained model is no better on dev than its start: {}", self.beside_start(*value))
            }
            () if step < &last => {
                format!("wrote the model of step {step}, the best on dev: {}", self.beside_start(*value))
            }
            () => format!("dev {}", self.beside_start(*value)),
        });
        notes
    }
}

/// A value beside its difference to the start, such as `nDCG@10 0.4312 (+0.0123)`.
pub fn beside_start(metric: &str, value: f64, start: f64) -> String {
    format!("{metric} {value:.4} ({:+.4})", value - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, dev: Option<f64>) -> Row {
        let (epoch, loss, learning_rate, gradient_norm, queries_per_second) = (0.0, 0.0, 0.0, 0.0, 0.0);
        Row {
            step,
            epoch,
            loss,
            learning_rate,
            gradient_norm,
            retrieved: None,
            clustered: None,
            queries_per_second,
            dev,
        }
    }

    #[test]
    fn the_earliest_of_equal_values_is_the_best() {
        let parameter = Tensor::from_slice(&[0f32]);
        let parameters = [("a".to_owned(), parameter.shallow_clone())];
        let (mut curve, mut log) = (Curve::default(), Vec::new());
        curve.add(0, 0.5, &parameters);
        for (step, value) in [(2, 0.4), (4, 0.6), (6, 0.6), (8, 0.1)] {
            drop(parameter.shallow_clone().fill_(step as f64));
            curve.add(step, value, &parameters);
            log.extend([row(step - 2, None), row(step - 1, Some(value))]);
        }
        let best = curve.best.as_ref().unwrap();
        assert_eq!((best.step, best.value, curve.start), (4, 0.6, Some(0.5)));
        assert_eq!(curve.without_gain(&log), 2);
        assert_eq!(curve.without_gain(&log[..4]), 0);
        assert_eq!(curve.points(&log), [(0, 0.5), (2, 0.4), (4, 0.6), (6, 0.6), (8, 0.1)]);
        best.restore(&parameters);
        assert_eq!(parameter.double_value(&[0]), 4.0);
    }

    #[test]
    fn the_notes_say_what_was_written_and_when_training_did_not_help() {
        let notes = |points: &[(u64, f64)], written, total| {
            Measured { metric: "MRR@10".into(), points: points.to_vec(), written, total }.notes().join("; ")
        };
        assert_eq!(notes(&[(0, 0.5), (4, 0.625)], (4, 0.625), 4), "dev MRR@10 0.6250 (+0.1250)");
        assert_eq!(
            notes(&[(0, 0.5), (4, 0.75), (8, 0.625)], (4, 0.75), 9),
            "stopped at step 8 of 9, because dev had stopped improving; wrote the model of step 4, the best on dev: \
             MRR@10 0.7500 (+0.2500)"
        );
        let worse = [(0, 0.5), (4, 0.25)];
        assert_eq!(
            notes(&worse, (0, 0.5), 4),
            "no step was better on dev than the start (MRR@10 0.5000), so the start's weights were written; after step 4 \
             it was 0.2500"
        );
        assert!(notes(&worse, (4, 0.25), 4).starts_with("the trained model is no better on dev than its start"));
    }
}
