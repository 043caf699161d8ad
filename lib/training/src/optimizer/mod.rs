//! Optimizers: parameters with their moments, weight decay, gradient clipping, and one file a rule of update.

mod adamw;
mod change;
mod lamb;
mod torch_adamw;

use hardmine_encoder::Workers;
use hardmine_records::Result;
use serde::Serialize;
use tch::{Device, Tensor, no_grad};

use crate::moments::Moments as SavedMoments;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// Numbers of a parameter that a CPU updates at once: few enough that all arrays of the update stay in its cache.
const PIECE: i64 = 65_536;

/// How gradients change the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Rule {
    /// Layer-wise adapted steps, for large batches.
    Lamb,
    /// Adam with decoupled weight decay, in the form that the paper was trained with.
    AdamW,
    /// The same in the form of PyTorch.
    TorchAdamW,
}

/// How parameters are updated, besides the learning rate.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UpdateSettings {
    /// How gradients change the parameters.
    pub rule: Rule,
    /// What share of itself, times the learning rate, a parameter loses at each update, if it is one that decays.
    pub weight_decay: f64,
    /// Gradients of a larger global norm are scaled down to it.
    pub max_gradient_norm: f64,
}

/// Parameters, the running averages of their gradients, and how many updates were made.
pub struct Optimizer {
    settings: UpdateSettings,
    slots: Vec<Slot>,
    /// On a GPU, and for rules that look at each number alone: the same parameters and moments again, those in one piece
    /// that decay alike. It takes a GPU longer to begin with a parameter than to update it.
    joined: Option<Vec<Joined>>,
    updates: i32,
}

/// Parameters that decay alike, one after the other in one piece of memory.
struct Joined {
    /// Which of the optimizer's slots they are of.
    slots: Vec<usize>,
    decay: f64,
    parameter: Tensor,
    moments: Moments,
}

struct Slot {
    name: String,
    parameter: Tensor,
    decay: f64,
    moments: Moments,
}

/// Running averages of the gradient and of its square, both of the parameter's shape.
struct Moments {
    mean: Tensor,
    square: Tensor,
}

/// Consecutive numbers of a parameter with their gradient and moments, in the memory of the whole.
struct Piece {
    parameter: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
}

impl Slot {
    /// The parameter in pieces, beside those of its `gradient`; none if that is undefined.
    fn split(&self, gradient: &Tensor) -> Vec<Piece> {
        if !gradient.defined() {
            return Vec::new();
        }
        let size = if self.parameter.device() == Device::Cpu { PIECE } else { self.parameter.numel().max(1) as i64 };
        let cut = |x: &Tensor| x.view(-1).split(size, 0);
        let Moments { mean, square } = &self.moments;
        let moments = cut(mean).into_iter().zip(cut(square));
        cut(&self.parameter)
            .into_iter()
            .zip(cut(&gradient.contiguous()))
            .zip(moments)
            .map(|((parameter, gradient), (mean, square))| Piece { parameter, gradient, mean, square })
            .collect()
    }
}

impl Joined {
    /// Moves the parameters and moments of all `slots` into pieces, one for those that decay and one for the others.
    fn all(slots: &mut [Slot]) -> Vec<Joined> {
        let (decaying, others): (Vec<usize>, Vec<usize>) = (0..slots.len()).partition(|&slot| slots[slot].decay != 0.0);
        let pieces = [decaying, others].into_iter().filter(|members| !members.is_empty());
        no_grad(|| pieces.map(|members| Joined::new(members, slots)).collect())
    }

    fn new(members: Vec<usize>, slots: &mut [Slot]) -> Joined {
        let parameters: Vec<Tensor> = members.iter().map(|&slot| slots[slot].parameter.detach().view(-1)).collect();
        let parameter = Tensor::cat(&parameters, 0);
        let moments = Moments { mean: parameter.zeros_like(), square: parameter.zeros_like() };
        let mut start = 0;
        for &member in &members {
            let slot = &mut slots[member];
            let (size, length) = (slot.parameter.size(), slot.parameter.numel() as i64);
            let part = |whole: &Tensor| whole.narrow(0, start, length).view(&size[..]);
            slot.moments = Moments { mean: part(&moments.mean), square: part(&moments.square) };
            // Whoever holds the parameter sees its new memory.
            slot.parameter.set_data(&part(&parameter));
            start += length;
        }
        Joined { decay: slots[members[0]].decay, slots: members, parameter, moments }
    }

