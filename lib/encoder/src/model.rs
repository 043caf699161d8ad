//! An encoder as it is loaded from a model folder, trained and saved.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use hardmine_records::{Error, Result};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{self, Tensors, belongs_to_a_task};
use crate::config::{Config, read_json};
use crate::head::Head;
use crate::modules::{self, Layout, Step, stated_similarity};
use crate::network::Network;
use crate::parameters::{Parameters, listed};
use crate::{Pooling, PoolingMode, Precision, Similarity, Tower, digest};

/// An encoder with all that is needed to train and to save it. It computes as its [`Network`] does.
pub struct Encoder {
    pub(crate) network: Network,
    pub(crate) layout: Layout,
    pub(crate) parameters: Vec<(String, Tensor)>,
    /// Vectors don't depend on it, but transformers would draw a new one if a saved model had none.
    pub(crate) pooler: Vec<(String, Tensor)>,
    /// Prompts by name that the saved folder asks for instead of its own.
    pub(crate) prompts: Vec<(&'static str, String)>,
    pub(crate) tower: Option<Tower>,
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
        let encoder = Encoder::read(folder, device, precision, Purpose::Encode(pooling.clone()))?;
        match pooling {
            Some(wanted) if !wanted.has_modes_of(&encoder.layout.pooling()) => Err(Error::new(
                folder.display(),
                format!("has its own pooling, {}; expected {wanted}, as --pooling says", encoder.layout.pooling()),
            )
            .hint("--pooling is for folders that don't say how to pool")),
            _ => Ok(encoder),
        }
    }

    /// [`Encoder::load`] for training with scores of this `similarity`, or, if none is given, with the one that the
    /// folder states: its `similarity_fn_name`, or a Normalize module at its end, which stands for cosine. Vectors then
    /// have length 1 exactly if it is cosine, whether they had or not. A folder that says nothing stands for inner
    /// products.
    ///
    /// It also takes a plain language model. A RoBERTa that is trained by inner products gets the head of a RobertaDot,
    /// drawn from libtorch's random generator (seed it first); all others get mean pooling.
    ///
    /// # Errors
    /// As [`Encoder::load`]; and a RobertaDot that is to be compared by cosine.
    pub fn load_for_training(
        folder: &Path,
        device: Device,
        precision: Precision,
        similarity: Option<Similarity>,
    ) -> Result<Encoder> {
        Encoder::read(folder, device, precision, Purpose::Train(similarity))
    }

    fn read(folder: &Path, device: Device, precision: Precision, purpose: Purpose) -> Result<Encoder> {
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
            return Err(refuse_adapter(&adapter));
        }
        let config = Config::read(&home.join("config.json"))?;
        let mut weights = checkpoint::read(&home)?;
        if config.sizes.layers > weights.len() {
            let (layers, tensors) = (config.sizes.layers, weights.len());
            let text = format!("num_hidden_layers is {layers}, but the weights are {tensors} tensors in all");
            return Err(Error::new(home.join("config.json").display(), text));
        }
        let plain = modules.is_none() && !weights.contains_key("embeddingHead.weight");
        let mut layout = match modules {
            Some(modules) => {
                for module in modules.iter().filter(|module| matches!(module.step, Step::Dense { .. })) {
                    for (name, tensor) in checkpoint::read(&folder.join(&module.path))? {
                        weights.insert(format!("{}.{name}", module.path.display()), tensor);
                    }
                }
                Layout::Modules(modules)
            }
            None => headed(&config, &mut weights, &purpose, &place)?,
        };
        if let Purpose::Train(similarity) = purpose {
            compare_by(&mut layout, similarity, folder)?;
            if let Some(dimensions) = modules::stated_dimensions(folder)? {
                tracing::warn!(
                    "{place}: its truncate_dim {dimensions} is not followed in training, but embed follows it; hint: \
                     --dimensions {dimensions} trains vectors that are cut so"
                );
            }
        }

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
        parameters.enter(prefix);
        let transformer = config.architecture.build(&mut parameters);
        parameters.enter("");
        let head = Head::new(&mut parameters, &layout, &config, &place)?;
        let (parameters, mut unused) = parameters.finish(&place)?;
        let tower = Tower::take(&mut unused, config.tower, head.dimension, &place)?;
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
        if let Purpose::Encode(Some(pooling)) = purpose
            && plain
            && pooling != Pooling::of(PoolingMode::Mean)
        {
            digest = format!("{pooling}-{digest}");
        }
        let folder = folder.to_path_buf();
        let network = Network { config, transformer, head, device, precision, digest };
        Ok(Encoder { network, layout, parameters, pooler, prompts: Vec::new(), tower, folder })
    }

    /// What is needed to encode, and no more: it can be neither trained nor saved. The transformer's matrices are cast
    /// to the precision once, instead of for every batch; only here are they rounded to int8, where that is the
    /// precision.
    pub fn for_inference(self) -> Network {
        let Encoder { mut network, .. } = self;
        let precision = network.precision;
        network.transformer.linears().into_iter().for_each(|linear| match precision {
            Precision::Int8 => linear.round_to_int8(),
            _ => linear.cast(precision.kind()),
        });
        network
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

    /// The rotation and the centroids that make it a tower, if it is one. The vectors of [`Network::encode`] are plain
    /// all the same.
    pub fn tower(&self) -> Option<&Tower> {
        self.tower.as_ref()
    }

    /// Makes it a tower, or a plain encoder again; goes into the saved folder.
    pub fn set_tower(&mut self, tower: Option<Tower>) {
        self.tower = tower;
    }

    /// Makes this the query encoder of documents encoded by the model with this digest, or, with none, one
    /// that encodes its documents itself; goes into the saved `config.json`.
    pub fn set_document_model(&mut self, digest: Option<&str>) {
        self.network.config.document_model = digest.map(str::to_owned);
    }
}

