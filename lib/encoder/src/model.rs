//! An encoder: token ids in, vectors out.

use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{self, Tensors, belongs_to_a_task};
use crate::config::{Config, Family};
use crate::dropout::Dropout;
use crate::head::Head;
use crate::modules::{self, Layout, Pooling, Step};
use crate::parameters::{Parameters, listed};
use crate::transformer::Transformer;
use crate::{Batch, Precision, Truncation, digest};

/// A text encoder of the RobertaDot or the sentence-transformers family.
pub struct Encoder {
    pub(crate) config: Config,
    pub(crate) layout: Layout,
    pub(crate) parameters: Vec<(String, Tensor)>,
    /// Vectors don't depend on it, but transformers would draw a new one if a saved model had none.
    pub(crate) pooler: Vec<(String, Tensor)>,
    pub(crate) folder: PathBuf,
    transformer: Transformer,
    head: Head,
    device: Device,
    precision: Precision,
    digest: String,
}

// SAFETY: several threads may compute with the same libtorch tensors at once. Nothing in here changes a tensor through
// a shared reference; who updates parameters in place, as optimizers do, does it while nobody encodes.
unsafe impl Sync for Encoder {}

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
    pub fn load_or_begin(folder: &Path, device: Device, precision: Precision) -> Result<Encoder> {
        Encoder::read(folder, device, precision, Headless::Begin)
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
        Ok(Encoder { config, layout, parameters, pooler, folder, transformer, head, device, precision, digest })
    }

    /// The same encoder for encoding only: the transformer's matrices are cast to the precision once.
    /// Its parameters can't be trained or saved any more.
    pub fn for_inference(mut self) -> Encoder {
        self.parameters.clear();
        self.transformer.cast(self.precision.kind());
        self
    }

    /// The same encoder with vectors of the length they come out with. The method trains with inner
    /// products that are not normalised (SIGIR 2021, section 3); a saved model has no Normalize either.
    pub fn without_normalize(mut self) -> Encoder {
        self.head.drop_normalize();
        if let Layout::Modules(modules) = &mut self.layout {
            let before = modules.len();
            modules.retain(|module| module.step != Step::Normalize);
            if modules.len() < before {
                tracing::warn!("{}: its Normalize module is left out", self.folder.display());
            }
        }
        self
    }

    /// The texts `rows`, of which none may be empty, shortened and as a batch. Texts of like length should stand
    /// together.
    pub fn batch(&self, rows: &[&[i32]], truncation: Truncation) -> Batch {
        Batch::new(rows, truncation, &self.config, self.device)
    }

    /// Vectors (B, E) of a batch, float32. Whether gradients are recorded is for the parameters and the caller to say.
    pub fn encode(&self, batch: &Batch) -> Tensor {
        self.forward(batch, None)
    }

    /// [`Encoder::encode`] with dropout; the same `seed` gives the same zeros.
    pub fn encode_with_dropout(&self, batch: &Batch, seed: u64) -> Tensor {
        self.forward(batch, Some(Dropout::new(seed, self.device)))
    }

    fn forward(&self, batch: &Batch, dropout: Option<Dropout>) -> Tensor {
        let hidden = self.transformer.forward(batch, self.precision.kind(), self.head.first_only(), dropout);
        self.head.forward(hidden, batch)
    }

    /// Whether all vectors have length 1.
    pub fn normalizes(&self) -> bool {
        self.head.normalizes()
    }

    /// E, the size of a vector.
    pub fn dimension(&self) -> usize {
        self.head.dimension as usize
    }

    /// The most tokens a text may have.
    pub fn max_positions(&self) -> usize {
        self.config.max_positions()
    }

    /// Token ids are below this.
    pub fn vocabulary(&self) -> usize {
        self.config.vocab_size as usize
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// What it computes in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The parameters, float32, by their names in the checkpoint, in the order the model is built.
    /// These are the tensors that [`Encoder::encode`] computes with: update them in place.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// The digest of the folder it was loaded from, see [`digest()`](crate::digest()).
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// For a query encoder trained by ADORE: the digest of the encoder of the documents it searches.
    pub fn document_model(&self) -> Option<&str> {
        self.config.document_model.as_deref()
    }

    /// Makes this the query encoder of documents encoded by the model with this digest, or, with none, one
    /// that encodes its documents itself; goes into the saved `config.json`.
    pub fn set_document_model(&mut self, digest: Option<&str>) {
        self.config.document_model = digest.map(str::to_owned);
    }
}

/// What to make of a plain language model, which has no head that makes vectors.
#[derive(Clone, Copy)]
enum Headless {
    /// An encoder that pools hidden states.
    Pool(Option<Pooling>),
    /// The start of training.
    Begin,
}

/// The layout of a folder without `modules.json`; adds a head to `weights` if there is none and training begins.
fn headed(config: &Config, weights: &mut Tensors, headless: Headless, place: &str) -> Result<Layout> {
    let named = config.architecture.as_deref().is_some_and(|name| name.starts_with("RobertaDot"));
    if weights.contains_key("embeddingHead.weight") || named && !matches!(headless, Headless::Begin) {
        return Ok(Layout::RobertaDot);
    }
    match (headless, config.family) {
        (Headless::Pool(Some(pooling)), _) => Ok(Layout::pooled(config.hidden_size, pooling)),
        (Headless::Pool(None), _) | (Headless::Begin, Family::Bert) => {
            tracing::warn!("{place}: it does not say how to pool; its vectors will be the mean over tokens");
            Ok(Layout::pooled(config.hidden_size, Pooling::Mean))
        }
        (Headless::Begin, Family::Roberta) => {
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
