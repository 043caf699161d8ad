//! What checkpoints call the same parameter.

/// What wraps a module, at whatever level: data parallelism, compilation, sharding, recomputing.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];
/// What a transformer is called where it is a part of something.
const OWNERS: [&str; 8] = ["dense_encoder", "model", "auto_model", "0", "roberta", "bert", "distilbert", "mpnet"];

/// The name of a parameter without what depends on the class it was saved from: wrappers and the names of families
/// go, and names from before 2019 become today's.
pub(crate) fn canonical(name: &str) -> String {
    let parts = name.split('.').filter(|part| !WRAPPERS.contains(part)).skip_while(|part| OWNERS.contains(part));
    let name = parts.collect::<Vec<_>>().join(".");
    let name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias");
    if name.starts_with("layer.") { format!("encoder.{name}") } else { name }
}

/// Whether a parameter, by its canonical name, is of a part that encoders don't have: the pooler and
/// the heads of other tasks.
pub(crate) fn belongs_to_a_task(name: &str) -> bool {
    let heads = ["pooler.", "lm_head.", "cls.", "classifier.", "head.", "decoder.", "vocab_", "pre_classifier."];
    heads.iter().any(|prefix| name.starts_with(prefix)) || name == "embeddings.position_ids"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_parameter_meet() {
        let name = "encoder.layer.3.output.LayerNorm.weight";
        for other in [
            "roberta.encoder.layer.3.output.LayerNorm.weight",
            "module.bert.encoder.layer.3.output.LayerNorm.gamma",
            "layer.3.output.LayerNorm.weight",
            "_orig_mod.encoder.layer.3.output.LayerNorm.weight",
            "module._orig_mod.0.auto_model.encoder.layer.3.output.LayerNorm.weight",
            "_orig_mod.module.model.bert.encoder.layer.3.output.LayerNorm.weight",
            "roberta.encoder._orig_mod.layer.3._checkpoint_wrapped_module.output.LayerNorm.weight",
            name,
        ] {
            assert_eq!(canonical(other), name);
        }
        assert_eq!(canonical("embeddingHead.weight"), "embeddingHead.weight");
    }
}
