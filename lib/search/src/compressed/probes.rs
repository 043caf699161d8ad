//! How many lists of an index are searched for a query.

use hardmine_quantization::Coarse;
use hardmine_records::{Error, Result};

/// The number of lists, out of `lists`, that search `parameters` in faiss's form ask for; without them, as many as the
/// index says itself.
///
/// # Errors
/// Parameters other than nprobe, and a number that is not a whole one from 1 on.
pub(super) fn parse(parameters: Option<&str>, coarse: Option<&Coarse>, lists: usize) -> Result<usize> {
    let mut nprobe = coarse.map_or(1, Coarse::nprobe);
    let parameters = parameters.into_iter();
    for text in parameters {
        let wrong = |message: String| {
            Error::new(format!("--search-parameters {text}"), message).hint("such as nprobe=16, of an index with IVF")
        };
        for parameter in text.split(',') {
            let (name, value) =
                parameter.split_once('=').ok_or_else(|| wrong(format!("'{parameter}' is not NAME=VALUE")))?;
            let (name, value) = (name.trim(), value.trim());
            if name != "nprobe" || coarse.is_none() {
                return Err(wrong(format!("this kind of index has no parameter '{name}'")));
            }
            nprobe = value
                .parse()
                .ok()
                .filter(|&number| number > 0)
                .ok_or_else(|| wrong(format!("'{value}' is not a number of lists")))?;
        }
    }
    Ok(nprobe.clamp(1, lists.max(1)))
}
