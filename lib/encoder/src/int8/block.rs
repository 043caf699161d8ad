//! A block of BERT in int8: some texts at a time pass all of it, so that their numbers stay in the cache, and what
//! stands between two products is one pass over each row.

use tch::{Device, Kind, Tensor, no_grad};

use super::attention::{Attention, Bias, Scratch};
use super::functions::Activate;
use super::lanes::fastest;
use super::norm::{AddAndNormalize, Norm};
use super::{Int8Matrix, ROWS, Rows, slice, slice_mut};
use crate::attention::Heads;
use crate::cut_by_tokens;
use crate::layers::Activation;
use crate::pass::{Look, Pass};

/// The parts of a block.
pub(crate) struct Int8Block<'a> {
    pub query: &'a Int8Matrix,
    pub key: &'a Int8Matrix,
    pub value: &'a Int8Matrix,
    pub attention_output: &'a Int8Matrix,
    pub attention_norm: Norm,
    pub intermediate: &'a Int8Matrix,
    pub output: &'a Int8Matrix,
    pub output_norm: Norm,
    pub heads: Heads,
    pub activation: Activation,
}

/// Consecutive texts of a batch, and the tokens of them that look.
struct Texts<'a> {
    /// The place of the first among all texts.
    first: usize,
    /// How many tokens each has.
    lengths: &'a [usize],
    /// Hidden states of all their tokens, (t, D).
    hidden: &'a [f32],
    /// The token of each text that looks, counted from its first; none where all tokens look.
    looking: Option<&'a [usize]>,
}

/// What is added to the scores of each text.
struct Biases {
    /// Of each group (n or 1, H or 1, Q or 1, L); none at all where nothing is added but at padding.
    groups: Vec<Option<Tensor>>,
    /// The group of each text, and its place there.
    places: Vec<(usize, usize)>,
}

/// Room for what some texts are turned into.
struct Room {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    residual: Vec<f32>,
    /// Outputs of the first matrix of the feed-forward network that share a scale.
    part: Vec<f32>,
    narrow: Rows,
    wide: Rows,
    attention: Scratch,
}

