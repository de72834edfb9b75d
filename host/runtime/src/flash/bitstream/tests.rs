use super::*;

/// An iCE40's bitstream, as icepack lays it out.
fn ice40(width: u16, height: u16) -> Vec<u8> {
    let mut file = vec![0xff, 0, b'x', 0, 0, 0xff];
    file.extend(ice40::PREAMBLE);
    file.extend([0x51, 0, 0x01, 0x05]);
    let from = file.len();
    file.extend([0x92, 0, 0x20]);
    let sizes = |file: &mut Vec<u8>, width: u16, height: u16| {
        let [high, low] = (width - 1).to_be_bytes();
        file.extend([0x62, high, low]);
        let [high, low] = height.to_be_bytes();
        file.extend([0x72, high, low, 0x82, 0, 0]);
    };
    sizes(&mut file, width, height);
    for bank in 0..4 {
        file.extend([0x11, bank, 0x01, 0x01]);
        let data = usize::from(width) * usize::from(height) / 8;
        // Data that looks like the other family's preamble.
        file.extend(ECP5.iter().cycle().take(data));
        file.extend([0, 0]);
    }
    sizes(&mut file, 80, 128);
    file.extend([0x11, 0, 0x01, 0x03]);
    file.extend([0x55; 80 * 128 / 8 + 2]);
    file.push(0x22);
    let crc = crc16(0xffff, &file[from..]);
    file.extend(crc.to_be_bytes());
    file.extend([0x01, 0x06, 0]);
    file
}

fn ecp5(comment: &str, code: u32) -> Vec<u8> {
    let mut file = vec![0xff, 0];
    file.extend(comment.as_bytes());
    file.extend([0]);
    file.extend(ECP5);
    file.extend([0xff, 0xff, 0xff, 0xff, 0x3b, 0, 0, 0, VERIFY_ID, 0, 0, 0]);
    file.extend(code.to_be_bytes());
    file.extend([0x22, 0, 0, 0, 0x40, 0, 0, 0]);
    file.extend(ice40::PREAMBLE);
    file.extend([7; 100]);
    file.extend(DONE);
    file.extend([0xff; 4]);
    file
}

fn part(file: &[u8]) -> Result<&'static str, BitstreamError> {
    Bitstream::parse(file).map(|bitstream| bitstream.part())
}

#[test]
fn parts_are_told_by_what_is_inside() {
    assert_eq!(part(&ice40(692, 336)), Ok("iCE40UP5K"));
    assert_eq!(part(&ice40(692, 176)), Ok("iCE40UP3K"));
    assert_eq!(part(&ice40(872, 272)), Ok("iCE40HX8K"));
    assert_eq!(part(&ice40(872, 271)), Err(BitstreamError::Part));
    let comment = "Part: LFE5U-85F-6CABGA381";
    assert_eq!(part(&ecp5(comment, 0x4111_3043)), Ok("LFE5U-85F"));
    assert_eq!(part(&ecp5("made by hand", 0x4111_1043)), Ok("LFE5U-25F"));
    assert_eq!(
        part(&ecp5(comment, 0x4111_1043)),
        Err(BitstreamError::Contradiction)
    );
    assert_eq!(part(&ecp5(comment, 1)), Err(BitstreamError::Part));
    assert_eq!(part(b"hello"), Err(BitstreamError::Unknown));
}

#[test]
fn parts_have_packages_and_speeds() {
    let bitstream = Bitstream { part: "LFE5U-85F" };
    for same in ["LFE5U-85F", "lfe5u-85f", "LFE5U-85F-6CABGA381"] {
        assert!(bitstream.is_for(same), "{same}");
    }
    for other in ["LFE5U-85", "LFE5U-85FX", "LFE5U-25F", "", "LFE5UM-85F"] {
        assert!(!bitstream.is_for(other), "{other}");
    }
}

#[test]
fn damage_is_found() {
    let file = ice40(182, 80);
    assert_eq!(part(&file), Ok("iCE40LP384"));
    let from = 6 + ice40::PREAMBLE.len() + 4;
    for at in from..file.len() - 1 {
        let mut damaged = file.clone();
        damaged[at] ^= 4;
        assert!(part(&damaged).is_err(), "byte {at}");
    }
    for length in 0..file.len() - 1 {
        assert!(part(&file[..length]).is_err(), "length {length}");
    }
    let file = ecp5("Part: LFE5U-85F", 0x4111_3043);
    for length in 0..file.len() - 4 {
        assert!(part(&file[..length]).is_err(), "length {length}");
    }
}

/// Whatever the bytes are, there is an answer.
#[test]
fn noise_is_refused() {
    let mut state = 1u32;
    for _ in 0..2000 {
        let mut file = ice40::PREAMBLE.to_vec();
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            file.push(state as u8);
        }
        assert!(part(&file).is_err());
        file[..4].copy_from_slice(ECP5);
        assert!(part(&file).is_err());
    }
}
