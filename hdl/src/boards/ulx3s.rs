//! The ULX3S with an ECP5-85F.

use annulus_contract::step::COLUMNS;

/// Where the block RAMs of an ECP5-85F lie: four rows across the device, in each a block at
/// each of these columns. The four sites of a group are told apart by a number.
const BLOCK_RAM_ROWS: [usize; 4] = [22, 46, 70, 82];
const BLOCK_RAM_GROUPS: [usize; 13] = [4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114];
const BLOCK_RAM_IN_GROUP: [usize; 4] = [0, 2, 4, 6];

/// Places for the block RAMs of the wide memory, which fills nearly all that there are: the
/// name of a netlist's cell below the core, and its site for nextpnr's attribute `BEL`.
///
/// Each row of block RAMs serves two rows of the array, one to its left and one to its
/// right, and keeps the four sites between them for other memories. `banks` blocks hold one
/// byte of the word.
///
/// # Panics
/// With more than 8 rows or 3 banks: the device has no such places.
pub fn floorplan(rows: usize, banks: usize) -> Vec<(String, String)> {
    let sites = |y: usize| {
        let groups = BLOCK_RAM_GROUPS.into_iter();
        groups.flat_map(move |x| {
            (0..4).map(move |i| format!("X{}/Y{y}/EBR{i}", x + BLOCK_RAM_IN_GROUP[i]))
        })
    };
    assert!(rows <= 2 * BLOCK_RAM_ROWS.len() && banks <= 3);
    let mut places = vec![];
    for row in 0..rows {
        let mut sites: Vec<String> = sites(BLOCK_RAM_ROWS[row / 2]).collect();
        if row % 2 == 1 {
            sites.reverse();
        }
        for (block, site) in (0..banks * COLUMNS).zip(sites) {
            let (byte, bank) = (block / banks, block % banks);
            places.push((
                format!("memory.mem_{row}.0.{}", COLUMNS * bank + byte),
                site,
            ));
        }
    }
    places
}
