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

/// A Gowin part's bitstream, of three lines of data.
fn gowin(code: u32) -> String {
    let line = |bytes: &[u8]| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        digits + "\n"
    };
    let mut file = String::from("// Part: a comment says nothing\n\n");
    file += &line(&[0xff; 20]);
    file += &line(&[0xa5, 0xc3]);
    let mut summed = vec![0x06, 0, 0, 0];
    summed.extend(code.to_be_bytes());
    file += &line(&summed);
    file += &line(&[0xd2, 0, 0xff, 0xff, 0, 0, 0, 0]);
    let count = [0x3b, 0x80, 0, 3];
    summed.extend(count);
    file += &line(&count);
    for data in [[1, 2, 3], [0, 0, 0], [0xff, 0x7e, 0xaa]] {
        summed.extend(data);
        let mut whole = data.to_vec();
        whole.extend(gowin::crc16_arc(&summed).to_le_bytes());
        whole.extend([0xff; 6]);
        file += &line(&whole);
        summed = vec![0xff; 6];
    }
    file += &line(&[0x0a, 0, 0, 0, 0, 0, 0x12, 0x34]);
    file + &line(&[0x08, 0, 0, 0])
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
fn what_is_written_in_digits_is_read_too() {
    let file = gowin(0x081b);
    assert_eq!(part(file.as_bytes()), Ok("GW2A-18"));
    assert_eq!(part(gowin(1).as_bytes()), Err(BitstreamError::Part));
    let start = file.find("1010010111000011").expect("a preamble") + 17;
    for end in start..file.len() - 32 {
        let error = part(&file.as_bytes()[..end]).expect_err("it is cut off");
        assert!(
            matches!(error, BitstreamError::Truncated | BitstreamError::Checksum),
            "{error}"
        );
    }
    let data = file
        .find("00000001_00000010".replace('_', "").as_str())
        .expect("data");
    let mut damaged = file.into_bytes();
    damaged[data] ^= 1;
    assert_eq!(part(&damaged), Err(BitstreamError::Checksum));
    assert_eq!(gowin::crc16_arc(b"123456789"), 0xbb3d);
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
