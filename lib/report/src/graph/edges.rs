//! Which file was made of which: by fingerprints and digests where files carry them, by the names in the command line
//! where not.

use hardmine_records::Provenance;
use hardmine_records::provenance::{COMMAND, DOCS, DOCUMENT_MODEL, KEYS, MODEL, QUERIES};

use super::Node;

/// Options whose value is a file or a model of this part.
const OPTIONS: [(&str, &str); 12] = [
    ("--init", "models"),
    ("--model", "models"),
    ("--embeddings", "embeddings"),
    ("--index", "embeddings"),
    ("--index", "indexes"),
    ("--index", "lexical"),
    ("--negatives", "negatives"),
    ("--negatives", "lexical"),
    ("--qrels", "qrels"),
    ("--pairs", "qrels"),
    ("--positives", "negatives"),
    ("--compare", "negatives"),
];

/// Edges between the places of nodes, without those that a path says as well, sorted.
pub(super) fn edges(nodes: &[Node]) -> Vec<(usize, usize)> {
    let mut edges = Vec::new();
    for (made, node) in nodes.iter().enumerate() {
        let is_source = |of: usize| of != made && is_made_of(node, &nodes[of]);
        edges.extend((0..nodes.len()).filter(|&of| is_source(of)).map(|of| (of, made)));
    }
    reduce(nodes.len(), edges)
}

/// Whether the one was made of the other.
fn is_made_of(node: &Node, of: &Node) -> bool {
    let says = |name: &str, of_name: &str| {
        let value = node.provenance.get(name);
        value.is_some() && value == of.provenance.get(of_name)
    };
    match (node.part, of.part) {
        ("tokens", _) => false,
        (_, "tokens") => [KEYS, QUERIES, DOCS].iter().any(|name| says(name, KEYS)),
        // The log of a model has the digest of that model, not of the one that it started from.
        ("models", _) => is_named(&node.provenance, of),
        ("embeddings", "models") => says(MODEL, MODEL) || is_named(&node.provenance, of),
        ("indexes", "models" | "embeddings") => says(MODEL, MODEL),
        ("runs" | "negatives", "indexes") => node.name.split('.').next() == Some(&of.name),
        ("runs" | "negatives", "models") => says(MODEL, MODEL),
        ("runs" | "negatives", "embeddings") => says(DOCUMENT_MODEL, MODEL),
        ("negatives", "qrels" | "negatives") => is_named(&node.provenance, of),
        ("runs", "lexical") => is_named(&node.provenance, of),
        ("lexical", "lexical") => says(DOCS, KEYS),
        ("runs", "runs") => is_fused_of(&node.name, &of.name),
        ("metrics", "runs") => node.name == of.name,
        _ => false,
    }
}

/// Whether a run of both lists, ROW+bm25.SPLIT, is made of this one: ROW.SPLIT or bm25.SPLIT. Runs that SQL writes say
/// nothing of where they came from.
fn is_fused_of(run: &str, of: &str) -> bool {
    let Some((row, split)) = run.split_once("+bm25.") else { return false };
    of.strip_suffix(split).and_then(|of| of.strip_suffix('.')).is_some_and(|of| of == row || of == "bm25")
}

/// Whether the command line names the file, after an option that takes one of its part.
fn is_named(provenance: &Provenance, of: &Node) -> bool {
    let words: Vec<&str> = provenance.get(COMMAND).unwrap_or_default().split(' ').collect();
    words.windows(2).any(|pair| {
        let name = [".arrow", ".parquet", ".faiss"].iter().fold(pair[1], |name, ending| name.trim_end_matches(ending));
        OPTIONS.contains(&(pair[0], of.part)) && name == of.name
    })
}

/// The edges without which no node would be reached from fewer others. What is in a circle, which files of different
/// runs that were put together may give, is left as it is.
fn reduce(nodes: usize, edges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut reached = vec![vec![false; nodes]; nodes];
    edges.iter().for_each(|&(from, to)| reached[from][to] = true);
    for middle in 0..nodes {
        for from in 0..nodes {
            if reached[from][middle] {
                let further = reached[middle].clone();
                reached[from].iter_mut().zip(further).for_each(|(known, new)| *known |= new);
            }
        }
    }
    let is_needed = |&(from, to): &(usize, usize)| {
        // A way that comes back to where it began says nothing new.
        let goes_on = |next: usize| next != to && reached[next][to] && !reached[next][from];
        reached[to][from] || !edges.iter().any(|&(of, next)| of == from && goes_on(next))
    };
    let mut needed: Vec<(usize, usize)> = edges.iter().filter(|edge| is_needed(edge)).copied().collect();
    needed.sort_unstable();
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fused_run_is_made_of_both_lists() {
        let of = |of| is_fused_of("adore-star+bm25.dev", of);
        assert!(of("adore-star.dev") && of("bm25.dev"));
        assert!(!of("star.dev") && !of("adore-star.test") && !of("adore-star+bm25.dev"));
        assert!(!is_fused_of("bm25.dev", "bm25.dev"));
    }

    #[test]
    fn an_edge_that_a_path_says_is_left_out() {
        assert_eq!(reduce(3, vec![(0, 1), (1, 2), (0, 2)]), [(0, 1), (1, 2)]);
        assert_eq!(reduce(4, vec![(0, 3), (0, 1), (1, 2), (2, 3), (1, 3)]), [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(reduce(3, vec![(0, 1), (1, 0), (1, 2)]), [(0, 1), (1, 0), (1, 2)]);
    }
}
