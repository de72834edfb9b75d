//! `annulus-pack CHIP ELF UF2 FLASH MEMORY`: prints what firmware takes, holds it to a budget in
//! bytes of flash and of memory, and writes it as a file for the chip's boot drive.

use annulus_sim::twin::{Chip, Firmware};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [chip, elf, uf2, flash, memory] = &arguments[..] else {
        return Err("usage: annulus-pack CHIP ELF UF2 FLASH MEMORY".into());
    };
    let chip = match chip.as_str() {
        "rp2040" => Chip::Rp2040,
        "rp2350" => Chip::Rp2350,
        other => return Err(format!("there is no chip {other}: rp2040 or rp2350").into()),
    };
    let firmware = Firmware::open(Path::new(elf))?;
    let size = firmware.size();
    let mut over = Vec::new();
    for (what, taken, budget) in [("flash", size.flash, flash), ("memory", size.memory, memory)] {
        let budget: u32 = budget.parse()?;
        println!("{elf}: {taken} of {budget} bytes of {what}");
        if taken > budget {
            over.push(what);
        }
    }
    if !over.is_empty() {
        return Err(format!("{elf} takes more {} than its budget", over.join(" and ")).into());
    }
    std::fs::write(uf2, firmware.uf2(chip))?;
    Ok(())
}
