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

use crate::dev::{DevSet, Keep, Measured};
use crate::document_lists::DocumentLists;
use crate::freeze::Freeze;
use crate::method::Method;
use crate::objective::Loss;
use crate::optimizer::Rule;
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
        if let Some(digest) = self.encoder.document_model() {
            let _ = writeln!(
                text,
                "This model encodes queries only. The documents stay as they were encoded for its training, by the model \
                 with the digest `{digest}`.\n"
            );
        }
        let documents = self.encoder.document_model().is_none();
        if has_modules(folder) {
            text += &in_sentence_transformers(&prompted(folder), documents);
        }
        text += "In hardmine:\n\n```sh\nMODEL=path/to/this/folder\n";
        if documents {
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
        rows.extend(self.settings());
        let rows: String = rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        let (program, command) = (entry(PROGRAM), entry(COMMAND));
        format!(
            "## How it was trained\n\n| | |\n|---|---|\n{rows}\nThe command line, of {program}, without folders:\n\n    \
             {command}\n\n`training-log.parquet` has the loss, the learning rate and the norm of the gradient of every \
             step.\n"
        )
    }

    /// The settings, by the names of the options that set them.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let TrainingSettings { epochs, steps, batch_size, objective, optimizer, learning_rate, .. } = self.settings;
        let TrainingSettings { warmup_steps, weight_decay, max_gradient_norm, accumulate, seed, .. } = self.settings;
        let mut rows = vec![("precision", self.encoder.precision().to_string()), ("seed", seed.to_string())];
        match steps {
            Some(steps) => rows.push(("steps", steps.to_string())),
            None => rows.push(("epochs", epochs.to_string())),
        }
        rows.extend([
            ("batch size", batch_size.to_string()),
            ("optimizer", optimizer_name(*optimizer).to_owned()),
            ("learning rate", format!("{learning_rate:e}")),
            ("warm-up steps", warmup_steps.to_string()),
            ("schedule", format!("{:?}", self.settings.schedule).to_lowercase()),
            ("weight decay", weight_decay.to_string()),
            ("largest norm of the gradient", max_gradient_norm.to_string()),
            ("most tokens of a query", self.settings.max_query_length.to_string()),
        ]);
        if *accumulate > 1 {
            rows.push(("batches in an update", accumulate.to_string()));
        }
        if let Some(freeze) = self.settings.freeze {
            let frozen = match freeze {
                Freeze::Embeddings => "the embeddings".to_owned(),
                Freeze::Layers(layers) => format!("the embeddings and the first {layers} layers"),
            };
            rows.push(("left as they were", frozen));
        }
        let loss = match objective.loss {
            Loss::Softplus => "softplus".to_owned(),
            Loss::InfoNce { symmetric: false } => "infonce".to_owned(),
            Loss::InfoNce { symmetric: true } => "infonce, in both directions".to_owned(),
            Loss::MarginMse => "marginmse".to_owned(),
            Loss::Kl { teacher_temperature } => format!("kl, with a teacher's temperature of {teacher_temperature}"),
        };
        rows.extend([("loss", loss), ("temperature", objective.temperature.to_string())]);
        if !objective.dimensions.is_empty() {
            let dimensions: Vec<String> = objective.dimensions.iter().map(i64::to_string).collect();
            rows.push(("vectors can be cut to", dimensions.join(", ")));
        }
        match self.method {
            Method::Adore { top_k, metric_cut, .. } => {
                rows.push(("documents retrieved for a query", top_k.to_string()));
                rows.extend(metric_cut.map(|cut| ("last position that counts", cut.to_string())));
            }
            Method::InBatch { .. } => {}
            Method::RandNeg { rand_num, .. } => rows.push(("random negatives of a query", rand_num.to_string())),
            Method::Star { hard_num, .. } => rows.push(("hard negatives of a query", hard_num.to_string())),
        }
        if self.method.docs().is_some() {
            rows.push(("most tokens of a document", self.settings.max_doc_length.to_string()));
        }
        rows
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

fn in_sentence_transformers(prompted: &[String], documents: bool) -> String {
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
    if documents {
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

/// The optimizer's name on the command line.
fn optimizer_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Lamb => "lamb",
        Rule::AdamW => "adamw",
        Rule::TorchAdamW => "torch-adamw",
    }
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
