//! A training run: the loop, from the first step or from a checkpoint to the last.

use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use hardmine_encoder::Encoder;
use hardmine_files::MappedTokens;
use hardmine_records::{Error, Result};
use tch::Tensor;

use crate::batches::Batches;
use crate::checkpoint::{Checkpoint, State};
use crate::dev::{Curve, DevSet, Keep, Measured, beside_start};
use crate::document_lists::DocumentLists;
use crate::encoding::Encoding;
use crate::gradients::Gradients;
use crate::log::{Clustered, Row};
use crate::method::Method;
use crate::moments::Moments;
use crate::optimizer::Optimizer;
use crate::quantizer::Quantizer;
use crate::sampler::Sampler;
use crate::scaler::{LossScaler, Verdict};
use crate::schedule::Schedule;
use crate::settings::TrainingSettings;

/// Lines that say how it goes: so many in a short run, and at most so many steps between two of them.
const LINES: u64 = 20;
const TELL_EVERY: u64 = 100;

/// What the batches of a step come to.
#[derive(Default)]
struct Sum {
    gradients: Gradients,
    loss: f64,
    retrieved: Option<(f32, f32)>,
    clustered: Option<Clustered>,
    queries: u64,
}

/// A run that can be driven to its end.
pub struct Run<'a> {
    encoder: &'a Encoder,
    method: &'a Method,
    dev: Option<&'a DevSet>,
    batches: Batches<'a>,
    schedule: Schedule,
    checkpoint: Checkpoint,
    state: State,
}

impl<'a> Run<'a> {
    /// Prepares a run, or takes it up where its `checkpoint` was written.
    ///
    /// # Errors
    /// Settings that don't fit the model; a checkpoint of another run.
    pub fn start(
        encoder: &'a Encoder,
        method: &'a Method,
        queries: &'a MappedTokens,
        relevant: &'a DocumentLists,
        settings: &'a TrainingSettings,
        dev: Option<&'a DevSet>,
        checkpoint: Checkpoint,
    ) -> Result<Self> {
        method.check(encoder, settings, queries)?;
        let sampler = Sampler::new(relevant, settings.batch_size, settings.seed);
        let total = settings.total_steps(relevant.queries().len());
        let trained = settings.freeze.map(|freeze| freeze.trained(encoder.parameters())).transpose()?;
        let trained = trained.as_deref().unwrap_or(encoder.parameters());
        let mut state = State {
            step: 0,
            optimizer: Optimizer::new(settings.update(), trained),
            centroids: settings
                .update_of_centroids()
                .zip(method.quantizer())
                .map(|(update, quantizer)| Optimizer::new(update, &[centroids_of(quantizer)])),
            scaler: LossScaler::new(settings.scale_loss),
            log: Vec::new(),
            curve: Curve::default(),
        };
        if checkpoint.restore(&mut state)? {
            tracing::info!("going on at step {} of {total}, found in {}", state.step, checkpoint.path().display());
        }
        Ok(Run {
            encoder,
            method,
            dev,
            batches: Batches {
                tokens: queries,
                relevant,
                sampler,
                encoding: Encoding::new(encoder, settings.chunks)?,
                settings,
                similarity: encoder.similarity(),
                device: encoder.device(),
            },
            schedule: Schedule { decay: settings.schedule, warmup: settings.warmup_steps, total },
            checkpoint,
            state,
        })
    }

    /// Lets the optimizer go on with the moments and the number of updates of an `earlier` run, unless a checkpoint was
    /// taken up, which has its own.
    ///
    /// # Errors
    /// They are of other parameters.
    pub fn go_on_from(mut self, earlier: &Moments) -> Result<Self> {
        if self.state.step == 0 {
            self.state.optimizers().try_for_each(|optimizer| optimizer.go_on(earlier))?;
        }
        Ok(self)
    }

