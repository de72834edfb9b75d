//! The firmware that is flashed, in the emulator, wired to the verilated core.

use annulus_contract::shape;
use annulus_contract::wire::{self, Answer, Head, Receiver, Request, Side};
use annulus_sim::twin::{find_firmware, Firmware, Twin};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn hello() {
    let firmware = Firmware::open(&find_firmware().unwrap()).unwrap();
    println!("{:?}", firmware.size());
    let start = Instant::now();
    let twin = Twin::start(&firmware, &shape::of_board("pico-ice").unwrap(), &mut |_| ()).unwrap();
    println!("up after {:?}, emulated {:?}: {:?}", start.elapsed(), twin.time(), twin.device());
    let mut port = std::fs::File::options().read(true).write(true).open(twin.port()).unwrap();
    let mut frame = [0; wire::MAX_FRAME];
    let n = wire::encode(Side::Host, Head::new(7, 1), &Request::Hello, &mut frame).unwrap();
    let start = Instant::now();
    port.write_all(&frame[..n]).unwrap();
    let mut receiver = Receiver::new();
    loop {
        let mut byte = [0];
        port.read_exact(&mut byte).unwrap();
        if let Some(bytes) = receiver.push(byte[0]) {
            let (head, answer) = wire::decode::<Answer>(Side::Board, bytes).unwrap();
            println!("{:?} {head:?} {answer:?}", start.elapsed());
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(50));
    println!("{:?} {:?}", twin.leds(), twin.time());
}
