//! Arithmetic of the encoder: `--precision f32|bf16|f16|int8`.

use std::fmt;
use std::str::FromStr;

use tch::Kind;

/// The type that matrix products of the transformer are computed in. Parameters, the residual
/// stream, LayerNorm, pooling and everything after it stay in float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16: float32's range with 8 bits of precision.
    Bf16,
    /// float16: 11 bits of precision, overflows above 65,504.
    F16,
    /// int8, for encoding on a CPU: products of weights and tokens that are rounded to whole numbers. Attention is
    /// float32.
    Int8,
}

impl Precision {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Precision::F32 | Precision::Int8 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
            Precision::F16 => Kind::Half,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            "f16" => Ok(Precision::F16),
            "int8" => Ok(Precision::Int8),
            _ => Err("expected f32, bf16, f16 or int8".into()),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
            Precision::Int8 => "int8",
        })
    }
}
