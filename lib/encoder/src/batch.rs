//! Texts of different lengths as one batch.

use hardmine_records::provenance::{PROMPT_TOKENS, SPECIAL_TOKENS};
use hardmine_records::{Error, Provenance, Result};
use tch::{Device, Kind, Tensor};

use crate::families::Numbering;
use crate::pass::Sight;

/// Texts of like length stand in one rectangle for attention while at most one place in so many is padding.
const PADDED: usize = 5;

/// How a list of token ids that is too long is shortened: the first ids are kept, and the special tokens at its end.
#[derive(Clone, Copy, Debug)]
pub struct Truncation {
    max_length: usize,
    /// Special tokens at the end of every list.
    after: usize,
    /// Tokens of the prompt at the beginning of every list, special tokens before it included.
    prompt: usize,
}

impl Truncation {
    /// To at most `max_length` ids, for lists of which a file says where they come from. Where it doesn't say how many
    /// special tokens they have, there is one at each end.
    ///
    /// # Errors
    /// No room for a token of the text itself, besides special tokens and the prompt.
    pub fn new(max_length: usize, of: &Provenance) -> Result<Truncation> {
        let counts = of.get(SPECIAL_TOKENS).and_then(|counts| counts.split_once(' '));
        let counts = counts.and_then(|(before, after)| Some((before.parse().ok()?, after.parse().ok()?)));
        let (before, after): (usize, usize) = counts.unwrap_or((1, 1));
        let prompt: usize = of.get(PROMPT_TOKENS).and_then(|count| count.parse().ok()).unwrap_or(0);
        let wrong = |message| Err(Error::new(format!("a length of {max_length}"), message));
        // Lists that say nothing may be cut to the two special tokens that they are taken to have.
        let special = before.saturating_add(after);
        if max_length < 2 || max_length < special {
            return wrong(format!("leaves no room for a text: it has {special} special tokens"));
        }
        if prompt > before && max_length <= prompt.saturating_add(after) {
            return wrong(format!(
                "leaves no room for a text: its prompt has {prompt} tokens, special tokens included"
            ));
        }
        Ok(Truncation { max_length, after, prompt })
    }

    /// How many ids are kept of a list of `length`.
    pub fn kept(&self, length: usize) -> usize {
        length.min(self.max_length)
    }

    fn apply<'a>(&self, row: &'a [i32]) -> impl Iterator<Item = i32> + use<'a> {
        let (kept, last) = match row.len() > self.max_length {
            true => (self.max_length - self.after, row.len() - self.after),
            false => (row.len(), row.len()),
        };
        row[..kept].iter().chain(&row[last..]).copied()
    }
}

/// The tokens of B texts, one text after the other: T of them, and no padding. Only attention and pooling over tokens
/// need rectangles, which `Group`s make.
pub struct Batch {
    /// Token ids (T,), int64.
    pub(crate) token_ids: Tensor,
    /// The position of each token in its text, as the family numbers them: (T,), int64.
    pub(crate) positions: Tensor,
    /// Where each text's first token is: (B,), int64.
    pub(crate) firsts: Tensor,
    /// Where each text's last token is: (B,), int64.
    pub(crate) lasts: Tensor,
    /// How many tokens at the beginning of every text are of its prompt.
    pub(crate) prompt: i64,
    pub(crate) groups: Vec<Group>,
    /// How many tokens each text has: (B,).
    pub(crate) lengths: Vec<usize>,
}

impl Batch {
    /// Shortens the rows and moves all to `device`. No row may be empty. Rows of like length should stand together:
    /// where they don't, there are many small rectangles.
    pub(crate) fn new(rows: &[&[i32]], truncation: Truncation, numbering: Numbering, device: Device) -> Batch {
        let (mut ids, mut positions, mut firsts, mut lasts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let first = ids.len();
            ids.extend(truncation.apply(row).map(i64::from));
            positions.extend(numbering.of(&ids[first..]));
            firsts.push(first as i64);
            lasts.push(ids.len() as i64 - 1);
        }
        let lengths: Vec<usize> = rows.iter().map(|row| truncation.kept(row.len())).collect();
        let upload = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Batch {
            token_ids: upload(&ids),
            positions: upload(&positions),
            firsts: upload(&firsts),
            lasts: upload(&lasts),
            prompt: truncation.prompt as i64,
            groups: of_like_length(&lengths).map(|lengths| Group::new(lengths, device)).collect(),
            lengths,
        }
    }

    /// Where the first token of each text is that comes after `skipped` others, or else its last: (B,), int64.
    pub(crate) fn first_after(&self, skipped: i64) -> Tensor {
        match skipped {
            0 => self.firsts.shallow_clone(),
            _ => (&self.firsts + skipped).minimum(&self.lasts),
        }
    }

