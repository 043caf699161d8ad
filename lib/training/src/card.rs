//! The model card: a `README.md` in the model folder that says what the model was made of and how to use it. The same
//! run writes the same card, and no path of the machine is in it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use hardmine_encoder::Encoder;
use hardmine_files::MappedTokens;
use hardmine_records::provenance::{COMMAND, KEYS, MODEL, PROGRAM};
use hardmine_records::{Error, Provenance, Result};
use serde_json::Value;

use crate::assign::{Assignment, Constraint};
use crate::clustering::Clustering;
use crate::dev::{DevSet, Keep, Measured};
use crate::document_lists::DocumentLists;
use crate::encoding::Chunks;
use crate::freeze::Freeze;
use crate::method::Method;
use crate::objective::{Loss, Objective};
use crate::optimizer::Rule;
use crate::quantizer::Quantizer;
use crate::schedule::Decay;
use crate::settings::TrainingSettings;

/// Name of the card in a model folder.
const FILE_NAME: &str = "README.md";

/// What the card tells of.
pub struct Card<'a> {
    /// The folder of the model that training started from.
    pub init: &'a Path,
    /// The trained model; its digest is that of the start.
    pub encoder: &'a Encoder,
    /// The method, with its documents.
    pub method: &'a Method,
    /// The training queries.
    pub queries: &'a MappedTokens,
    /// Their relevant documents.
    pub relevant: &'a DocumentLists,
    /// The settings of the run.
    pub settings: &'a TrainingSettings,
    /// The dev queries, and what was measured on them.
    pub dev: Option<(&'a DevSet, &'a Measured)>,
    /// What the training log says of the run; it has the digest of the trained model.
    pub provenance: &'a Provenance,
}

impl Card<'_> {
    /// Writes the card into `folder`, which holds the rest of the model.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE_NAME);
        let parts = [self.front(folder), self.title(), self.usage(folder), self.training(), self.curve()];
        fs::write(&path, parts.concat()).map_err(Error::io(path.display()))
    }

    /// What the hub reads. A RobertaDot has a head that sentence-transformers does not know.
    fn front(&self, folder: &Path) -> String {
        let (library, tag) = match has_modules(folder) {
            true => ("sentence-transformers", "- sentence-transformers\n"),
            false => ("transformers", ""),
        };
        let base = hub_name(self.init).map_or(String::new(), |name| format!("base_model: {name}\n"));
        format!(
            "---\nlibrary_name: {library}\npipeline_tag: sentence-similarity\n{base}tags:\n{tag}- sentence-similarity\n\
             - feature-extraction\n- dense-retrieval\n- hardmine\n---\n\n"
        )
    }

    fn title(&self) -> String {
        let (method, dimension) = (self.method.name(), self.encoder.dimension());
        format!(
            "# A dense retriever, trained by hardmine\n\nThe model turns a text into a vector of {dimension} numbers, so \
             that a query is near the documents that answer it. It was trained from {} by `train {method}`.\n\n",
            self.start()
        )
    }

    /// The model that training started from, by its name. The last part of a path in the hub's cache is no name.
    fn start(&self) -> String {
        let whole = self.init.canonicalize().unwrap_or_default();
        // A path such as `..` ends in no name.
        let name = self.init.file_name().or(whole.file_name()).unwrap_or_default();
        format!("`{}`", hub_name(self.init).unwrap_or_else(|| name.to_string_lossy().into_owned()))
    }

    fn usage(&self, folder: &Path) -> String {
        let mut text = String::from("## How to use it\n\n");
        let encodes_documents = self.encoder.document_model().is_none();
        if let Some(digest) = self.encoder.document_model() {
            let _ = writeln!(
                text,
                "This model encodes queries only. The documents stay as they were encoded for its training, by the model \
                 with the digest `{digest}`.\n"
            );
        }
        if has_modules(folder) {
            text += &in_sentence_transformers(&prompted(folder), encodes_documents);
        }
        text += "In hardmine:\n\n```sh\nMODEL=path/to/this/folder\n";
        if encodes_documents {
            text += "tokenize --tokenizer $MODEL collection.tsv | embed --model $MODEL -o docs.arrow\n";
        }
        text += "tokenize --tokenizer $MODEL --kind query queries.tsv | embed --model $MODEL \\\n  \
                 | rank --index docs.arrow --top-k 100 -o run.parquet\n```\n\n";
        text
    }

    fn training(&self) -> String {
        let mut stamped = self.provenance.clone();
        stamped.stamp_program();
        let entry = |name| stamped.get(name).unwrap_or_default();
        let pairs: usize = self.relevant.queries().iter().map(|&query| self.relevant.of(query).len()).sum();
        let counted = |number: usize, of: &Provenance| match of.get(KEYS) {
            Some(keys) => format!("{number}, fingerprint of the ids `{keys}`"),
            None => number.to_string(),
        };
        let mut rows = vec![
            ("start", format!("{}, digest `{}`", self.start(), self.encoder.digest())),
            ("this model", format!("digest `{}`", entry(MODEL))),
            ("vectors are compared by", self.encoder.similarity().to_string()),
            ("documents", counted(self.method.number_of_documents(), self.method.provenance())),
            ("training queries", counted(self.relevant.queries().len(), self.queries.provenance())),
            ("relevant documents of these", pairs.to_string()),
        ];
        if let Some((dev, _)) = self.dev {
            rows.push(("dev queries", counted(dev.len(), dev.provenance())));
        }
        rows.extend(method_rows(self.method));
        rows.extend(loss_rows(&self.settings.objective));
        rows.extend(update_rows(self.settings));
        rows.extend(other_rows(self.settings, self.method.docs().is_none()));
        rows.push(("precision", self.encoder.precision().to_string()));
        let rows: String = rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        let (program, command) = (entry(PROGRAM), entry(COMMAND));
        format!(
            "## How it was trained\n\n| | |\n|---|---|\n{rows}\nThe command line, of {program}, without folders:\n\n    \
             {command}\n\n`training-log.parquet` has the loss, the learning rate and the norm of the gradient of every \
             step.\n"
        )
    }

    fn curve(&self) -> String {
        let Some((dev, measured)) = self.dev else { return String::new() };
        let chosen = match dev.plan().keep {
            Keep::Best => "The model was chosen by these values, so they are a little too good.\n\n",
            Keep::Last => "",
        };
        let (start, (written, _)) = (measured.start(), measured.written);
        let row = |&(step, value): &(u64, f64)| {
            let mark = if step == written { " (this model)" } else { "" };
            format!("| {step}{mark} | {value:.4} | {:+.4} |\n", value - start)
        };
        let rows: String = measured.points.iter().map(row).collect();
        format!(
            "\n## On the dev queries\n\n{chosen}| steps | {} | difference to the start |\n|---|---|---|\n{rows}",
            measured.metric
        )
    }
}

