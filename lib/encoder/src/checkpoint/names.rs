//! What checkpoints call the same parameter.

/// The name of a parameter without what depends on the class it was saved from: prefixes of wrappers
/// and families go, and names from before 2019 become today's.
pub(crate) fn canonical(name: &str) -> String {
    let mut name = name;
    for prefix in ["module.", "roberta.", "bert."] {
        name = name.strip_prefix(prefix).unwrap_or(name);
    }
    let name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias");
    if name.starts_with("layer.") { format!("encoder.{name}") } else { name }
}

/// Whether a parameter, by its canonical name, is of a part that encoders don't have: the pooler and
/// the heads of other tasks.
pub(crate) fn belongs_to_a_task(name: &str) -> bool {
    ["pooler.", "lm_head.", "cls.", "classifier."].iter().any(|prefix| name.starts_with(prefix))
        || name == "embeddings.position_ids"
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
            name,
        ] {
            assert_eq!(canonical(other), name);
        }
        assert_eq!(canonical("embeddingHead.weight"), "embeddingHead.weight");
    }
}