    /// Rows of all tokens (T, D) as those of each group.
    pub(crate) fn split(&self, x: &Tensor) -> Vec<Tensor> {
        self.split_by(x, |group| group.tokens)
    }

    /// Rows of all texts (B, D) as those of each group.
    pub(crate) fn split_texts(&self, x: &Tensor) -> Vec<Tensor> {
        self.split_by(x, |group| group.texts)
    }

    fn split_by(&self, x: &Tensor, size: impl Fn(&Group) -> i64) -> Vec<Tensor> {
        match self.groups.len() {
            1 => vec![x.shallow_clone()],
            _ => x.split_with_sizes(self.groups.iter().map(size).collect::<Vec<_>>(), 0),
        }
    }
}

/// Cuts `texts`, of so many tokens each, into runs of at most `most` tokens, but at least one text.
pub fn cut_by_tokens(texts: &[usize], length: impl Fn(usize) -> usize, most: usize) -> impl Iterator<Item = &[usize]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let fits = |&&text: &&usize| {
            tokens += length(text);
            tokens <= most
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (run, later) = rest.split_at(count);
        rest = later;
        (count > 0).then_some(run)
    })
}

/// Cuts `texts`, of so many tokens each, into at most `count` runs of about as many tokens.
pub fn cut_evenly(texts: &[usize], length: impl Fn(usize) -> usize, count: usize) -> impl Iterator<Item = &[usize]> {
    let all: usize = texts.iter().map(|&text| length(text)).sum();
    let (mut rest, mut before) = (texts, 0);
    std::iter::from_fn(move || {
        let run_of = |tokens: usize| tokens * count / all.max(1);
        let run = run_of(before);
        let fits = |&&text: &&usize| {
            let fits = run_of(before) == run;
            before += if fits { length(text) } else { 0 };
            fits
        };
        let taken = rest.iter().take_while(fits).count();
        let (run, later) = rest.split_at(taken);
        rest = later;
        (taken > 0).then_some(run)
    })
}

/// Cuts the lengths of texts into runs that fit into one rectangle without much padding.
fn of_like_length(lengths: &[usize]) -> impl Iterator<Item = &[usize]> {
    let mut rest = lengths;
    std::iter::from_fn(move || {
        let (mut longest, mut tokens) = (0, 0);
        let fits = |&(before, length): &(usize, &usize)| {
            longest = longest.max(*length);
            tokens += length;
            let places = (before + 1) * longest;
            (places - tokens) * PADDED <= places
        };
        let count = rest.iter().enumerate().take_while(fits).count();
        let (group, later) = rest.split_at(count);
        rest = later;
        (count > 0).then_some(group)
    })
}

/// Consecutive texts of a batch as a rectangle: n texts with L places each, and t tokens in all.
pub(crate) struct Group {
    texts: i64,
    length: i64,
    tokens: i64,
    /// None when all texts have L tokens.
    padding: Option<Padding>,
    device: Device,
}

struct Padding {
    /// The group's token at each place, any where there is none: (n·L,), int64.
    taken: Tensor,
    /// The place of each token: (t,), int64.
    places: Tensor,
    /// 1 where a token is, 0 where padding is: (n, L), float32.
    present: Tensor,
}

impl Group {
    fn new(lengths: &[usize], device: Device) -> Group {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let tokens: usize = lengths.iter().sum();
        let padding = (tokens < lengths.len() * longest).then(|| {
            let (mut taken, mut places, mut present) = (Vec::new(), Vec::new(), Vec::new());
            for &length in lengths {
                let (first, end) = (places.len() as i64, taken.len() + longest);
                places.extend((taken.len() as i64..).take(length));
                taken.extend((first..).take(length));
                taken.resize(end, first);
                present.resize(present.len() + length, 1f32);
                present.resize(end, 0f32);
            }
            let shape = [lengths.len() as i64, longest as i64];
            Padding {
                taken: Tensor::from_slice(&taken).to_device(device),
                places: Tensor::from_slice(&places).to_device(device),
                present: Tensor::from_slice(&present).view(shape).to_device(device),
            }
        });
        Group { texts: lengths.len() as i64, length: longest as i64, tokens: tokens as i64, padding, device }
    }

    /// How many texts it has.
    pub(crate) fn texts(&self) -> usize {
        self.texts as usize
    }

    /// (t, D) → (n, L, D)
    pub(crate) fn pad(&self, x: &Tensor) -> Tensor {
        let shape = [self.texts, self.length, x.size()[1]];
        match &self.padding {
            None => x.view(shape),
            Some(padding) => x.index_select(0, &padding.taken).view(shape),
        }
    }