/// An option of the command line, and its value as it is given there.
type Setting = (&'static str, String);

fn method_rows(method: &Method) -> Vec<Setting> {
    match method {
        Method::InBatch { .. } => vec![],
        Method::RandNeg { rand_num, .. } => vec![("rand num", rand_num.to_string())],
        Method::Star { hard_num, .. } => vec![("hard num", hard_num.to_string())],
        Method::Adore { top_k, metric_cut, .. } => {
            let cut = metric_cut.map(|cut| ("metric cut", cut.to_string()));
            [("top k", top_k.to_string())].into_iter().chain(cut).collect()
        }
        Method::Jpq { documents, top_k, lambda_cut } => {
            let cut = lambda_cut.map(|cut| ("lambda cut", cut.to_string()));
            [subvectors(documents.quantizer()), ("top k", top_k.to_string())].into_iter().chain(cut).collect()
        }
        Method::RepConc { hard_num, clustering: Clustering { quantizer, assignment, mse_weight, once }, .. } => vec![
            subvectors(quantizer),
            ("hard num", hard_num.to_string()),
            ("mse weight", mse_weight.to_string()),
            ("release", if *once { "2" } else { "1" }.into()),
            (
                "codes",
                match assignment {
                    Assignment { constraint: Constraint::None, .. } => "the nearest centroids".into(),
                    Assignment { epsilon, iterations, .. } => format!("epsilon {epsilon}, iterations {iterations}"),
                },
            ),
        ],
    }
}

fn subvectors(quantizer: &Quantizer) -> Setting {
    ("subvectors", quantizer.subvectors().to_string())
}

fn loss_rows(Objective { loss, temperature, dimensions }: &Objective) -> Vec<Setting> {
    let (name, of_loss) = match loss {
        Loss::Softplus => ("softplus", None),
        Loss::InfoNce { symmetric } => ("infonce", symmetric.then(|| ("symmetric", "yes".into()))),
        Loss::InfoNceOfHardest { count } => ("infonce", Some(("hardest", count.to_string()))),
        Loss::MarginMse => ("marginmse", None),
        Loss::Weighted => ("weighted", None),
        Loss::List => ("list", None),
        Loss::UnmaskedList => ("unmasked-list", None),
        Loss::Pair => ("pair", None),
        Loss::Lambda => ("lambda", None),
        Loss::Kl { teacher_temperature } => ("kl", Some(("teacher temperature", teacher_temperature.to_string()))),
    };
    let mut rows = vec![("loss", name.into()), ("temperature", temperature.to_string())];
    rows.extend(of_loss);
    if !dimensions.is_empty() {
        let numbers: Vec<String> = dimensions.iter().map(i64::to_string).collect();
        rows.push(("dimensions", numbers.join(",")));
    }
    rows
}

fn update_rows(settings: &TrainingSettings) -> Vec<Setting> {
    let optimizer = match settings.optimizer {
        Rule::Lamb => "lamb",
        Rule::AdamW => "adamw",
        Rule::TorchAdamW => "torch-adamw",
    };
    let schedule = match settings.schedule {
        Decay::Linear => "linear",
        Decay::Cosine => "cosine",
        Decay::Constant => "constant",
    };
    let freeze = settings.freeze.map(|part| match part {
        Freeze::Embeddings => "embeddings".into(),
        Freeze::Layers(layers) => format!("layers:{layers}"),
    });
    let mut rows = vec![
        ("optimizer", optimizer.into()),
        // The debug form has 5e-6 where the other has 0.000005.
        ("learning rate", format!("{:?}", settings.learning_rate)),
        ("warmup steps", settings.warmup_steps.to_string()),
        ("schedule", schedule.into()),
        ("weight decay", settings.weight_decay.to_string()),
        ("max gradient norm", settings.max_gradient_norm.to_string()),
    ];
    rows.extend(settings.centroids.map(|of| ("centroid rate", format!("{:?}", of.learning_rate))));
    rows.extend(settings.moments.as_ref().map(|digest| ("optimizer state", format!("digest `{digest}`"))));
    rows.extend(freeze.map(|part| ("freeze", part)));
    rows.push(("accumulate", settings.accumulate.to_string()));
    rows
}

fn other_rows(settings: &TrainingSettings, has_document_vectors: bool) -> Vec<Setting> {
    let mut rows = vec![("epochs", settings.epochs.to_string())];
    rows.extend(settings.steps.map(|steps| ("steps", steps.to_string())));
    rows.push(("batch size", settings.batch_size.to_string()));
    rows.push(("max query length", settings.max_query_length.to_string()));
    if !has_document_vectors {
        rows.push(("max doc length", settings.max_doc_length.to_string()));
    }
    rows.extend(settings.chunks.map(|chunks| match chunks {
        Chunks::Texts(texts) => ("chunk size", texts.to_string()),
        Chunks::Tokens(tokens) => ("chunk tokens", tokens.to_string()),
    }));
    rows.push(("seed", settings.seed.to_string()));
    rows
}

fn in_sentence_transformers(prompted: &[String], encodes_documents: bool) -> String {
    // Where there are no prompts, any version of sentence-transformers will do.
    let (query, document) = match prompted.is_empty() {
        true => ("encode", "encode"),
        false => ("encode_query", "encode_document"),
    };
    let mut text = String::from("In sentence-transformers");
    if !prompted.is_empty() {
        let _ = write!(
            text,
            ", from version 5 on, which puts the model's prompts before the texts ({})",
            prompted.join(", ")
        );
    }
    text += ":\n\n```python\nfrom sentence_transformers import SentenceTransformer\n\n";
    text += "model = SentenceTransformer(\"path/to/this/folder\")\n";
    let _ = writeln!(text, "queries = model.{query}([\"how to create a cluster\"])");
    if encodes_documents {
        let _ = writeln!(text, "documents = model.{document}([\"aks create: Creates a Kubernetes cluster.\"])");
        text += "print(model.similarity(queries, documents))\n";
    }
    text + "```\n\n"
}

/// The names of the model's prompts that are not empty, in alphabetical order.
fn prompted(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("config_sentence_transformers.json")).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let prompts = config["prompts"].as_object().into_iter().flatten();
    let prompts = prompts.filter(|(_, text)| text.as_str().is_some_and(|text| !text.is_empty()));
    let mut names: Vec<String> = prompts.map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

fn has_modules(folder: &Path) -> bool {
    folder.join("modules.json").exists()
}

/// The model's name on the hub, which only a folder of the hub's cache tells: `models--ORGANISATION--NAME`.
fn hub_name(folder: &Path) -> Option<String> {
    let path = folder.canonicalize().ok()?;
    let in_cache = |part: std::path::Component| {
        let name = part.as_os_str().to_str()?.strip_prefix("models--")?.replace("--", "/");
        (name.split('/').count() <= 2).then_some(name)
    };
    path.components().find_map(in_cache)
}
