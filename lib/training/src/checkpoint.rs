//! Resuming: one file beside the output holds all that a run needs to go on as if never interrupted, on a machine with
//! as many cores.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hardmine_files::OutputFile;
use hardmine_records::{Error, Result};
use sha2::{Digest, Sha256};
use tch::{Device, TchError, Tensor, no_grad};

use crate::dev::{Best, Curve};
use crate::log::{self, Row};
use crate::optimizer::Optimizer;
use crate::scaler::LossScaler;

/// What changes from step to step, besides the parameters.
pub struct State {
    /// Number of the step that comes next, from 0.
    pub step: u64,
    /// The parameters with the moments of the optimizer.
    pub optimizer: Optimizer,
    /// The same of the centroids, where they are trained.
    pub centroids: Option<Optimizer>,
    /// The loss scale of float16.
    pub scaler: LossScaler,
    /// The training log of the steps before.
    pub log: Vec<Row>,
    /// What was measured on dev queries, if there are any, and the best parameters.
    pub curve: Curve,
}

impl State {
    /// The optimizers of all that is trained, which make their updates together.
    pub fn optimizers(&mut self) -> impl Iterator<Item = &mut Optimizer> {
        [&mut self.optimizer].into_iter().chain(&mut self.centroids)
    }

    /// What is trained and its moments by name, sharing their memory.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        [&self.optimizer].into_iter().chain(&self.centroids).flat_map(Optimizer::state).collect()
    }
}

/// The checkpoint of a run: a safetensors file named after the output.
pub struct Checkpoint {
    path: PathBuf,
    /// Digest of settings and inputs; a checkpoint of another run has another.
    identity: String,
}

impl Checkpoint {
    /// `<output>.checkpoint`, for a run of this `identity`.
    pub fn beside(output: &Path, identity: String) -> Self {
        Checkpoint { path: path_beside(output), identity }
    }

    /// Writes the checkpoint, in place of the one before.
    pub fn save(&self, state: &State) -> Result<()> {
        let place = self.path.display().to_string();
        let mut tensors = state.tensors();
        for (_, tensor) in &mut tensors {
            *tensor = tensor.contiguous();
        }
        let numbers = [state.step as f64, f64::from(state.optimizer.updates()), state.scaler.scale];
        tensors.push(("numbers".into(), Tensor::from_slice(&numbers)));
        tensors.push(("steady".into(), Tensor::from_slice(&[i64::from(state.scaler.steady)])));
        tensors.push(("log".into(), log::to_tensor(&state.log)));
        if let Curve { start: Some(start), best: Some(best) } = &state.curve {
            tensors.push(("dev".into(), Tensor::from_slice(&[*start, best.step as f64, best.value])));
            let kept = best.parameters.iter().map(|(name, tensor)| (format!("{BEST}{name}"), tensor.contiguous()));
            tensors.extend(kept);
        }
        tensors.push(("identity".into(), Tensor::from_slice(self.identity.as_bytes())));
        tensors.push((DIGEST.into(), Tensor::from_slice(&digest(&tensors).map_err(Error::at(&place))?)));
        let file = OutputFile::create_seekable(&self.path)?;
        Tensor::write_safetensors(&tensors, file.path_for_libraries()).map_err(Error::at(&place))?;
        file.commit()
    }

    /// Brings `state` to where the checkpoint was taken, if there is one.
    ///
    /// # Errors
    /// A checkpoint of other settings or inputs, or one that is damaged.
    pub fn restore(&self, state: &mut State) -> Result<bool> {
        if !self.path.exists() {
            return Ok(false);
        }
        let place = self.path.display();
        let hint = "remove it to start from step 0";
        let broken = |e: TchError| Error::new(&place, format!("is not a checkpoint: {e}")).hint(hint);
        let mut tensors = Tensor::read_safetensors(&self.path).map_err(broken)?;
        let written = tensors.iter().position(|(name, _)| name == DIGEST).map(|index| tensors.remove(index).1);
        let written = written.ok_or_else(|| broken(missing(DIGEST)))?;
        if Vec::<u8>::try_from(&written).map_err(broken)? != digest(&tensors).map_err(broken)? {
            return Err(Error::new(&place, "is damaged: it is not as it was written").hint(hint));
        }
        let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
        let find = |name: &str| tensors.get(name).ok_or_else(|| broken(missing(name)));
        if Vec::<u8>::try_from(find("identity")?).map_err(broken)? != self.identity.as_bytes() {
            return Err(Error::new(&place, "belongs to a run with other settings or inputs")
                .hint("repeat that run's command to finish it, or remove the file to start from step 0"));
        }
        no_grad(|| {
            for (name, mut tensor) in state.tensors() {
                tensor.f_copy_(find(&name)?).map_err(broken)?;
            }
            Ok(())
        })?;
        let numbers: Vec<f64> = Vec::try_from(find("numbers")?).map_err(broken)?;
        let steady: Vec<i64> = Vec::try_from(find("steady")?).map_err(broken)?;
        let (&[step, updates, scale], &[steady]) = (&numbers[..], &steady[..]) else {
            return Err(broken(TchError::FileFormat("its counts are not as many as they should be".into())));
        };
        state.log = log::from_tensor(find("log")?).map_err(broken)?;
        if let Some(dev) = tensors.get("dev") {
            let dev: Vec<f64> = Vec::try_from(dev).map_err(broken)?;
            let &[start, step, value] = &dev[..] else {
                return Err(broken(TchError::FileFormat("its dev values are not as many as they should be".into())));
            };
            let kept = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(BEST)?, tensor)));
            let parameters = kept.map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect();
            state.curve = Curve { start: Some(start), best: Some(Best { step: step as u64, value, parameters }) };
        }
        state.step = step as u64;
        state.optimizers().for_each(|optimizer| optimizer.set_updates(updates as i32));
        (state.scaler.scale, state.scaler.steady) = (scale, steady as u32);
        Ok(true)
    }

    /// Removes the checkpoint, once the run is done. It is no error if there is none.
    ///
    /// # Errors
    /// The file is there and can't be removed.
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(self.path.display())(error)),
            _ => Ok(()),
        }
    }

    /// The path of the checkpoint, beside the model folder that is being made.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The path of the checkpoint of a run that writes the model folder `output`.
pub(crate) fn path_beside(output: &Path) -> PathBuf {
    // Through its parts, so that a slash at the end doesn't lead into the folder.
    let mut path = output.components().collect::<PathBuf>().into_os_string();
    path.push(".checkpoint");
    path.into()
}

/// What the names of the best parameters on dev queries begin with.
const BEST: &str = "best.";

/// Name of the tensor that holds the digest of all others.
const DIGEST: &str = "digest";

fn missing(name: &str) -> TchError {
    TchError::FileFormat(format!("it has no tensor '{name}'"))
}

/// SHA-256 of names, shapes, types and numbers, whatever the order of the tensors.
fn digest(tensors: &[(String, Tensor)]) -> std::result::Result<Vec<u8>, TchError> {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by_key(|(name, _)| name);
    let mut hash = Sha256::new();
    for (name, tensor) in sorted {
        let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
        hash.update(format!("{name} {:?} {:?} ", tensor.kind(), tensor.size()));
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        hash.update(&bytes);
    }
    Ok(hash.finalize().to_vec())
}
