//! An encoder as it is loaded from a model folder, trained and saved.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{self, Tensors, belongs_to_a_task};
use crate::config::{Config, Family};
use crate::head::Head;
use crate::modules::{self, Layout, Pooling, Step};
use crate::network::Network;
use crate::parameters::{Parameters, listed};
use crate::transformer::Transformer;
use crate::{Precision, digest};

/// An encoder with all that is needed to train and to save it. It computes as its [`Network`] does.
pub struct Encoder {
    pub(crate) network: Network,
    pub(crate) layout: Layout,
    pub(crate) parameters: Vec<(String, Tensor)>,
    /// Vectors don't depend on it, but transformers would draw a new one if a saved model had none.
    pub(crate) pooler: Vec<(String, Tensor)>,
    /// Prompts by name that the saved folder asks for instead of its own.
    pub(crate) prompts: Vec<(&'static str, String)>,
    pub(crate) folder: PathBuf,
}

// SAFETY: several threads may compute with the same libtorch tensors at once. Nothing in here changes a tensor through
// a shared reference; who updates parameters in place, as optimizers do, does it while nobody encodes.
unsafe impl Sync for Encoder {}

impl Deref for Encoder {
    type Target = Network;

    fn deref(&self) -> &Network {
        &self.network
    }
}

impl Encoder {
    /// Loads a model folder: a RobertaDot (`config.json`, weights), one in the layout of sentence-transformers
    /// (`modules.json`), or a plain language model, whose vectors are the mean over tokens, as in
    /// sentence-transformers.
    ///
    /// # Errors
    /// Missing or malformed files, an architecture we don't know, weights that don't fit or aren't
    /// finite.
    pub fn load(folder: &Path, device: Device, precision: Precision) -> Result<Encoder> {
        Encoder::load_pooled(folder, device, precision, None)
    }

    /// [`Encoder::load`] where the caller says how a plain language model is pooled.
    ///
    /// # Errors
    /// As [`Encoder::load`]; and a folder that has its own, other pooling.
    pub fn load_pooled(
        folder: &Path,
        device: Device,
        precision: Precision,
        pooling: Option<Pooling>,
    ) -> Result<Encoder> {
        let encoder = Encoder::read(folder, device, precision, Headless::Pool(pooling))?;
        match pooling {
            Some(wanted) if wanted != encoder.layout.pooling() => Err(Error::new(
                folder.display(),
                format!("has its own pooling, {}; expected {wanted}, as --pooling says", encoder.layout.pooling()),
            )
            .hint("--pooling is for folders that don't say how to pool")),
            _ => Ok(encoder),
        }
    }

    /// [`Encoder::load`] that also takes a plain language model: a RoBERTa gets the head of a
    /// RobertaDot, drawn from libtorch's random generator (seed it first), a BERT gets mean pooling.
    ///
    /// # Errors
    /// As [`Encoder::load`].
    pub fn load_for_training(folder: &Path, device: Device, precision: Precision) -> Result<Encoder> {
        Encoder::read(folder, device, precision, Headless::NewHead)
    }

    fn read(folder: &Path, device: Device, precision: Precision, headless: Headless) -> Result<Encoder> {
        if !folder.is_dir() {
            return Err(Error::new(folder.display(), "no such model folder"));
        }
        let place = folder.display().to_string();
        let modules = modules::read(folder)?;
        let home = match &modules {
            Some(modules) => folder.join(&modules[0].path),
            None => folder.to_path_buf(),
        };
        let adapter = home.join("adapter_config.json");
        if adapter.exists() {
            return Err(Error::new(adapter.display(), "an adapter beside the model, which is not applied here")
                .hint("peft's merge_and_unload() merges it into the weights"));
        }
        let config = Config::read(&home.join("config.json"))?;
        let mut weights = checkpoint::read(&home)?;
        if config.num_hidden_layers > weights.len() {
            let (layers, tensors) = (config.num_hidden_layers, weights.len());
            let text = format!("num_hidden_layers is {layers}, but the weights are {tensors} tensors in all");
            return Err(Error::new(home.join("config.json").display(), text));
        }
        let plain = modules.is_none() && !weights.contains_key("embeddingHead.weight");
        let layout = match modules {
            Some(modules) => {
                for module in modules.iter().filter(|module| matches!(module.step, Step::Dense { .. })) {
                    for (name, tensor) in checkpoint::read(&folder.join(&module.path))? {
                        weights.insert(format!("{}.{name}", module.path.display()), tensor);
                    }
                }
                Layout::Modules(modules)
            }
            None => headed(&config, &mut weights, headless, &place)?,
        };

        let prefix = match layout {
            Layout::RobertaDot => "roberta.",
            Layout::Modules(_) => "",
        };
        let weights = weights
            .into_iter()
            .map(|(name, tensor)| {
                let of_transformer = ["embeddings.", "encoder.", "pooler."].iter().any(|part| name.starts_with(part));
                if of_transformer { (format!("{prefix}{name}"), tensor) } else { (name, tensor) }
            })
            .collect();
        let mut parameters = Parameters::new(weights, device);
        let transformer = Transformer::new(&mut parameters, prefix, &config);
        let head = Head::new(&mut parameters, &layout, &config, &place)?;
        let (parameters, unused) = parameters.finish(&place)?;
        let (not_needed, unknown): (Tensors, Tensors) =
            unused.into_iter().partition(|(name, _)| belongs_to_a_task(name.strip_prefix(prefix).unwrap_or(name)));
        if !not_needed.is_empty() {
            tracing::debug!("{place}: not needed: {}", listed(&not_needed.keys().cloned().collect::<Vec<_>>()));
        }
        if let Some(name) = unknown.keys().find(|name| name.contains("lora_")) {
            return Err(Error::new(&place, format!("{name} is of an adapter that is not merged into the weights"))
                .hint("peft's merge_and_unload() merges it"));
        }
        if !unknown.is_empty() {
            tracing::warn!("{place}: not used: {}", listed(&unknown.into_keys().collect::<Vec<_>>()));
        }
        let is_pooler = |name: &String| name.strip_prefix(prefix).unwrap_or(name).starts_with("pooler.");
        let pooler = not_needed.into_iter().filter(|(name, _)| is_pooler(name)).collect();
        let mut digest = digest(folder)?;
        // The mean is what a plain language model stands for by itself.
        if let Headless::Pool(Some(pooling @ Pooling::First)) = headless
            && plain
        {
            digest = format!("{pooling}-{digest}");
        }
        let folder = folder.to_path_buf();
        let network = Network { config, transformer, head, device, precision, digest };
        Ok(Encoder { network, layout, parameters, pooler, prompts: Vec::new(), folder })
    }