    /// All of it, beside the gradients.
    fn piece(&self, gradients: &[Tensor]) -> Piece {
        let Joined { slots, parameter, moments: Moments { mean, square }, .. } = self;
        let gradients: Vec<Tensor> = slots.iter().map(|&slot| gradients[slot].reshape([-1])).collect();
        Piece {
            parameter: parameter.shallow_clone(),
            gradient: Tensor::cat(&gradients, 0),
            mean: mean.shallow_clone(),
            square: square.shallow_clone(),
        }
    }
}

/// Global L2 norm of gradients.
pub fn gradient_norm(gradients: &[Tensor], workers: &Workers) -> f64 {
    let defined = gradients.iter().filter(|gradient| gradient.defined()).map(Tensor::shallow_clone).collect();
    let norms = workers.map(defined, |gradient: Tensor| gradient.norm());
    if norms.is_empty() { 0.0 } else { Tensor::stack(&norms, 0).norm().double_value(&[]) }
}

impl Piece {
    /// Takes the gradient, multiplied by `factor`, into the moments.
    fn add_gradient(&mut self, factor: f64) {
        if factor != 1.0 {
            let _ = self.gradient.g_mul_scalar_(factor);
        }
        let _ = self.mean.lerp_(&self.gradient, 1.0 - BETA_1);
        let _ = self.square.lerp_(&self.gradient.square(), 1.0 - BETA_2);
    }

    /// Takes the gradient, multiplied by `factor`, into the moments and returns m/(√v + ε).
    fn direction(&mut self, factor: f64) -> Tensor {
        self.add_gradient(factor);
        &self.mean / (self.square.sqrt() + EPSILON)
    }
}

/// Whether a parameter decays: matrices do, biases and the weights of norms don't. The paper's own model with the
/// paper's optimizers is an exception, since the norm of its head decays in the reference.
fn decays(name: &str, parameter: &Tensor, rule: Rule, is_roberta_dot: bool) -> bool {
    parameter.dim() >= 2 || is_roberta_dot && rule != Rule::TorchAdamW && name == "norm.weight"
}

impl Optimizer {
    /// An optimizer of `parameters`, whose gradients are tracked from now on.
    pub fn new(settings: UpdateSettings, parameters: &[(String, Tensor)]) -> Self {
        let is_roberta_dot = parameters.iter().any(|(name, _)| name == "embeddingHead.weight");
        let slot = |(name, parameter): &(String, Tensor)| Slot {
            name: name.clone(),
            parameter: parameter.set_requires_grad(true),
            decay: if decays(name, parameter, settings.rule, is_roberta_dot) { settings.weight_decay } else { 0.0 },
            moments: Moments { mean: parameter.detach().zeros_like(), square: parameter.detach().zeros_like() },
        };
        let mut slots: Vec<Slot> = parameters.iter().map(slot).collect();
        let on_gpu = slots.iter().all(|slot| slot.parameter.device().is_cuda());
        let joined = (on_gpu && settings.rule != Rule::Lamb).then(|| Joined::all(&mut slots));
        Optimizer { settings, slots, joined, updates: 0 }
    }

    /// Updates the parameters at `rate` with one gradient each (of a loss multiplied by `loss_scale`, of the global
    /// norm `norm` without it), clipped to the largest norm.
    pub fn step(&mut self, gradients: Vec<Tensor>, rate: f64, norm: f64, loss_scale: f64, workers: &Workers) {
        self.updates += 1;
        let UpdateSettings { rule, max_gradient_norm, .. } = self.settings;
        let factor = (max_gradient_norm / (norm + 1e-6)).min(1.0) / loss_scale;
        let updates = self.updates;
        let updated: Vec<_> = no_grad(|| match &self.joined {
            Some(all) if gradients.iter().all(Tensor::defined) => {
                all.iter().map(|joined| (vec![joined.piece(&gradients)], joined.decay)).collect()
            }
            _ => self.slots.iter().zip(&gradients).map(|(slot, gradient)| (slot.split(gradient), slot.decay)).collect(),
        });
        workers.map(updated, |(pieces, decay)| match rule {
            Rule::Lamb => lamb::update(pieces, factor, rate, decay, workers),
            Rule::AdamW => adamw::update(pieces, factor, updates, rate, decay, workers),
            Rule::TorchAdamW => torch_adamw::update(pieces, factor, updates, rate, decay, workers),
        });
    }

    /// Number of updates that have been made.
    pub fn updates(&self) -> i32 {
        self.updates
    }

