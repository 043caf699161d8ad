//! Reads the files of faiss's `IndexPQ`, and of `IndexIVFPQ` with a flat quantizer, both with or without a rotation in
//! front. Every length is checked before it is used.

use hardmine_files::{Content, Input, MappedBytes, read_trailer};
use hardmine_records::{Error, Result};

use crate::codebook::{CENTROIDS, Codebook};
use crate::cursor::{Cursor, Problem};
use crate::index::{Coarse, Form, Plain, PqIndex};
use crate::lists::{CodeLists, Placed};
use crate::rotation::Rotation;

/// Inner product, in faiss's numbering of metrics.
pub(crate) const INNER_PRODUCT: i32 = 0;
/// Euclidean distance.
pub(crate) const DISTANCE: i32 = 1;

impl PqIndex {
    /// Opens the index in `input`. A pipe and a packed file are copied to a temporary file first.
    ///
    /// # Errors
    /// Another kind of index, a metric other than inner product, codes that are not of 8 bits, a file that is damaged.
    pub fn open(input: &Input) -> Result<Self> {
        match open(input)? {
            Ok(index) => Ok(index),
            Err(what) => Err(Error::new(input, format!("expected an index of product quantization, found {what}"))
                .hint("index --factory OPQ16,IVF1,PQ16x8 makes one from embeddings")),
        }
    }

    /// As [`PqIndex::open`], but of another kind of index, or another kind of file, there is none.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn open_if_quantized(input: &Input) -> Result<Option<Self>> {
        open(input).map(std::result::Result::ok)
    }
}

/// The index in `input`, or what else is there.
fn open(input: &Input) -> Result<std::result::Result<PqIndex, String>> {
    if input.is_dataset() {
        return Ok(Err("records".to_owned()));
    }
    let source = input.open()?;
    if source.content != Content::Text {
        return Ok(Err("records".to_owned()));
    }
    let name = source.name.clone();
    let mut file = source.into_file()?;
    let bytes = MappedBytes::new(&name, &file)?;
    if !bytes.starts_with(b"I") {
        return Ok(Err("a file that faiss did not write".to_owned()));
    }
    let damaged = |what: String| Error::new(&name, format!("is a truncated or damaged faiss index: {what}"));
    let mut cursor = Cursor::new(&bytes);
    let parts = match read_index(&mut cursor) {
        Ok(parts) => parts,
        Err(Problem::OtherKind(what)) => return Ok(Err(what)),
        Err(Problem::Damaged(what)) => return Err(damaged(what)),
    };
    let (provenance, end) =
        read_trailer(&mut file).map_err(|e| Error::new(&name, format!("the provenance at its end is broken: {e}")))?;
    if cursor.place() as u64 != end {
        return Err(damaged(format!("it has {end} bytes, of which only {} belong to the index", cursor.place())));
    }
    let Parts { rotation, codebook, form, lists } = parts;
    let lists = CodeLists::new(bytes.clone(), codebook.subvectors(), lists);
    Ok(Ok(PqIndex { name, rotation, codebook, form, lists, provenance }))
}

/// What the bytes of an index hold.
struct Parts {
    rotation: Option<Rotation>,
    codebook: Codebook,
    form: Form,
    lists: Vec<Placed>,
}

/// What every kind of index begins with.
struct Header {
    dim: usize,
    documents: usize,
}

fn read_index(cursor: &mut Cursor) -> std::result::Result<Parts, Problem> {
    let mut name = cursor.name("kind")?;
    let mut rotation = None;
    let mut outer = None;
    if &name == b"IxPT" {
        let header = read_header(cursor, INNER_PRODUCT)?;
        let read = read_rotation(cursor)?;
        if read.dim_in() != header.dim {
            return Err(damaged("its rotation is for vectors of another dimension"));
        }
        rotation = Some(read);
        outer = Some(header);
        name = cursor.name("kind")?;
    }
    let (header, codebook, form, lists) = match &name {
        b"IwPQ" => read_inverted(cursor)?,
        b"IxPq" => read_plain(cursor)?,
        _ => return Err(Problem::OtherKind(format!("the kind that faiss calls {}", name.escape_ascii()))),
    };
    let dim = rotation.as_ref().map_or(header.dim, Rotation::dim_out);
    let documents = outer.map_or(header.documents, |outer| outer.documents);
    if dim != header.dim || documents != header.documents {
        return Err(damaged("its parts are of different dimensions or numbers of documents"));
    }
    Ok(Parts { rotation, codebook, form, lists })
}