impl Int8Block<'_> {
    /// Hidden states of all tokens (T, D) to those of the tokens that look (T or B, D).
    pub fn forward(&self, hidden: &Tensor, look: &Look, pass: &Pass) -> Tensor {
        no_grad(|| {
            let size = self.query.inputs;
            let lengths = &pass.batch.lengths;
            let hidden = hidden.to_kind(Kind::Float).contiguous();
            let places: Option<Vec<usize>> = look.rows.as_ref().map(|rows| {
                let places = Vec::<i64>::try_from(rows - &pass.batch.firsts).expect("places are numbers");
                places.into_iter().map(|place| place as usize).collect()
            });
            let rows = places.as_ref().map_or(hidden.size()[0] as usize, Vec::len);
            let out = Tensor::empty([rows as i64, size as i64], (Kind::Float, Device::Cpu));
            // SAFETY: it was made here, and nobody else has it yet.
            let mut left = unsafe { slice_mut(&out) };
            let mut hidden = slice(&hidden);
            let biases = Biases::new(look, pass);
            let mut room = self.room();
            let all: Vec<usize> = (0..lengths.len()).collect();
            for some in cut_by_tokens(&all, |text| lengths[text], ROWS) {
                let range = some[0]..some[0] + some.len();
                let lengths = &lengths[range.clone()];
                let tokens: usize = lengths.iter().sum();
                let looking = places.as_ref().map(|places| &places[range]);
                let (now, later) = hidden.split_at(tokens * size);
                let (place, places_left) = left.split_at_mut(looking.map_or(tokens, <[usize]>::len) * size);
                self.forward_some(&Texts { first: some[0], lengths, hidden: now, looking }, &biases, &mut room, place);
                (hidden, left) = (later, places_left);
            }
            out
        })
    }

    fn room(&self) -> Room {
        Room {
            queries: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            residual: Vec::new(),
            part: Vec::new(),
            narrow: Rows::new(self.query.inputs),
            wide: Rows::new(self.output.inputs),
            attention: Scratch::default(),
        }
    }

    /// Writes the hidden states of those tokens of the texts that look to `out`.
    fn forward_some(&self, texts: &Texts, biases: &Biases, room: &mut Room, out: &mut [f32]) {
        let Room { queries, keys, values, residual, narrow, attention, .. } = room;
        let (size, inner, key_width) = (self.query.inputs, self.query.outputs, self.key.outputs);
        narrow.round(texts.hidden);
        self.key.write(narrow, keys);
        self.value.write(narrow, values);
        residual.clear();
        if let Some(places) = texts.looking {
            let mut first = 0;
            for (length, place) in texts.lengths.iter().zip(places) {
                residual.extend_from_slice(&texts.hidden[(first + place) * size..][..size]);
                first += length;
            }
            narrow.round(residual);
        }
        self.query.write(narrow, queries);
        let (mut keys, mut values, mut left) = (keys.as_slice(), values.as_slice(), queries.as_mut_slice());
        for (number, length) in texts.lengths.iter().enumerate() {
            let looking = if texts.looking.is_some() { 1 } else { *length };
            let (queries, queries_left) = left.split_at_mut(looking * inner);
            let ((key, keys_left), (value, values_left)) =
                (keys.split_at(length * key_width), values.split_at(length * key_width));
            let bias = biases.of(texts.first + number);
            Attention { heads: self.heads, queries, keys: key, values: value, bias, scratch: attention }.write();
            (keys, values, left) = (keys_left, values_left, queries_left);
        }
        narrow.round(queries);
        self.attention_output.write_to(narrow, out);
        let residual = if texts.looking.is_some() { residual.as_slice() } else { texts.hidden };
        fastest(AddAndNormalize { x: out, residual, norm: &self.attention_norm });
        for out in out.chunks_mut(ROWS * size) {
            self.feed_forward(room, out);
        }
    }

    /// The feed-forward network over the hidden states `x`, in their place.
    fn feed_forward(&self, room: &mut Room, x: &mut [f32]) {
        let Room { residual, part, narrow, wide, .. } = room;
        narrow.round(x);
        wide.resize(x.len() / self.intermediate.inputs);
        for (number, panels) in self.intermediate.parts_of_outputs().enumerate() {
            self.intermediate.write_some(narrow, panels, part);
            fastest(Activate { activation: self.activation, numbers: part });
            wide.round_part(number, part);
        }
        residual.clear();
        residual.extend_from_slice(x);
        self.output.write_to(wide, x);
        fastest(AddAndNormalize { x, residual, norm: &self.output_norm });
    }
}

impl Biases {
    fn new(look: &Look, pass: &Pass) -> Biases {
        if !look.biased {
            return Biases { groups: Vec::new(), places: Vec::new() };
        }
        let groups = look.masks.iter().map(|mask| mask.as_ref().map(Tensor::contiguous)).collect();
        let places = pass.batch.groups.iter().enumerate();
        let places = places.flat_map(|(number, group)| (0..group.texts()).map(move |place| (number, place)));
        Biases { groups, places: places.collect() }
    }

    /// That of a text.
    fn of(&self, text: usize) -> Option<Bias<'_>> {
        let &(group, place) = self.places.get(text)?;
        let bias = self.groups[group].as_ref()?;
        let (texts, heads, rows, length) = bias.size4().expect("scores have four dimensions");
        let row = if rows == 1 { 0 } else { length as usize };
        let head = if heads == 1 { 0 } else { (rows * length) as usize };
        let first = if texts == 1 { 0 } else { place * (heads * rows * length) as usize };
        Some(Bias { numbers: &slice(bias)[first..], strides: [head, row] })
    }
}
