//! What a cubin, which is an ELF file, says of its kernels' needs: the attributes in
//! its section `.nv.info`.

use std::collections::BTreeMap;

/// What a kernel needs of a multiprocessor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of a thread's stack: registers that did not fit.
    pub stack: u32,
}

/// Attributes, each with the number of a symbol and a value.
const REGISTERS: u8 = 0x2f;
const FRAME: u8 = 0x11;
/// An attribute whose length stands behind its name.
const SIZED: u8 = 4;

/// Needs of all functions, by name.
pub fn resources(elf: &[u8]) -> BTreeMap<String, Needs> {
    let sections = sections(elf);
    let bytes = |name: &str| {
        let found = sections.iter().find(|s| s.name == name);
        found.map_or(&[][..], |s| &elf[s.start..s.start + s.bytes])
    };
    let (info, symbols, names) = (bytes(".nv.info"), bytes(".symtab"), bytes(".strtab"));
    let mut needs: BTreeMap<String, Needs> = BTreeMap::new();
    let mut at = 0;
    while at + 4 <= info.len() {
        let (form, attribute) = (info[at], info[at + 1]);
        let size = usize::from(u16::from_le_bytes([info[at + 2], info[at + 3]]));
        at += 4;
        if form != SIZED {
            continue;
        }
        if size >= 8 {
            let symbol = number(info, at, 4);
            let name = text(names, number(symbols, 24 * symbol, 4));
            let value = number(info, at + 4, 4) as u32;
            let needs = needs.entry(name).or_default();
            match attribute {
                REGISTERS => needs.registers = value,
                FRAME => needs.stack = value,
                _ => {}
            }
        }
        at += size;
    }
    needs
}

struct Section {
    name: String,
    start: usize,
    bytes: usize,
}

fn sections(elf: &[u8]) -> Vec<Section> {
    assert_eq!(
        &elf[..5],
        b"\x7fELF\x02",
        "a cubin is an ELF file of 64 bits"
    );
    let (table, each) = (number(elf, 0x28, 8), number(elf, 0x3a, 2));
    let (count, names) = (number(elf, 0x3c, 2), number(elf, 0x3e, 2));
    let header = |n: usize| table + n * each;
    let names = number(elf, header(names) + 0x18, 8);
    (0..count)
        .map(|n| Section {
            name: text(elf, names + number(elf, header(n), 4)),
            start: number(elf, header(n) + 0x18, 8),
            bytes: number(elf, header(n) + 0x20, 8),
        })
        // A section without contents may claim to lie anywhere.
        .filter(|section| section.start + section.bytes <= elf.len())
        .collect()
}

fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    let mut word = [0; 8];
    word[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(word) as usize
}

fn text(bytes: &[u8], at: usize) -> String {
    let rest = &bytes[at..];
    let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
    String::from_utf8_lossy(&rest[..end]).into_owned()
}