/// Reads a header behind its kind's name; the index must be by `metric`.
fn read_header(cursor: &mut Cursor, metric: i32) -> std::result::Result<Header, Problem> {
    let dim = cursor.dim("dimension")?;
    let documents = cursor.count("documents")?;
    cursor.range(2, size_of::<i64>(), "header")?;
    let trained = cursor.flag("mark of training")?;
    match cursor.i32("metric")? {
        _ if !trained => Err(Problem::OtherKind("one that has not been trained".to_owned())),
        found if found == metric => Ok(Header { dim, documents }),
        found => Err(Problem::OtherKind(format!("one by faiss's metric {found} instead of {metric}"))),
    }
}

fn read_rotation(cursor: &mut Cursor) -> std::result::Result<Rotation, Problem> {
    let transforms = cursor.i32("transforms")?;
    if transforms != 1 {
        return Err(Problem::OtherKind(format!("{transforms} transforms in front of an index")));
    }
    let name = cursor.name("transform")?;
    if &name != b"LTra" {
        return Err(Problem::OtherKind(format!("the transform that faiss calls {}", name.escape_ascii())));
    }
    if cursor.flag("mark of a bias")? {
        return Err(Problem::OtherKind("a transform with a bias".to_owned()));
    }
    let matrix = cursor.all_floats("numbers of the rotation")?;
    cursor.length(0, "numbers of a bias")?;
    let (dim_in, dim_out) = (cursor.dim("dimension")?, cursor.dim("dimension")?);
    cursor.flag("mark of training")?;
    if dim_in.checked_mul(dim_out) != Some(matrix.len()) {
        return Err(damaged("its rotation has not as many numbers as its dimensions say"));
    }
    Rotation::new(matrix, dim_in).map_err(unfit)
}

/// Reads an `IndexPQ` behind its name.
fn read_plain(cursor: &mut Cursor) -> std::result::Result<(Header, Codebook, Form, Vec<Placed>), Problem> {
    let header = read_header(cursor, INNER_PRODUCT)?;
    let codebook = read_codebook(cursor, header.dim)?;
    let size =
        header.documents.checked_mul(codebook.subvectors()).ok_or_else(|| damaged("it has too many documents"))?;
    cursor.length(size, "bytes of codes")?;
    let codes = cursor.range(size, 1, "codes")?;
    let plain = Plain {
        search_type: cursor.i32("type of search")?,
        encode_signs: cursor.flag("mark of signs")?,
        polysemous_threshold: cursor.i32("threshold")?,
    };
    let lists = vec![Placed { rows: header.documents, codes: codes.start, ids: None }];
    Ok((header, codebook, Form::Plain(plain), lists))
}

/// Reads an `IndexIVFPQ` behind its name.
fn read_inverted(cursor: &mut Cursor) -> std::result::Result<(Header, Codebook, Form, Vec<Placed>), Problem> {
    let header = read_header(cursor, INNER_PRODUCT)?;
    let (nlist, nprobe) = (cursor.count("lists")?, cursor.count("lists to search")?);
    let (centroids, by_distance) = read_quantizer(cursor, header.dim, nlist)?;
    if !matches!(cursor.flag("mark of a direct map"), Ok(false)) {
        return Err(Problem::OtherKind("one with a map from ids to places".to_owned()));
    }
    cursor.length(0, "entries of a map from ids to places")?;
    let by_residual = cursor.flag("mark of residuals")?;
    let code_size = cursor.count("bytes of a code")?;
    let codebook = read_codebook(cursor, header.dim)?;
    if code_size != codebook.subvectors() {
        return Err(damaged("its codes have not one byte for each subvector"));
    }
    let (lists, sparse_sizes) = read_lists(cursor, nlist, code_size)?;
    if lists.iter().map(|list| list.rows).sum::<usize>() != header.documents {
        return Err(damaged("its lists have not as many documents as it says"));
    }
    let coarse = Coarse { centroids, by_distance, nprobe, by_residual, sparse_sizes };
    Ok((header, codebook, Form::Inverted(coarse), lists))
}

