//! Planted faults: what a test suite for the core must notice.
//!
//! A block's text may hold `«what goes wrong: right → wrong»`, where `right` and
//! `wrong` are expressions. Every core is built of the right ones ([`none`]); a
//! test's core holds both and an input that chooses a fault at run time
//! ([`all`]), so that any number of faults costs one compilation.

/// One planted fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Block that holds it: `scan`, or a block in another, `heads.rope`.
    pub unit: String,
    /// What goes wrong.
    pub what: String,
    /// The expression that belongs there.
    pub right: String,
    /// The expression that the fault puts in its place.
    pub wrong: String,
}

/// The input of the top module that chooses a fault by its number, 0 for none.
pub const INPUT: &str = "mutant";

/// The text without faults.
pub fn none(text: &str) -> String {
    replace(text, |fault| format!("({})", fault.right))
}

/// The text with every fault, chosen by the input [`INPUT`] of `top`, and the
/// faults: the first is number 1. Copies of a block share its faults.
pub fn all(text: &str) -> (String, Vec<Fault>) {
    let mut faults: Vec<Fault> = vec![];
    let mut text = replace(text, |fault| {
        let choice = (fault.wrong.clone(), fault.right.clone());
        let known = faults
            .iter()
            .position(|f| f.unit == fault.unit && f.what == fault.what);
        let number = 1 + known.unwrap_or_else(|| {
            faults.push(fault);
            faults.len() - 1
        });
        format!(
            "($root.top.{INPUT} == 8'd{number} ? ({}) : ({}))",
            choice.0, choice.1
        )
    });
    assert!(faults.len() < 256, "the input chooses among 255 faults");
    let head = "module top(";
    let ports = text
        .find(head)
        .unwrap_or_else(|| unreachable!("no module top"))
        + head.len();
    text.insert_str(ports, &format!("{INPUT},"));
    let body = ports
        + text[ports..]
            .find(");")
            .unwrap_or_else(|| unreachable!("top has no end of ports"))
        + 2;
    text.insert_str(body, &format!("\n    input wire [7:0] {INPUT};"));
    (text, faults)
}

/// Puts what `with` says in the place of each fault.
fn replace(text: &str, mut with: impl FnMut(Fault) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut unit, mut rest) = (String::new(), text);
    while let Some((before, marked)) = rest.split_once('«') {
        let parts = marked.split_once('»').and_then(|(fault, after)| {
            let (what, texts) = fault.split_once(": ")?;
            let (right, wrong) = texts.split_once(" → ")?;
            Some((what, right, wrong, after))
        });
        let Some((what, right, wrong, after)) = parts else {
            let line = marked.lines().next().unwrap_or_default();
            unreachable!("not a planted fault: «{line}");
        };
        if let Some((_, module)) = before.rsplit_once("\nmodule top") {
            unit = unit_of(module.split('(').next().unwrap_or_default());
        }
        let [what, right, wrong] = [what, right, wrong].map(|part| part.trim().to_owned());
        out += before;
        out += &with(Fault {
            unit: unit.clone(),
            what,
            right,
            wrong,
        });
        rest = after;
    }
    out + rest
}

/// `array.rows` for `$array$rows$7`: copies of a block have one name.
fn unit_of(module: &str) -> String {
    let parts = module
        .split('$')
        .map(|part| part.trim_end_matches(|c: char| c.is_ascii_digit()));
    parts
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
module top(clock, y);
    input wire clock;
    output wire y;
endmodule
module top$a$b0(y);
    assign y = «off by one: x + 1 → x»;
endmodule
module top$a$b1(y);
    assign y = «off by one: x + 1 → x»;
    assign z = «off by one: x + 1 → x» && «sign: x → -x»;
endmodule
";

    #[test]
    fn a_core_is_right() {
        let text = none(TEXT);
        assert!(
            text.contains("assign y = (x + 1);\n    assign z = (x + 1) && (x);"),
            "{text}"
        );
        assert!(!text.contains(INPUT));
    }

    #[test]
    fn a_test_chooses_a_fault() {
        let (text, faults) = all(TEXT);
        assert!(
            text.contains("module top(mutant,clock, y);\n    input wire [7:0] mutant;"),
            "{text}"
        );
        assert_eq!(
            text.matches("($root.top.mutant == 8'd1 ? (x) : (x + 1))")
                .count(),
            3,
            "{text}"
        );
        assert_eq!(
            text.matches("($root.top.mutant == 8'd2 ? (-x) : (x))")
                .count(),
            1,
            "{text}"
        );
        let found: Vec<_> = faults
            .iter()
            .map(|f| (f.unit.as_str(), f.what.as_str()))
            .collect();
        assert_eq!(found, [("a.b", "off by one"), ("a.b", "sign")]);
    }
}
