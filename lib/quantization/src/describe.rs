//! What an index holds, for people.

use crate::index::PqIndex;

impl PqIndex {
    /// What it holds: pairs of a name and a text. The entries of its provenance come last, under their own names.
    pub fn describe(&self) -> Vec<(String, String)> {
        let codebook = &self.codebook;
        let mut lines: Vec<(&str, String)> = vec![
            ("form", self.form()),
            ("documents", self.len().to_string()),
            ("dimensions", self.dim().to_string()),
            ("bytes a document", self.bytes_a_document()),
            ("subvectors", format!("{} of {} dimensions", codebook.subvectors(), codebook.subvector_dim())),
            ("centroids", format!("256 a subvector, digest {}", codebook.digest())),
        ];
        let rotation = match self.rotation() {
            Some(rotation) => format!("{} by {}, digest {}", rotation.dim_out(), rotation.dim_in(), rotation.digest()),
            None => "none: queries are taken as they are".to_owned(),
        };
        lines.push(("rotation", rotation));
        if let Some(coarse) = self.coarse() {
            let sizes: Vec<usize> = self.lists.iter().map(|list| list.len()).collect();
            let (least, most) = (sizes.iter().min().unwrap_or(&0), sizes.iter().max().unwrap_or(&0));
            let range = if least == most { most.to_string() } else { format!("{least} to {most}") };
            lines.push(("lists", format!("{}, of {range} documents", sizes.len())));
            lines.push(("lists searched", coarse.nprobe().to_string()));
            let of_what = if coarse.by_residual() { "what is left when they are taken away" } else { "whole vectors" };
            let zero = coarse.centroids().iter().all(|&number| number == 0.0);
            let size = if zero { "all 0" } else { "not 0" };
            lines.push(("coarse centroids", format!("{size}, and codes stand for {of_what}")));
        }
        let ids = if self.ids_are_rows() { "row numbers" } else { "any" };
        lines.push(("ids", ids.to_owned()));
        let lines = lines.into_iter().map(|(name, text)| (name.to_owned(), text));
        lines.chain(self.provenance.iter().map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
    }

    fn bytes_a_document(&self) -> String {
        let id = if self.coarse().is_some() { ", and 8 of its id" } else { "" };
        format!("{} of its code{id}", self.codebook.subvectors())
    }
}
