//! What tells one run from another: a checkpoint is taken up only by the run that wrote it.

use hardmine_encoder::Encoder;
use hardmine_files::MappedTokens;
use hardmine_records::Provenance;
use sha2::{Digest, Sha256};

use crate::dev::DevSet;
use crate::document_lists::DocumentLists;
use crate::method::Method;
use crate::settings::TrainingSettings;
use crate::teacher::Teacher;

/// Digest of the settings, the model at the start, and all that is trained on, in hexadecimal. Texts and document
/// embeddings go in by their number and provenance only, because they may be large.
pub fn identity(
    encoder: &Encoder,
    method: &Method,
    queries: &MappedTokens,
    relevant: &DocumentLists,
    settings: &TrainingSettings,
    dev: Option<&DevSet>,
) -> String {
    let mut hash = Sha256::new();
    let settings = serde_json::to_string(settings).unwrap_or_default();
    hash.update(format!("{} {} {} {settings}", env!("CARGO_PKG_VERSION"), encoder.digest(), encoder.precision()));
    hash.update(format!("{:?} {}", encoder.similarity(), method.name()));
    add_rows(&mut hash, queries.len(), queries.provenance());
    add_lists(&mut hash, relevant);
    match method {
        Method::InBatch { docs } => add_rows(&mut hash, docs.len(), docs.provenance()),
        Method::RandNeg { docs, rand_num } => {
            add_rows(&mut hash, docs.len(), docs.provenance());
            hash.update(rand_num.to_le_bytes());
        }
        Method::Star { docs, negatives, hard_num, teacher } => {
            add_rows(&mut hash, docs.len(), docs.provenance());
            add_lists(&mut hash, negatives);
            hash.update(hard_num.to_le_bytes());
            teacher.iter().flat_map(Teacher::scores).for_each(|score| hash.update(score.to_le_bytes()));
        }
        Method::Adore { documents, top_k, metric_cut } => {
            add_rows(&mut hash, documents.rows(), documents.provenance());
            hash.update(format!("{top_k} {metric_cut:?}"));
        }
        Method::Jpq { documents, top_k, lambda_cut } => {
            add_rows(&mut hash, documents.rows(), documents.provenance());
            hash.update(format!("{top_k} {lambda_cut:?} {}", documents.quantizer().identity()));
        }
        Method::RepConc { docs, negatives, hard_num, clustering } => {
            add_rows(&mut hash, docs.len(), docs.provenance());
            add_lists(&mut hash, negatives);
            hash.update(hard_num.to_le_bytes());
            hash.update(clustering.identity());
        }
    }
    if let Some(dev) = dev {
        add_rows(&mut hash, dev.len(), dev.provenance());
        hash.update(dev.identity());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn add_rows(hash: &mut Sha256, rows: usize, provenance: &Provenance) {
    hash.update(rows.to_le_bytes());
    for (name, value) in provenance.iter() {
        hash.update(format!("{name}={value}\n"));
    }
}

fn add_lists(hash: &mut Sha256, lists: &DocumentLists) {
    for query in lists.queries() {
        hash.update(query.to_le_bytes());
        hash.update((lists.of(query).len() as u64).to_le_bytes());
        lists.of(query).iter().for_each(|doc| hash.update(doc.to_le_bytes()));
    }
}
