//! The ports of a verilated design, read from the header that Verilator wrote.
//!
//! The header is the one place where every style of declaration, parameter and expression has
//! already been resolved: each port is one line such as `VL_OUT16(&total,11,0);`.

use super::error::SimError;

/// The C++ type that holds a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// Up to 8 bits in a `uint8_t`.
    Bits8,
    /// Up to 16 bits in a `uint16_t`.
    Bits16,
    /// Up to 32 bits in a `uint32_t`.
    Bits32,
    /// Up to 64 bits in a `uint64_t`.
    Bits64,
    /// More than 64 bits in an array of `uint32_t`, lowest first.
    Words,
}

/// One port of the top module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declaration {
    /// The name in the Verilog.
    pub name: String,
    /// The name in the C++, where `$` and the like are spelt out.
    pub cpp_name: String,
    /// Whether the port is an input.
    pub input: bool,
    /// The width in bits.
    pub width: u32,
    /// How the C++ holds it.
    pub storage: Storage,
}

/// All ports in the model's header, in the header's order.
pub(super) fn parse(header: &str) -> Result<Vec<Declaration>, SimError> {
    let ports = header
        .lines()
        .map(str::trim)
        .filter(|l| ["VL_IN", "VL_OUT"].iter().any(|p| l.starts_with(p)));
    ports
        .map(|line| declaration(line).ok_or_else(|| SimError::UnsupportedPort(line.to_owned())))
        .collect()
}

/// `VL_IN8(&name,msb,lsb);`, or `VL_INW(&name,msb,lsb,words);`.
fn declaration(line: &str) -> Option<Declaration> {
    let (kind, arguments) = line.strip_suffix(");")?.split_once('(')?;
    let (input, suffix) = match (kind.strip_prefix("VL_IN"), kind.strip_prefix("VL_OUT")) {
        (Some(suffix), _) => (true, suffix),
        (_, Some(suffix)) => (false, suffix),
        _ => return None,
    };
    let storage = match suffix {
        "8" => Storage::Bits8,
        "16" => Storage::Bits16,
        "" => Storage::Bits32,
        "64" => Storage::Bits64,
        "W" => Storage::Words,
        _ => return None,
    };
    let mut arguments = arguments.split(',');
    let cpp_name = arguments.next()?.strip_prefix('&')?.to_owned();
    let msb: u32 = arguments.next()?.parse().ok()?;
    let lsb: u32 = arguments.next()?.parse().ok()?;
    let width = msb.abs_diff(lsb) + 1;
    Some(Declaration {
        name: verilog_name(&cpp_name),
        cpp_name,
        input,
        width,
        storage,
    })
}

/// Undoes Verilator's spelling: `__0` and two hexadecimal digits are one character, and a word
/// that C++ reserves is preceded by `__SYM__`.
fn verilog_name(cpp: &str) -> String {
    let mut rest = cpp.strip_prefix("__SYM__").unwrap_or(cpp);
    let mut name = String::new();
    while let Some(first) = rest.chars().next() {
        let code = rest
            .strip_prefix("__0")
            .and_then(|r| r.get(..2))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let taken = match code {
            Some(code) => {
                name.push(code.into());
                5
            }
            None => {
                name.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_storage_and_spelling() {
        let header = "
    VL_IN8(&clock,0,0);
    VL_IN8(&d__0240,7,0);
    VL_OUT16(&s,11,0);
    VL_OUT(&t,31,0);
    VL_IN64(&__SYM__class,33,0);
    VL_INW(&a___05Fb,99,0,4);
    VL_UNCOPYABLE(Vtop);";
        let ports = parse(header).unwrap();
        let seen: Vec<_> = ports
            .iter()
            .map(|p| (p.name.as_str(), p.input, p.width, p.storage))
            .collect();
        let expected = [
            ("clock", true, 1, Storage::Bits8),
            ("d$0", true, 8, Storage::Bits8),
            ("s", false, 12, Storage::Bits16),
            ("t", false, 32, Storage::Bits32),
            ("class", true, 34, Storage::Bits64),
            ("a__b", true, 100, Storage::Words),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_array_of_ports_is_refused_by_name() {
        let error = parse("    VL_IN8((&d)[4],7,0);").unwrap_err();
        assert!(error.to_string().contains("d"), "{error}");
    }
}