    /// (n, L, D) → (t, D)
    pub(crate) fn unpad(&self, x: &Tensor) -> Tensor {
        let x = x.reshape([self.texts * self.length, x.size()[2]]);
        match &self.padding {
            None => x,
            Some(padding) => x.index_select(0, &padding.places),
        }
    }

    /// All places of a text: 0 to L − 1, (L,), int64.
    pub(crate) fn all_places(&self) -> Tensor {
        Tensor::arange(self.length, (Kind::Int64, self.device))
    }

    /// What is added to attention scores (n, H, Q, L): 0 where a token is looked at, −∞ elsewhere, in a shape that
    /// spreads to theirs. The tokens that look are all of a text (Q = L), or those at `places` (n,), one of each (Q =
    /// 1). None where everything is looked at.
    pub(crate) fn mask(&self, sight: Sight, places: Option<&Tensor>, kind: Kind) -> Option<Tensor> {
        let present = || self.padding.as_ref().map(|padding| padding.present.gt(0.5).unsqueeze(1).unsqueeze(1));
        let within = sight.within.filter(|&within| within + 1 < self.length);
        let seen = if !sight.causal && within.is_none() {
            present()?
        } else {
            let columns = self.all_places();
            let rows = match places {
                None => columns.view([1, 1, -1, 1]),
                Some(places) => places.view([-1, 1, 1, 1]),
            };
            let distance = columns.view([1, 1, 1, -1]) - rows;
            let near = within.map(|within| distance.abs().le(within));
            let before = sight.causal.then(|| distance.le(0));
            // A place of padding sees itself, so that no row of scores is empty: its softmax would be NaN, and so would
            // the gradient be everywhere. Where only tokens before are seen, padding comes after all of them.
            let present =
                if sight.causal { None } else { present().map(|present| present.logical_or(&distance.eq(0))) };
            let all = [near, before, present].into_iter().flatten().reduce(|one, other| one.logical_and(&other));
            all?
        };
        let absent = Tensor::full([1], f64::NEG_INFINITY, (kind, self.device));
        Some(absent.zeros_like().where_self(&seen, &absent))
    }

    /// 1 for every token that comes after the first `skipped` of its text, and 0 for those and for padding: (n, L),
    /// float32. None where all are 1.
    pub(crate) fn counted(&self, skipped: i64) -> Option<Tensor> {
        let present = self.padding.as_ref().map(|padding| padding.present.shallow_clone());
        if skipped == 0 {
            return present;
        }
        let after = self.all_places().ge(skipped).to_kind(Kind::Float).unsqueeze(0);
        Some(match present {
            Some(present) => present * after,
            None => after.expand([self.texts, self.length], false),
        })
    }
}

/// The rows of all groups, one group after the other.
pub(crate) fn joined(mut parts: Vec<Tensor>) -> Tensor {
    if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(&parts, 0) }
}