/// An adapter, with the name of the model that it adapts.
fn refuse_adapter(file: &Path) -> Error {
    let settings: Value = read_json(file).unwrap_or_default();
    let base =
        settings.get("base_model_name_or_path").and_then(Value::as_str).unwrap_or("a model that it does not name");
    Error::new(file.display(), format!("is an adapter of {base}, and adapters are not applied here"))
        .hint("peft's merge_and_unload() merges it into the weights of that model; then name the merged folder")
}

/// What a model is loaded for.
enum Purpose {
    /// To encode. A plain language model is pooled like this, or else by the mean.
    Encode(Option<Pooling>),
    /// To be trained by this similarity, or else by that of its folder.
    Train(Option<Similarity>),
}

/// Makes vectors of length 1, or of the length that they come out with, as `similarity` needs it, or else as the folder
/// has it.
fn compare_by(layout: &mut Layout, similarity: Option<Similarity>, folder: &Path) -> Result<()> {
    let normalizes = layout.normalizes();
    let wanted = match similarity {
        Some(similarity) => similarity,
        None if normalizes => {
            if !matches!(stated_similarity(folder), Ok(None | Some(Similarity::Cosine))) {
                tracing::warn!(
                    "{}: it ends in a Normalize module, but its similarity_fn_name is another than cosine; it is trained \
                     by cosine; hint: --similarity says by what to train",
                    folder.display()
                );
            }
            Similarity::Cosine
        }
        None => stated_similarity(folder)?.unwrap_or(Similarity::Dot),
    };
    layout.compare_by(wanted).map_err(|text| {
        Error::new(folder.display(), text)
            .hint("--similarity dot; or start from a model in sentence-transformers' layout")
    })?;
    match (normalizes, wanted) {
        (true, Similarity::Dot) => tracing::warn!(
            "{}: its Normalize module is left out, because training is to score with plain inner products",
            folder.display()
        ),
        (false, Similarity::Cosine) => {
            tracing::warn!("{}: a Normalize module is added, because training scores with cosine", folder.display());
        }
        _ => {}
    }
    Ok(())
}

/// The layout of a folder without `modules.json`; adds a head to `weights` if there is none and training begins.
fn headed(config: &Config, weights: &mut Tensors, purpose: &Purpose, place: &str) -> Result<Layout> {
    let named = config.class.as_deref().is_some_and(|name| name.starts_with("RobertaDot"));
    if weights.contains_key("embeddingHead.weight") || named && matches!(purpose, Purpose::Encode(_)) {
        return Ok(Layout::RobertaDot);
    }
    let hidden = config.sizes.hidden;
    if let Some((mode, cosine)) = config.dense.stated(place)? {
        let mut layout = Layout::pooled(hidden, Pooling::of(mode));
        let similarity = if cosine { Similarity::Cosine } else { Similarity::Dot };
        layout.compare_by(similarity).map_err(|text| Error::new(place, text))?;
        return Ok(layout);
    }
    match purpose {
        Purpose::Encode(Some(pooling)) => Ok(Layout::pooled(hidden, pooling.clone())),
        Purpose::Train(None | Some(Similarity::Dot)) if config.architecture.becomes_roberta_dot() => {
            tracing::warn!("{place}: no head; a new embeddingHead and norm are drawn at random");
            add_head(config, weights, place)?;
            Ok(Layout::RobertaDot)
        }
        Purpose::Encode(None) | Purpose::Train(_) => {
            tracing::warn!("{place}: it does not say how to pool; its vectors will be the mean over tokens");
            Ok(Layout::pooled(hidden, Pooling::of(PoolingMode::Mean)))
        }
    }
}

/// Draws the head of a RobertaDot.
fn add_head(config: &Config, weights: &mut Tensors, place: &str) -> Result<()> {
    let hidden = config.sizes.hidden;
    let size = config.output_embedding_size.unwrap_or(hidden);
    let numbers: usize = weights.values().map(Tensor::numel).sum();
    if (size * hidden) as usize > numbers {
        let text = format!("a head of {size} x {hidden} would be larger than all its weights");
        return Err(Error::new(place, text).hint("look at hidden_size and output_embedding_size in config.json"));
    }
    let cpu = (Kind::Float, Device::Cpu);
    let weight = Tensor::zeros([size, hidden], cpu).normal_(0.0, config.initializer_range);
    weights.insert("embeddingHead.weight".into(), weight);
    weights.insert("embeddingHead.bias".into(), Tensor::zeros([size], cpu));
    weights.insert("norm.weight".into(), Tensor::ones([size], cpu));
    weights.insert("norm.bias".into(), Tensor::zeros([size], cpu));
    Ok(())
}
