//! The Hadamard rotation of queries and keys (`docs/arithmetic.md` section 6):
//! it spreads outliers over a head before the head is rounded to int8.

/// Rotate a head in place, by butterflies of stride 1, 2, 4, ... and no
/// scaling: `16 + log2(len)` bits from int16. The length is a power of two.
///
/// ```
/// let mut head = [1, 2, 3, 4];
/// annulus_contract::hadamard::hadamard(&mut head);
/// assert_eq!(head, [10, -2, -4, 0]);
/// ```
pub fn hadamard(x: &mut [i32]) {
    debug_assert!(x.len().is_power_of_two());
    let mut stride = 1;
    while stride < x.len() {
        for group in x.chunks_exact_mut(2 * stride) {
            let (low, high) = group.split_at_mut(stride);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        stride *= 2;
    }
}