    /// Writes the moments as they are now into the model folder `folder`, for a run that goes on with them.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write_moments(&self, folder: &Path) -> Result<()> {
        let State { optimizer, centroids, .. } = &self.state;
        let moments: Vec<_> = [optimizer].into_iter().chain(centroids).flat_map(Optimizer::moments).collect();
        Moments::write(folder, &moments, optimizer.updates())
    }

    /// Queries still to be trained on, counted as often as they come.
    pub fn remaining_queries(&self) -> u64 {
        let before = |step| self.batches.sampler.queries_before(self.batches_of(step).start);
        before(self.schedule.total).saturating_sub(before(self.state.step))
    }

    /// The batches, counted from 0, whose gradients make up the update of `step`. There may be fewer of them at the end
    /// of the last epoch.
    fn batches_of(&self, step: u64) -> Range<u64> {
        let settings = self.batches.settings;
        let all = settings.epochs.saturating_mul(self.batches.sampler.batches());
        let batch = |step: u64| step.saturating_mul(settings.accumulate).min(all);
        batch(step)..batch(step.saturating_add(1))
    }

    /// The checkpoint that the run writes, and may have been taken up from.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The next step, from 0; more than 0 at the beginning if a checkpoint was taken up.
    pub fn step_number(&self) -> u64 {
        self.state.step
    }

    fn remaining(&self) -> u64 {
        self.schedule.total.saturating_sub(self.state.step)
    }

    /// Makes all remaining steps; `done` is told the number of queries of each. Where there are dev queries, the model
    /// is measured before the first step, every so many steps and after the last one, and in the end its parameters are
    /// those that are to be written.
    ///
    /// # Errors
    /// A loss, a gradient or a vector that is not finite; a checkpoint that can't be written.
    pub fn train(&mut self, mut done: impl FnMut(u64)) -> Result<()> {
        if self.state.curve.start.is_none() {
            self.measure()?;
        }
        while self.remaining() > 0 {
            let queries = self.step()?;
            let State { step, log, .. } = &self.state;
            let every = (self.schedule.total / LINES).clamp(1, TELL_EVERY);
            if let (0, Some(row)) = (step % every, log.last()) {
                let (total, speed) = (self.schedule.total, row.queries_per_second);
                tracing::info!("step {step} of {total}: loss {:.4}, {speed:.0} queries/s", row.loss);
            }
            if self.is_measured_after(*step) {
                self.measure()?;
            }
            done(queries);
            if self.has_lost_patience() {
                break;
            }
            if self.state.step.is_multiple_of(self.batches.settings.save_every) && self.remaining() > 0 {
                self.checkpoint.save(&self.state)?;
            }
        }
        if let (Some(Keep::Best), Some(best)) = (self.keep(), &self.state.curve.best) {
            best.restore(&self.parameters());
        }
        Ok(())
    }

    /// Measures the model as it is on the dev queries, if there are any, and says how it compares with the start.
    fn measure(&mut self) -> Result<()> {
        let Some(dev) = self.dev else { return Ok(()) };
        let (settings, workers) = (self.batches.settings, self.batches.encoding.workers());
        let value = dev.evaluate(self.encoder, self.method, settings, workers)?;
        let parameters = self.parameters();
        let State { step, log, curve, .. } = &mut self.state;
        if let Some(row) = log.last_mut() {
            row.dev = Some(value);
        }
        let kept = if dev.plan().keep == Keep::Best { parameters } else { Vec::new() };
        curve.add(*step, value, &kept);
        let (metric, total) = (dev.metric(), self.schedule.total);
        match curve.start {
            Some(start) if *step > 0 => {
                let beside_start = beside_start(&metric, value, start);
                tracing::info!(target: "progress", "step {step} of {total}: dev {beside_start}");
            }
            _ => {
                let extent = dev.extent(self.method);
                tracing::info!(target: "progress", "step 0 of {total}: dev {metric} {value:.4} ({extent})");
            }
        }
        Ok(())
    }

    /// All that may be trained, by name, sharing its memory.
    fn parameters(&self) -> Vec<(String, Tensor)> {
        let encoder = self.encoder.parameters().iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        encoder.chain(self.method.quantizer().map(centroids_of)).collect()
    }

    /// Whether the model is measured once `step` steps are made.
    fn is_measured_after(&self, step: u64) -> bool {
        let total = self.schedule.total;
        let every = self.dev.map(|dev| dev.plan().every.unwrap_or(total / 10).max(1));
        every.is_some_and(|every| step.is_multiple_of(every) || step == total)
    }

    fn has_lost_patience(&self) -> bool {
        let patience = self.dev.and_then(|dev| dev.plan().patience);
        patience.is_some_and(|patience| self.state.curve.without_gain(&self.state.log) >= patience)
    }

    fn keep(&self) -> Option<Keep> {
        self.dev.map(|dev| dev.plan().keep)
    }

    /// What was measured, once all steps are made; none without dev queries.
    pub fn measured(&self) -> Option<Measured> {
        let State { log, curve, .. } = &self.state;
        let points = curve.points(log);
        let written = match (self.keep()?, &curve.best) {
            (Keep::Best, Some(best)) => (best.step, best.value),
            _ => *points.last()?,
        };
        Some(Measured { metric: self.dev?.metric(), points, written, total: self.schedule.total })
    }

    /// One step: the gradients of its batches, and the update. Returns the number of queries.
    fn step(&mut self) -> Result<u64> {
        let (started, step, scale) = (Instant::now(), self.state.step, self.state.scaler.scale);
        let settings = self.batches.settings;
        // An optimizer that goes on with the moments of another run begins with a rate of 0, as in RepCONC.
        let waits = step == 0 && settings.moments.is_some();
        let rate_of = |highest| if waits { 0.0 } else { self.schedule.of(highest, step) };
        let rate = rate_of(settings.learning_rate);
        let rate_of_centroids = settings.centroids.map_or(0.0, |of| rate_of(of.learning_rate));
        let batches = self.batches_of(step);
        let end = batches.end;
        let Sum { gradients, loss, retrieved, clustered, queries } = self.gradients(batches, scale)?;
        let State { optimizer, centroids, scaler, log, .. } = &mut self.state;
        let workers = self.batches.encoding.workers();
        let norms = gradients.norms(scale, workers);
        let norm = if settings.centroids.is_some_and(|of| of.clipped) { norms.all } else { norms.encoder };
        match if loss.is_finite() { scaler.judge(norms.all) } else { Verdict::Diverged } {
            Verdict::Make => {
                optimizer.step(gradients.encoder, rate, norm, scale, workers);
                if let Some(centroids) = centroids {
                    let gradient = gradients.centroids.into_iter().collect();
                    centroids.step(gradient, rate_of_centroids, norm, scale, workers);
                }
            }
            Verdict::Skip => {}
            Verdict::Diverged => {
                let norm = norms.all;
                let text = format!("loss {loss}, gradient norm {norm}: training has diverged");
                return Err(Error::new(format!("step {step}"), text).hint("lower --learning-rate, or --precision f32"));
            }
        }

        log.push(Row {
            step,
            epoch: end as f32 / self.batches.sampler.batches() as f32,
            loss: loss as f32,
            learning_rate: rate as f32,
            gradient_norm: norm as f32,
            retrieved,
            clustered,
            queries_per_second: (queries as f64 / started.elapsed().as_secs_f64()) as f32,
            dev: None,
        });
        self.state.step += 1;
        Ok(queries)
    }

    /// The mean over `batches` of the gradient, multiplied by `scale`, and of all else. For each batch: draw, encode,
    /// loss, gradient.
    fn gradients(&mut self, batches: Range<u64>, scale: f64) -> Result<Sum> {
        let count = (batches.end - batches.start) as f64;
        let mut sum = Sum::default();
        for batch in batches {
            let queries = self.batches.sampler.batch(batch).to_vec();
            let forward = self.method.forward(&self.batches, batch, &queries)?;
            sum.loss += forward.loss.double_value(&[]) / count;
            if let Some((mrr_10, recall_10)) = forward.retrieved {
                let (mrr_before, recall_before) = sum.retrieved.unwrap_or_default();
                sum.retrieved = Some((mrr_before + mrr_10 / count as f32, recall_before + recall_10 / count as f32));
            }
            if let Some(Clustered { mse, imbalance, fallbacks }) = forward.clustered {
                let sum = sum.clustered.get_or_insert_default();
                sum.mse += mse / count as f32;
                sum.imbalance += imbalance / count as f32;
                sum.fallbacks += fallbacks;
            }
            sum.gradients.add(self.batches.gradients(forward, scale / count));
            sum.queries += queries.len() as u64;
        }
        Ok(sum)
    }

    /// The log of all steps, and the checkpoint, which is of no use once the model is written.
    pub fn finish(self) -> (Vec<Row>, Checkpoint) {
        (self.state.log, self.checkpoint)
    }
}

/// The centroids as a parameter with its name.
fn centroids_of(quantizer: &Quantizer) -> (String, Tensor) {
    ("centroids".into(), quantizer.centroids().shallow_clone())
}
