//! Resuming: one file beside the output holds all that a run needs to go on as if never interrupted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use hardmine_records::{AtomicFile, Error, Result};
use tch::{Tensor, no_grad};

use crate::log::{self, Row};
use crate::optimizer::Optimizer;
use crate::scaler::LossScaler;

/// What changes from step to step, besides the parameters.
pub struct State {
    /// The next step.
    pub step: u64,
    /// Parameters and moments.
    pub optimizer: Optimizer,
    /// Loss scale.
    pub scaler: LossScaler,
    /// The log so far.
    pub log: Vec<Row>,
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
        let mut path = output.as_os_str().to_owned();
        path.push(".checkpoint");
        Checkpoint { path: path.into(), identity }
    }

    /// Writes the checkpoint, in place of the one before.
    pub fn save(&self, state: &State) -> Result<()> {
        let place = self.path.display().to_string();
        let mut tensors = state.optimizer.state();
        for (_, tensor) in &mut tensors {
            *tensor = tensor.contiguous();
        }
        let numbers = [state.step as f64, f64::from(state.optimizer.updates()), state.scaler.scale];
        tensors.push(("numbers".into(), Tensor::from_slice(&numbers)));
        tensors.push(("steady".into(), Tensor::from_slice(&[i64::from(state.scaler.steady)])));
        tensors.push(("log".into(), log::to_tensor(&state.log)));
        tensors.push(("identity".into(), Tensor::from_slice(self.identity.as_bytes())));
        let file = AtomicFile::create(&self.path)?;
        Tensor::write_safetensors(&tensors, file.temporary()).map_err(Error::at(&place))?;
        file.commit()
    }

    /// Brings `state` to where the checkpoint was taken, if there is one.
    ///
    /// # Errors
    /// A checkpoint of other settings or inputs, or one that can't be read.
    pub fn restore(&self, state: &mut State) -> Result<bool> {
        if !self.path.exists() {
            return Ok(false);
        }
        let place = self.path.display();
        let broken = |e: tch::TchError| {
            Error::new(&place, format!("is not a checkpoint: {e}")).hint("remove it to start from step 0")
        };
        let tensors: HashMap<String, Tensor> =
            Tensor::read_safetensors(&self.path).map_err(broken)?.into_iter().collect();
        let find = |name: &str| {
            tensors.get(name).ok_or_else(|| broken(tch::TchError::FileFormat(format!("it has no tensor '{name}'"))))
        };
        if Vec::<u8>::try_from(find("identity")?).map_err(broken)? != self.identity.as_bytes() {
            return Err(Error::new(&place, "belongs to a run with other settings or inputs")
                .hint("repeat that run's command to finish it, or remove the file to start from step 0"));
        }
        no_grad(|| {
            for (name, mut tensor) in state.optimizer.state() {
                tensor.f_copy_(find(&name)?).map_err(broken)?;
            }
            Ok(())
        })?;
        let numbers: Vec<f64> = Vec::try_from(find("numbers")?).map_err(broken)?;
        let steady: Vec<i64> = Vec::try_from(find("steady")?).map_err(broken)?;
        state.log = log::from_tensor(find("log")?).map_err(broken)?;
        state.step = numbers[0] as u64;
        state.optimizer.set_updates(numbers[1] as i32);
        (state.scaler.scale, state.scaler.steady) = (numbers[2], steady[0] as u32);
        Ok(true)
    }

    /// Removes the checkpoint of a run that is done.
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(self.path.display())(error)),
            _ => Ok(()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
