//! The state of AdamW as a file: what a run leaves for another that goes on with the same parameters.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use hardmine_files::{Input, foreign};
use hardmine_records::{Error, Result};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

/// Running averages of gradients and of their squares by the name of the parameter, and the number of updates. The file
/// is safetensors and has PyTorch's names: `exp_avg.NAME`, `exp_avg_sq.NAME` and `step`.
pub struct Moments {
    name: String,
    digest: String,
    tensors: HashMap<String, Tensor>,
}

impl Moments {
    /// The file's name in the folder of a model.
    pub const FILE_NAME: &str = "optimizer.safetensors";

    /// Reads what `Moments::write` wrote.
    ///
    /// # Errors
    /// A file that can't be read or is none of safetensors.
    pub fn open(input: &Input) -> Result<Self> {
        let name = input.to_string();
        let mut hash = Sha256::new();
        let mut file = File::open(input.path()).map_err(Error::io(&name))?;
        io::copy(&mut file, &mut hash).map_err(Error::io(&name))?;
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let broken = |e| Error::new(&name, format!("is no file of an optimizer's moments: {e}"));
        let tensors = foreign(&*name, || Tensor::read_safetensors(input.path()))?.map_err(broken)?;
        Ok(Moments { name, digest, tensors: tensors.into_iter().collect() })
    }

    /// Identifies the file.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Number of updates that were made.
    ///
    /// # Errors
    /// The file does not say it.
    pub(crate) fn updates(&self) -> Result<i32> {
        let step = self.tensors.get("step").filter(|step| step.numel() == 1);
        let step = step.map(|step| step.to_kind(Kind::Double).double_value(&[]));
        let step = step.filter(|step| (0.0..=f64::from(i32::MAX)).contains(step)).map(|step| step as i32);
        step.ok_or_else(|| Error::new(&self.name, "does not say in 'step' how many updates were made"))
    }

    /// The moments, mean and square, of the parameter `name`, which are of its `shape`.
    ///
    /// # Errors
    /// There are none, or they are of another shape.
    pub(crate) fn of(&self, name: &str, shape: &[i64]) -> Result<(&Tensor, &Tensor)> {
        let find = |of: &str| match self.tensors.get(&format!("{of}.{name}")) {
            Some(tensor) if tensor.size() == shape => Ok(tensor),
            Some(other) => Err(format!("has moments of {name} with shape {:?}, expected {shape:?}", other.size())),
            None => Err(format!("has no {of}.{name}")),
        };
        let both = find("exp_avg").and_then(|mean| Ok((mean, find("exp_avg_sq")?)));
        both.map_err(|text| Error::new(&self.name, text).hint("take the optimizer.safetensors of the model in --init"))
    }

    /// Writes moments, by the names of their parameters, into the model folder `folder`.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn write(folder: &Path, moments: &[(String, Tensor, Tensor)], updates: i32) -> Result<()> {
        let path = folder.join(Moments::FILE_NAME);
        let both = |(name, mean, square): &(String, Tensor, Tensor)| {
            [(format!("exp_avg.{name}"), mean.contiguous()), (format!("exp_avg_sq.{name}"), square.contiguous())]
        };
        let mut tensors: Vec<(String, Tensor)> = moments.iter().flat_map(both).collect();
        tensors.push(("step".into(), Tensor::from_slice(&[i64::from(updates)])));
        Tensor::write_safetensors(&tensors, &path).map_err(Error::at(path.display()))
    }
}
