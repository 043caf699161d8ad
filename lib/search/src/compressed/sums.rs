//! The score itself, but for the offset of its list: a sum of table entries in float32, in one fixed order, so that
//! every machine gives the same bits.

/// Documents that are summed at once: their sums do not wait for each other.
const DOCUMENTS: usize = 4;
/// Bytes of tables that are looked at for some thousand documents before the next ones are. More would not stay in the
/// nearest caches.
const TABLE_BYTES: usize = 64 << 10;

/// Tables of up to `L` queries side by side: for each subvector and centroid, (M, 256), an entry of each query. One
/// read finds the entries of all queries for a byte of a code.
pub(super) type Table<const L: usize> = [[f32; L]; 256];

/// Adds to `sums`, (N, L), the table entries of N documents with these `codes`, (N, M): those of subvector 0 first,
/// then those of subvector 1, and so on.
pub(super) fn add_entries<const L: usize>(tables: &[Table<L>], codes: &[u8], sums: &mut [[f32; L]]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions that the function is compiled for.
            return unsafe { with_avx512(tables, codes, sums) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { with_avx2(tables, codes, sums) };
        }
    }
    part_by_part(tables, codes, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512<const L: usize>(tables: &[Table<L>], codes: &[u8], sums: &mut [[f32; L]]) {
    part_by_part(tables, codes, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<const L: usize>(tables: &[Table<L>], codes: &[u8], sums: &mut [[f32; L]]) {
    part_by_part(tables, codes, sums);
}

/// The sums of all documents advance by some subvectors at a time.
#[inline(always)]
fn part_by_part<const L: usize>(tables: &[Table<L>], codes: &[u8], sums: &mut [[f32; L]]) {
    let size = tables.len();
    let at_once = (TABLE_BYTES / size_of::<Table<L>>()).max(1);
    for (part, tables) in tables.chunks(at_once).enumerate() {
        let first = part * at_once;
        let (groups, rest) = sums.as_chunks_mut::<DOCUMENTS>();
        let mut codes = codes.chunks_exact(DOCUMENTS * size);
        for (sums, codes) in groups.iter_mut().zip(&mut codes) {
            add_part(tables, std::array::from_fn(|document| &codes[document * size + first..]), sums);
        }
        for (sums, code) in rest.iter_mut().zip(codes.remainder().chunks_exact(size)) {
            add_part(tables, [&code[first..]], std::array::from_mut(sums));
        }
    }
}

/// Adds the entries of N documents for as many subvectors as there are `tables`.
#[inline(always)]
fn add_part<const L: usize, const N: usize>(tables: &[Table<L>], codes: [&[u8]; N], sums: &mut [[f32; L]; N]) {
    // Slices of the same length need no check at every byte, and sums that nobody else sees stay in registers.
    let codes = codes.map(|code| &code[..tables.len()]);
    let mut found = *sums;
    for (subvector, table) in tables.iter().enumerate() {
        for (found, code) in found.iter_mut().zip(&codes) {
            let entries = &table[usize::from(code[subvector])];
            for (sum, entry) in found.iter_mut().zip(entries) {
                *sum += entry;
            }
        }
    }
    *sums = found;
}
