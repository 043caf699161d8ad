//! One pass through the layers of a transformer: the batch, which tokens look at which, and dropout.

use tch::{Kind, Tensor};

use crate::batch::{Batch, Group};
use crate::dropout::Dropout;

/// What all layers need to know of one pass.
pub(crate) struct Pass<'a> {
    pub batch: &'a Batch,
    /// The type of the products.
    pub kind: Kind,
    /// In training only.
    pub dropout: Option<Dropout>,
    /// The one token of each text whose last hidden state is wanted, as rows among all tokens (B,); none where the
    /// states of all tokens are. The last layer then computes no other.
    pub chosen: Option<Tensor>,
}

/// Which tokens of its text a token looks at, besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Only at those before it.
    pub causal: bool,
    /// Only at those that are at most so many places away.
    pub within: Option<i64>,
}

impl Sight {
    /// At all of them.
    pub const ALL: Sight = Sight { causal: false, within: None };
}

/// The tokens of a layer that look, and what they see.
pub(crate) struct Look {
    /// Rows of the tokens that look, (B,) and one of each text; none where all do.
    pub rows: Option<Tensor>,
    /// Whether more is added to attention scores than −∞ at padding.
    pub biased: bool,
    /// For each group what is added to its attention scores (n, H, Q, L).
    pub masks: Vec<Option<Tensor>>,
}

/// A [`Look`] for the last layer, and one for those before it.
pub(crate) struct Looks {
    all: Look,
    last: Option<Look>,
}

impl Pass<'_> {
    pub fn drop_out(&self, x: Tensor, p: f64) -> Tensor {
        match &self.dropout {
            Some(dropout) => dropout.apply(x, p),
            None => x,
        }
    }

    /// What the tokens see with this `sight`.
    pub fn looks(&self, sight: Sight) -> Looks {
        self.looks_that(sight != Sight::ALL, |group, places| group.mask(sight, places, self.kind))
    }

    /// What the tokens see where `mask` gives what is added to the scores of a group: of all its tokens, or of one of
    /// each text, if it is given their places (n,).
    pub fn looks_with(&self, mask: impl Fn(&Group, Option<&Tensor>) -> Option<Tensor>) -> Looks {
        self.looks_that(true, mask)
    }

    fn looks_that(&self, biased: bool, mask: impl Fn(&Group, Option<&Tensor>) -> Option<Tensor>) -> Looks {
        let groups = &self.batch.groups;
        let all = Look { rows: None, biased, masks: groups.iter().map(|group| mask(group, None)).collect() };
        let last = self.chosen.as_ref().map(|rows| {
            let places = self.batch.split_texts(&(rows - &self.batch.firsts));
            let masks = groups.iter().zip(&places).map(|(group, places)| mask(group, Some(places)));
            Look { rows: Some(rows.shallow_clone()), biased, masks: masks.collect() }
        });
        Looks { all, last }
    }
}

impl Looks {
    /// Those of a layer, which may be the last.
    pub fn of(&self, is_last: bool) -> &Look {
        self.last.as_ref().filter(|_| is_last).unwrap_or(&self.all)
    }
}

impl Look {
    /// Whether one token of each text looks, and not all do.
    pub fn is_of_one(&self) -> bool {
        self.rows.is_some()
    }

    /// The rows of `x` (T, …) that belong to the tokens that look.
    pub fn pick(&self, x: &Tensor) -> Tensor {
        match &self.rows {
            Some(rows) => x.index_select(0, rows),
            None => x.shallow_clone(),
        }
    }
}