    /// Parameters and moments by name, sharing their memory: what a checkpoint holds.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of = |slot: &Slot| {
            let Slot { name, parameter, moments, .. } = slot;
            [
                (format!("parameter.{name}"), parameter.detach()),
                (format!("mean.{name}"), moments.mean.shallow_clone()),
                (format!("square.{name}"), moments.square.shallow_clone()),
            ]
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// The moments by the names of their parameters, sharing their memory.
    pub fn moments(&self) -> impl Iterator<Item = (String, Tensor, Tensor)> {
        let of = |Slot { name, moments: Moments { mean, square }, .. }: &Slot| {
            (name.clone(), mean.shallow_clone(), square.shallow_clone())
        };
        self.slots.iter().map(of)
    }

    /// Goes on with the moments of an earlier run.
    ///
    /// # Errors
    /// They are of other parameters.
    pub fn go_on(&mut self, earlier: &SavedMoments) -> Result<()> {
        for slot in &mut self.slots {
            let (mean, square) = earlier.of(&slot.name, &slot.parameter.size())?;
            no_grad(|| {
                slot.moments.mean.copy_(mean);
                slot.moments.square.copy_(square);
            });
        }
        self.updates = earlier.updates()?;
        Ok(())
    }

    /// Goes back to where `updates` had been made.
    pub fn set_updates(&mut self, updates: i32) {
        self.updates = updates;
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    const WEIGHT_DECAY: f64 = 0.01;

    fn settings(rule: Rule) -> UpdateSettings {
        UpdateSettings { rule, weight_decay: WEIGHT_DECAY, max_gradient_norm: 1.0 }
    }

    #[test]
    fn matrices_decay_and_the_norm_of_the_papers_head() {
        let of = |name: &str, shape: &[i64]| (name.to_string(), Tensor::zeros(shape, (Kind::Float, Device::Cpu)));
        let parameters = vec![
            of("norm.weight", &[4]),
            of("norm.bias", &[4]),
            of("roberta.embeddings.LayerNorm.weight", &[4]),
            of("roberta.encoder.layer.0.attention.self.query.weight", &[4, 4]),
            of("embeddingHead.bias", &[4]),
            of("encoder.relative_attention_bias.weight", &[32, 2]),
        ];
        let decaying = |rule: Rule, parameters: &[(String, Tensor)]| {
            let optimizer = Optimizer::new(settings(rule), parameters);
            optimizer.slots.iter().map(|slot| slot.decay != 0.0).collect::<Vec<_>>()
        };
        assert_eq!(decaying(Rule::AdamW, &parameters), [false, false, false, true, false, true]);
        let roberta_dot: Vec<_> = parameters.into_iter().chain([of("embeddingHead.weight", &[4, 4])]).collect();
        assert_eq!(decaying(Rule::AdamW, &roberta_dot), [true, false, false, true, false, true, true]);
        assert_eq!(decaying(Rule::TorchAdamW, &roberta_dot), [false, false, false, true, false, true, true]);
    }

    /// One parameter `a.weight` = (3, 4), one step at rate 0.1 with the gradient (`x`, `y`).
    fn stepped(rule: Rule, (x, y): (f32, f32), loss_scale: f64) -> Vec<f32> {
        let parameters = [("a.weight".to_string(), Tensor::from_slice(&[3f32, 4.0]).view([1, 2]))];
        let mut optimizer = Optimizer::new(settings(rule), &parameters);
        let workers = Workers::new(Device::Cpu).unwrap();
        let gradients = vec![Tensor::from_slice(&[x, y]).view([1, 2]) * loss_scale];
        let norm = gradient_norm(&gradients, &workers) / loss_scale;
        assert!((norm - f64::from(x.hypot(y))).abs() < 1e-5);
        optimizer.step(gradients, 0.1, norm, loss_scale, &workers);
        Vec::try_from(parameters[0].1.detach().flatten(0, -1)).unwrap()
    }

    fn assert_close(found: &[f32], expected: [f64; 2]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn lamb_scales_its_step_by_the_trust_ratio() {
        // m = 0.1 g, v = 0.001 g²: m/√v is sign(g)·√10 in both places, whatever the gradient.
        let (x, y) = (10f64.sqrt() + 0.01 * 3.0, -(10f64.sqrt()) + 0.01 * 4.0);
        let ratio = 5.0 / x.hypot(y);
        assert_close(&stepped(Rule::Lamb, (0.3, -0.4), 1.0), [3.0 - 0.1 * ratio * x, 4.0 - 0.1 * ratio * y]);
    }

    #[test]
    fn adamw_decays_after_its_step_and_pytorchs_before() {
        let decayed = |p: f64| p * (1.0 - 0.1 * 0.01);
        assert_close(&stepped(Rule::AdamW, (0.3, -0.4), 1.0), [decayed(3.0 - 0.1), decayed(4.0 + 0.1)]);
        assert_close(&stepped(Rule::TorchAdamW, (0.3, -0.4), 1.0), [decayed(3.0) - 0.1, decayed(4.0) + 0.1]);
    }

    #[test]
    fn a_parameter_in_pieces_is_updated_as_a_whole() {
        let size = 2 * PIECE + 1234;
        let start = Tensor::arange(size, (Kind::Double, Device::Cpu)).sin() * 0.01;
        // Pieces whose updates differ: a norm of one piece is not that of the parameter.
        let gradient = Tensor::arange(size, (Kind::Double, Device::Cpu)).cos() * 1e-6 + 1e-9;
        for rule in [Rule::Lamb, Rule::AdamW, Rule::TorchAdamW] {
            let parameters = [("a.weight".to_string(), start.to_kind(Kind::Float).view([1, size]))];
            let mut optimizer = Optimizer::new(settings(rule), &parameters);
            let workers = Workers::new(Device::Cpu).unwrap();
            let gradients = vec![gradient.to_kind(Kind::Float).view([1, size])];
            let norm = gradient_norm(&gradients, &workers);
            assert!((norm / gradient.norm().double_value(&[]) - 1.0).abs() < 1e-5);
            optimizer.step(gradients, 0.1, norm, 1.0, &workers);

            // The norm is below 1: nothing is clipped.
            let (mean, square) = (&gradient * (1.0 - BETA_1), gradient.square() * (1.0 - BETA_2));
            let direction = mean / (square.sqrt() + EPSILON);
            let expected = match rule {
                Rule::Lamb => {
                    let update = direction + &start * WEIGHT_DECAY;
                    let ratio = start.norm().clamp_max(10.0) / update.norm();
                    &start - update * ratio * 0.1
                }
                Rule::AdamW => {
                    let step = 0.1 * (1.0 - BETA_2).sqrt() / (1.0 - BETA_1);
                    (&start - direction * step) * (1.0 - 0.1 * WEIGHT_DECAY)
                }
                Rule::TorchAdamW => {
                    let direction = &gradient / (gradient.abs() + EPSILON);
                    &start * (1.0 - 0.1 * WEIGHT_DECAY) - direction * 0.1
                }
            };
            let difference = (parameters[0].1.detach().to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{rule:?}: off by {difference:e}");
        }
    }

    #[test]
    fn parameters_in_one_piece_of_memory_are_updated_as_they_are_apart() {
        let workers = Workers::new(Device::Cpu).unwrap();
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let shapes = [("a.weight", vec![3, 4]), ("a.bias", vec![4]), ("b.weight", vec![2, 3, 4]), ("b.bias", vec![3])];
        for rule in [Rule::AdamW, Rule::TorchAdamW] {
            tch::manual_seed(4);
            let apart: Vec<_> = shapes.iter().map(|(name, shape)| (name.to_string(), random(shape))).collect();
            let together: Vec<_> = apart.iter().map(|(name, parameter)| (name.clone(), parameter.copy())).collect();
            let mut optimizers = [Optimizer::new(settings(rule), &apart), Optimizer::new(settings(rule), &together)];
            let joined = Joined::all(&mut optimizers[1].slots);
            assert_eq!(joined.iter().map(|joined| &joined.slots[..]).collect::<Vec<_>>(), [[0, 2], [1, 3]]);
            optimizers[1].joined = Some(joined);
            for step in 0..3 {
                let mut gradients: Vec<Tensor> = shapes.iter().map(|(_, shape)| random(shape)).collect();
                if step == 1 {
                    // A parameter that no text reaches stays as it is.
                    gradients[2] = Tensor::new();
                }
                for optimizer in &mut optimizers {
                    let gradients = gradients.iter().map(Tensor::shallow_clone).collect();
                    optimizer.step(gradients, 0.1, 2.0, 1.0, &workers);
                }
            }
            let [apart, together] = optimizers.map(|optimizer| optimizer.state());
            assert_eq!(apart, together);
        }
    }

    #[test]
    fn the_loss_scale_does_not_show() {
        for rule in [Rule::Lamb, Rule::AdamW, Rule::TorchAdamW] {
            assert_eq!(stepped(rule, (3.0, 4.0), 1024.0), stepped(rule, (3.0, 4.0), 1.0));
        }
    }
}
