//! Numbers as people read them.

/// A whole number with thousands set apart.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        let text = [0.0, 999.4, 1000.0, 1234567.0].map(super::grouped);
        assert_eq!(text, ["0", "999", "1,000", "1,234,567"]);
    }
}