/// Reads the coarse centroids, (nlist, D), and whether they are compared by distance.
fn read_quantizer(cursor: &mut Cursor, dim: usize, nlist: usize) -> std::result::Result<(Vec<f32>, bool), Problem> {
    let name = cursor.name("quantizer")?;
    let metric = match &name {
        b"IxFI" => INNER_PRODUCT,
        b"IxF2" => DISTANCE,
        _ => return Err(Problem::OtherKind(format!("the quantizer that faiss calls {}", name.escape_ascii()))),
    };
    let header = read_header(cursor, metric)?;
    if header.dim != dim || header.documents != nlist || nlist == 0 {
        return Err(damaged("its coarse centroids are not one for each list"));
    }
    let count = nlist.checked_mul(dim).ok_or_else(|| damaged("it has too many lists"))?;
    Ok((cursor.floats(count, "numbers of coarse centroids")?, metric == DISTANCE))
}

fn read_codebook(cursor: &mut Cursor, dim: usize) -> std::result::Result<Codebook, Problem> {
    let (own_dim, subvectors) = (cursor.count("dimensions")?, cursor.count("subvectors")?);
    let bits = cursor.count("bits of a subvector's code")?;
    if bits != 8 {
        return Err(Problem::OtherKind(format!("codes of {bits} bits a subvector, where 8 are read here")));
    }
    if own_dim != dim || subvectors == 0 || !dim.is_multiple_of(subvectors) {
        return Err(damaged("its subvectors don't divide its dimensions"));
    }
    Codebook::new(cursor.floats(CENTROIDS * dim, "numbers of centroids")?, subvectors).map_err(unfit)
}

/// Reads where the lists are, and whether the sizes of empty ones are left out.
fn read_lists(
    cursor: &mut Cursor,
    nlist: usize,
    code_size: usize,
) -> std::result::Result<(Vec<Placed>, bool), Problem> {
    let name = cursor.name("lists")?;
    if &name != b"ilar" {
        return Err(Problem::OtherKind(format!("the kind of lists that faiss calls {}", name.escape_ascii())));
    }
    if cursor.count("lists")? != nlist || cursor.count("bytes of a code")? != code_size {
        return Err(damaged("its lists are not those that it announces"));
    }
    let sizes_name = cursor.name("sizes of lists")?;
    let sparse = match &sizes_name {
        b"full" => false,
        b"sprs" => true,
        _ => return Err(damaged("it does not say how the sizes of its lists are written")),
    };
    let sizes = if sparse { read_sparse_sizes(cursor, nlist)? } else { cursor.counts(nlist, "sizes of lists")? };
    let mut lists = Vec::with_capacity(nlist);
    for rows in sizes {
        let codes = cursor.range(rows, code_size, "codes")?.start;
        let ids = cursor.range(rows, size_of::<i64>(), "ids")?.start;
        lists.push(Placed { rows, codes, ids: Some(ids) });
    }
    Ok((lists, sparse))
}

/// Reads the sizes of all lists where pairs of a number and a size are written for those that have documents.
fn read_sparse_sizes(cursor: &mut Cursor, nlist: usize) -> std::result::Result<Vec<usize>, Problem> {
    let count = cursor.count("sizes of lists")?;
    let pairs = cursor.numbers(count, "sizes of lists")?;
    let mut sizes = vec![0; nlist];
    let mut next = 0;
    for pair in pairs.chunks(2) {
        match *pair {
            [list, size] if (next..nlist).contains(&list) => {
                sizes[list] = size;
                next = list + 1;
            }
            _ => return Err(damaged("the sizes of its lists are not in order")),
        }
    }
    Ok(sizes)
}

fn damaged(what: &str) -> Problem {
    Problem::Damaged(what.to_owned())
}

fn unfit(error: Error) -> Problem {
    Problem::Damaged(error.to_string())
}