/// Refuses token ids that can't be encoded with a vocabulary of this size; `row` counts from 0 in the
/// file `place`.
///
/// # Errors
/// An empty list, or an id outside the vocabulary.
pub fn check_token_ids(token_ids: &[i32], vocabulary: usize, place: &str, row: usize) -> Result<()> {
    let wrong = |text: String| Error::at_row(place, row, text);
    if token_ids.is_empty() {
        return Err(wrong("no token ids".into()).hint("an empty text still has its special tokens"));
    }
    match token_ids.iter().find(|&&id| usize::try_from(id).map_or(true, |id| id >= vocabulary)) {
        Some(id) => Err(wrong(format!("token id {id} is outside the model's vocabulary of {vocabulary}"))
            .hint("were the tokens made with this model's tokenizer?")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_keeps_the_special_tokens_at_the_end() {
        let cut = |max_length, special: Option<&str>| {
            let mut about = Provenance::default();
            about.set_some(SPECIAL_TOKENS, special);
            let truncation = Truncation::new(max_length, &about).map_err(|e| e.to_string())?;
            Ok::<_, String>(truncation.apply(&[0, 5, 6, 7, 2]).collect::<Vec<_>>())
        };
        assert_eq!(cut(5, None), Ok(vec![0, 5, 6, 7, 2]));
        assert_eq!(cut(4, None), Ok(vec![0, 5, 6, 2]));
        assert_eq!(cut(2, None), Ok(vec![0, 2]));
        assert_eq!(cut(4, Some("1 1")), cut(4, None));
        assert_eq!(cut(4, Some("1 0")), Ok(vec![0, 5, 6, 7]));
        assert_eq!(cut(3, Some("0 2")), Ok(vec![0, 7, 2]));
        assert!(cut(2, Some("2 1")).unwrap_err().contains("leaves no room"));
        assert!(cut(4, Some("1 99999999999999999999")).is_ok());
    }

    #[test]
    fn a_run_has_at_most_so_many_tokens_or_one_text() {
        let runs = |most| cut_by_tokens(&[9, 2, 3, 4, 1], |text| text, most).map(<[usize]>::to_vec).collect::<Vec<_>>();
        assert_eq!(runs(9), [vec![9], vec![2, 3, 4], vec![1]]);
        assert_eq!(runs(1), [[9], [2], [3], [4], [1]]);
        assert!(cut_by_tokens(&[], |text| text, 5).next().is_none());
    }

    #[test]
    fn runs_are_of_about_as_many_tokens() {
        let runs =
            |count| cut_evenly(&[1, 1, 2, 2, 3, 3], |text| text, count).map(<[usize]>::to_vec).collect::<Vec<_>>();
        assert_eq!(runs(1), [vec![1, 1, 2, 2, 3, 3]]);
        assert_eq!(runs(2), [vec![1, 1, 2, 2], vec![3, 3]]);
        assert_eq!(runs(100).concat(), [1, 1, 2, 2, 3, 3]);
        assert!(cut_evenly(&[], |text| text, 5).next().is_none());
    }

    #[test]
    fn texts_far_apart_in_length_share_no_rectangle() {
        let groups = |lengths: &[usize]| of_like_length(lengths).map(<[usize]>::to_vec).collect::<Vec<_>>();
        assert_eq!(groups(&[10, 10, 9, 8, 2, 2, 7]), [vec![10, 10, 9, 8], vec![2, 2], vec![7]]);
        assert_eq!(groups(&[1]), [[1]]);
    }

    #[test]
    fn padding_and_back_is_identity() {
        let lengths = [4, 5, 5, 4, 6];
        let group = Group::new(&lengths, Device::Cpu);
        let x = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([24, 1]);
        let padded = group.pad(&x);
        assert_eq!(padded.size(), [5, 6, 1]);
        assert_eq!(group.unpad(&padded), x);
        let mask = Vec::<f32>::try_from(group.mask(Sight::ALL, None, Kind::Float).unwrap().view(-1)).unwrap();
        assert_eq!(mask.iter().filter(|&&added| added == 0.0).count(), 24);
        let full = Group::new(&[3, 3], Device::Cpu);
        assert!(full.mask(Sight::ALL, None, Kind::Float).is_none());
        let prompt = Vec::<f32>::try_from(full.counted(2).unwrap().reshape(-1)).unwrap();
        assert_eq!(prompt, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn a_token_sees_what_its_sight_allows_and_no_padding() {
        // Two texts, of 3 and of 4 tokens.
        let group = Group::new(&[3, 4], Device::Cpu);
        let seen = |causal, within, places: Option<&[i64]>| {
            let places = places.map(Tensor::from_slice);
            let mask = group.mask(Sight { causal, within }, places.as_ref(), Kind::Float);
            let rows = if places.is_some() { 1 } else { 4 };
            let seen = mask.map_or(Tensor::ones([2, 1, rows, 4], (Kind::Float, Device::Cpu)), |mask| mask.exp());
            let seen = Vec::<f32>::try_from(seen.expand([2, 1, rows, 4], false).reshape(-1)).unwrap();
            let lines = seen.chunks(4).map(|line| line.iter().map(|&x| if x > 0.5 { 'x' } else { '.' }).collect());
            lines.collect::<Vec<String>>()
        };
        let all = ["xxx.", "xxx.", "xxx.", "xxx.", "xxxx", "xxxx", "xxxx", "xxxx"];
        assert_eq!(seen(false, None, None), all);
        assert_eq!(seen(false, Some(3), None), all);
        let near = ["xx..", "xxx.", ".xx.", "..xx", "xx..", "xxx.", ".xxx", "..xx"];
        assert_eq!(seen(false, Some(1), None), near);
        // What padding sees has no effect.
        let before = ["x...", "xx..", "xxx.", "xxxx", "x...", "xx..", "xxx.", "xxxx"];
        assert_eq!(seen(true, None, None), before);
        assert_eq!(seen(true, Some(1), None)[..4], ["x...", "xx..", ".xx.", "..xx"]);
        assert_eq!(seen(false, Some(1), Some(&[2, 3])), [".xx.", "..xx"]);
        assert_eq!(seen(true, None, Some(&[0, 3])), ["x...", "xxxx"]);
        assert_eq!(seen(false, None, Some(&[0, 0])), ["xxx.", "xxxx"]);
    }

    #[test]
    fn a_prompt_keeps_its_place() {
        let mut about = Provenance::default();
        about.set(SPECIAL_TOKENS, "1 1");
        about.set(PROMPT_TOKENS, 4);
        assert!(Truncation::new(6, &about).is_ok());
        let refused = Truncation::new(5, &about).unwrap_err().to_string();
        assert!(refused.contains("its prompt has 4 tokens"), "{refused}");
    }
}
