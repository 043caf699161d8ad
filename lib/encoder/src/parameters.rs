//! Parameters by name, handed out while a model is built from them.

use hardmine_records::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::Tensors;

/// Takes tensors out of a checkpoint and remembers in which order, and which were not as expected.
pub(crate) struct Parameters {
    found: Tensors,
    taken: Vec<(String, Tensor)>,
    missing: Vec<String>,
    wrong: Vec<String>,
    /// What all names begin with that are asked for.
    prefix: &'static str,
    device: Device,
}

impl Parameters {
    /// Over the tensors of a checkpoint, float32.
    pub fn new(found: Tensors, device: Device) -> Parameters {
        Parameters { found, taken: Vec::new(), missing: Vec::new(), wrong: Vec::new(), prefix: "", device }
    }

    /// From now on, names that are asked for are those of a part that is called so.
    pub fn enter(&mut self, prefix: &'static str) {
        self.prefix = prefix;
    }

    /// The parameter `name`, on the device. One that is missing or has another shape gives an empty
    /// tensor now and an error in [`Parameters::finish`], which can then name all of them.
    pub fn get(&mut self, name: &str, shape: &[i64]) -> Tensor {
        let name = format!("{}{name}", self.prefix);
        match self.found.remove(&name) {
            Some(tensor) if tensor.size() == shape => {
                let tensor = tensor.to_device(self.device);
                self.taken.push((name, tensor.shallow_clone()));
                return tensor;
            }
            Some(tensor) => self.wrong.push(format!("{name}: expected shape {shape:?}, found {:?}", tensor.size())),
            None => self.missing.push(name),
        }
        Tensor::empty([0], (Kind::Float, self.device))
    }

    /// The parameters taken, in the order they were, and what nobody asked for.
    ///
    /// # Errors
    /// Names what was missing or of the wrong shape.
    pub fn finish(self, place: &str) -> Result<(Vec<(String, Tensor)>, Tensors)> {
        if !self.wrong.is_empty() {
            return Err(Error::new(place, listed(&self.wrong)).hint("do config.json and the weights belong together?"));
        }
        if !self.missing.is_empty() {
            let mut text = format!("missing: {}", listed(&self.missing));
            if !self.found.is_empty() {
                text += &format!("; there instead: {}", listed(&self.found.into_keys().collect::<Vec<_>>()));
            }
            return Err(Error::new(place, text).hint("do config.json and the weights belong together?"));
        }
        Ok((self.taken, self.found))
    }
}

/// The first few, and how many more.
pub(crate) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
