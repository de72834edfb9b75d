//! `annulus-pack CHIP ELF UF2 BUDGET`: prints what firmware takes of flash, holds it to a budget in
//! bytes, and writes it as a file for the chip's boot drive.

use annulus_runtime::flash::{elf, uf2};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [chip, file, out, budget] = &arguments[..] else {
        return Err("usage: annulus-pack CHIP ELF UF2 BUDGET".into());
    };
    let family = uf2::Family::ALL
        .into_iter()
        .find(|family| family.name().eq_ignore_ascii_case(chip))
        .ok_or_else(|| format!("there is no chip {chip}: rp2040 or rp2350"))?;
    let segments = elf::segments(&std::fs::read(file)?)?;
    let taken: usize = segments.iter().map(|segment| segment.bytes.len()).sum();
    let budget: usize = budget.parse()?;
    println!("{file}: {taken} of {budget} bytes of flash");
    if taken > budget {
        return Err(format!("{file} is {} bytes over its budget", taken - budget).into());
    }
    std::fs::write(out, uf2::write(&segments, family))?;
    Ok(())
}