    /// What is needed to encode, and no more: it can be neither trained nor saved. The transformer's matrices are cast
    /// to the precision once, instead of for every batch.
    pub fn for_inference(self) -> Network {
        let Encoder { mut network, .. } = self;
        network.transformer.cast(network.precision.kind());
        network
    }

    /// The same encoder with vectors of the length they come out with. The method trains with inner
    /// products that are not normalised (SIGIR 2021, section 3); a saved model has no Normalize either.
    pub fn without_normalize(mut self) -> Encoder {
        self.network.head.drop_normalize();
        if let Layout::Modules(modules) = &mut self.layout {
            let before = modules.len();
            modules.retain(|module| module.step != Step::Normalize);
            if modules.len() < before {
                tracing::warn!(
                    "{}: its Normalize module is left out, because training scores with plain inner products",
                    self.folder.display()
                );
            }
        }
        self
    }

    /// The parameters, float32, by their names in the checkpoint, in the order the model is built.
    /// These are the tensors that [`Network::encode`] computes with: update them in place.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// Makes `query` and `document` the prompts that the saved folder asks for. With none, it keeps what it was loaded
    /// with.
    pub fn set_prompts(&mut self, query: Option<&str>, document: Option<&str>) {
        let named = [("query", query), ("document", document)];
        self.prompts = named.into_iter().filter_map(|(name, prompt)| Some((name, prompt?.to_owned()))).collect();
    }

    /// Makes this the query encoder of documents encoded by the model with this digest, or, with none, one
    /// that encodes its documents itself; goes into the saved `config.json`.
    pub fn set_document_model(&mut self, digest: Option<&str>) {
        self.network.config.document_model = digest.map(str::to_owned);
    }
}

/// What to make of a plain language model, which has no head that makes vectors.
#[derive(Clone, Copy)]
enum Headless {
    /// An encoder that pools hidden states.
    Pool(Option<Pooling>),
    /// The start of training.
    NewHead,
}

/// The layout of a folder without `modules.json`; adds a head to `weights` if there is none and training begins.
fn headed(config: &Config, weights: &mut Tensors, headless: Headless, place: &str) -> Result<Layout> {
    let named = config.architecture.as_deref().is_some_and(|name| name.starts_with("RobertaDot"));
    if weights.contains_key("embeddingHead.weight") || named && !matches!(headless, Headless::NewHead) {
        return Ok(Layout::RobertaDot);
    }
    match (headless, config.family) {
        (Headless::Pool(Some(pooling)), _) => Ok(Layout::pooled(config.hidden_size, pooling)),
        (Headless::Pool(None), _) | (Headless::NewHead, Family::Bert) => {
            tracing::warn!("{place}: it does not say how to pool; its vectors will be the mean over tokens");
            Ok(Layout::pooled(config.hidden_size, Pooling::Mean))
        }
        (Headless::NewHead, Family::Roberta) => {
            tracing::warn!("{place}: no head; a new embeddingHead and norm are drawn at random");
            let size = config.output_embedding_size.unwrap_or(config.hidden_size);
            let numbers: usize = weights.values().map(Tensor::numel).sum();
            if (size * config.hidden_size) as usize > numbers {
                let text = format!("a head of {size} x {} would be larger than all its weights", config.hidden_size);
                return Err(
                    Error::new(place, text).hint("look at hidden_size and output_embedding_size in config.json")
                );
            }
            let cpu = (Kind::Float, Device::Cpu);
            let weight = Tensor::zeros([size, config.hidden_size], cpu).normal_(0.0, config.initializer_range);
            weights.insert("embeddingHead.weight".into(), weight);
            weights.insert("embeddingHead.bias".into(), Tensor::zeros([size], cpu));
            weights.insert("norm.weight".into(), Tensor::ones([size], cpu));
            weights.insert("norm.bias".into(), Tensor::zeros([size], cpu));
            Ok(Layout::RobertaDot)
        }
    }
}
