//! Forms a checkpoint comes in: one model under other names, in shards, in half precision, gives the same vectors.

use std::collections::HashMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::json;

use crate::common::{Folder, Records, fixture, save_tokens};

/// A tensor: its name, shape and numbers.
type Tensor = (String, Vec<usize>, Vec<f32>);

/// The reference's RobertaDot in `model`, whose weights the caller writes, and the vectors of its texts.
fn with_weights(write: impl Fn(&Folder, Vec<Tensor>)) -> Vec<Vec<f32>> {
    let folder = Folder::empty();
    save_tokens(&folder, "docs");
    folder.sh("mkdir model").ok();
    let init = fixture("training/init");
    std::fs::copy(init.join("config.json"), folder.path("model/config.json")).unwrap();
    let bytes = std::fs::read(init.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |view: &TensorView| -> Vec<f32> {
        view.data().chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    let tensors = tensors.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec(), numbers(&view))).collect();
    write(&folder, tensors);
    Records::stream(&folder.run("embed --model model docs.parquet").ok().stdout).vectors()
}

fn save(folder: &Folder, name: &str, tensors: &[Tensor], dtype: Dtype) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, numbers)| {
            let bytes = |number: &f32| match dtype {
                Dtype::F16 => f16::from_f32(*number).to_le_bytes().to_vec(),
                Dtype::BF16 => bf16::from_f32(*number).to_le_bytes().to_vec(),
                _ => number.to_le_bytes().to_vec(),
            };
            numbers.iter().flat_map(bytes).collect()
        })
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    folder.write(&format!("model/{name}"), safetensors::serialize(views, None).unwrap());
}

fn as_they_are() -> Vec<Vec<f32>> {
    with_weights(|folder, tensors| save(folder, "model.safetensors", &tensors, Dtype::F32))
}

#[test]
fn names_with_any_prefix() {
    let expected = as_they_are();
    for prefix in [
        "",
        "bert.",
        "module.roberta.",
        "_orig_mod.roberta.",
        "module._orig_mod.",
        "_orig_mod.module.0.auto_model.",
        "model.",
        "roberta._orig_mod.",
    ] {
        let renamed = with_weights(|folder, mut tensors| {
            for (name, ..) in &mut tensors {
                if let Some(rest) = name.strip_prefix("roberta.") {
                    *name = format!("{prefix}{rest}");
                }
            }
            save(folder, "model.safetensors", &tensors, Dtype::F32);
        });
        assert_eq!(renamed, expected, "prefix '{prefix}'");
    }
}

#[test]
fn shards_with_an_index() {
    let sharded = with_weights(|folder, tensors| {
        let (one, other) = tensors.split_at(tensors.len() / 2);
        let mut map = HashMap::new();
        for (file, tensors) in [("model-1.safetensors", one), ("model-2.safetensors", other)] {
            save(folder, file, tensors, Dtype::F32);
            map.extend(tensors.iter().map(|(name, ..)| (name.clone(), file)));
        }
        folder.write("model/model.safetensors.index.json", json!({"metadata": {}, "weight_map": map}).to_string());
    });
    assert_eq!(sharded, as_they_are());
}

#[test]
fn half_precision_is_read_as_the_numbers_it_holds() {
    for (dtype, round) in [
        (Dtype::F16, (|number| f16::from_f32(number).to_f32()) as fn(f32) -> f32),
        (Dtype::BF16, |number| bf16::from_f32(number).to_f32()),
    ] {
        let narrow = with_weights(|folder, tensors| save(folder, "model.safetensors", &tensors, dtype));
        let rounded = with_weights(|folder, mut tensors| {
            tensors.iter_mut().flat_map(|(_, _, numbers)| numbers).for_each(|number| *number = round(*number));
            save(folder, "model.safetensors", &tensors, Dtype::F32);
        });
        assert_eq!(narrow, rounded, "{dtype:?}");
        assert_ne!(narrow, as_they_are(), "{dtype:?}");
    }
}
