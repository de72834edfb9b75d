//! What travels down the pipeline beside the data: a word carries what is to be
//! done with it, so no unit has to know which step the others are at.

/// A field of a tag: name and width.
pub type Field = (&'static str, usize);

/// Beside each word from the scan to the accumulators.
pub const WORD_TAG: &[Field] = &[
    ("valid", 1),
    ("kind", 4),
    // first and last word of a row group
    ("first", 1),
    ("last", 1),
    // first and last row group of the step
    ("group_first", 1),
    ("group_last", 1),
    // pairs of rows the group hands to the tail, and whether the last lacks its second
    ("pairs", 4),
    ("odd", 1),
    ("shift", 8),
    ("scale", 16),
    ("pair", 10),
    ("normed", 1),
    ("gains", 1),
    ("add", 1),
    ("embedding_eps", 1),
    // scores: the word belongs to a sink; query: the copy for the sinks
    ("far", 1),
    // scores, mix: slots of the word that have been written; first slot; buffer
    ("limit", 5),
    ("slot", 13),
    ("id", 3),
    ("head", 8),
    // embed: the row within the word
    ("row", 5),
    // embed: the odd row of its scale entry
    ("odd_row", 1),
];

/// Beside each pair of results through the tail.
pub const PAIR_TAG: &[Field] = &[
    ("valid", 1),
    ("kind", 4),
    // first and last pair of the step
    ("first", 1),
    ("last", 1),
    // the pair lacks its second element
    ("odd", 1),
    ("index", 13),
    ("pair", 10),
    ("add", 1),
    ("embedding_eps", 1),
    ("far", 1),
];

/// Bits of a tag.
pub const fn bits(tag: &[Field]) -> usize {
    let mut sum = 0;
    let mut i = 0;
    while i < tag.len() {
        sum += tag[i].1;
        i += 1;
    }
    sum
}

/// Bits of [`WORD_TAG`].
pub const WORD_TAG_BITS: usize = bits(WORD_TAG);
/// Bits of [`PAIR_TAG`].
pub const PAIR_TAG_BITS: usize = bits(PAIR_TAG);

/// Wires `<bus>_<field>` for these fields of the bus.
pub fn unpack(tag: &[Field], bus: &str, names: &[&str]) -> String {
    let mut low = 0;
    let mut text = String::new();
    for (name, width) in tag {
        if names.contains(name) {
            text += &format!(
                "wire [{}:0] {bus}_{name} = {bus}[{low} +: {width}];\n",
                width - 1
            );
        }
        low += width;
    }
    text
}

/// The concatenation that packs signals `<prefix><field>` into a tag.
pub fn pack(tag: &[Field], prefix: &str) -> String {
    let parts: Vec<_> = tag
        .iter()
        .rev()
        .map(|(name, _)| format!("{prefix}{name}"))
        .collect();
    format!("{{{}}}", parts.join(", "))
}
