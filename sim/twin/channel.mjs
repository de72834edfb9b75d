// The wire to the Rust process that started this one: its requests on our standard output,
// answers on our standard input. Both ends block, so emulated time stands still while the
// rest of the board answers, and nothing races. `src/twin/channel.rs` is the other end.

import fs from 'node:fs';

const INPUT = 0;
const OUTPUT = 1;
const HEADER = 12;

/** What we tell, by its first byte. Those marked with (=) are answered. */
export const Event = {
  START: 0, // (=) the emulator runs; the answer is what flash holds
  SPI: 1, // (=) a byte leaves the SPI port; the answer is the byte that comes in
  SELECT: 2, // chip select of the SPI port has this level
  CLOCK: 3, // the FPGA's clock has this frequency, as a 64-bit float
  SERIAL_CLOCK: 4, // SCK of the SPI port has this frequency, as a 64-bit float
  RESET_PIN: 5, // CRESET_B of the FPGA has the level of bit 0; bit 1: its port is selected
  CONFIGURE: 6, // (=) bytes of a bitstream; the answer is the level of CDONE
  DUMMY: 7, // (=) so many clocks at the configuration port, not selected; the answer is CDONE
  LEDS: 8, // the lights: a bit each
  USB_UP: 9, // the device has been enumerated: vendor, product (16 bits each), name
  RESTART: 10, // the microcontroller starts anew, for this reason
  TURN: 11, // (=) a slice of time is over: room for bytes (16 bits), bytes for the host
  FAIL: 12, // the emulation cannot go on: why, as text
  SCREEN: 13, // bytes that were written to the display
};

/** The bits that the answer to a turn begins with. */
export const Answer = {
  RESTART: 1, // the reset button is pushed
  POWER: 2, // the plug is pulled and put back
  OPEN: 4, // a program has the port open
  HOLD: 8, // it takes no more bytes for now
};

/** Why the microcontroller starts anew. */
export const Reason = { POWER: 0, WATCHDOG: 1, BUTTON: 2, BOOT_LOADER: 3 };

function readExactly(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const n = fs.readSync(INPUT, bytes, at, bytes.length - at);
    // Whoever started us is gone.
    if (n === 0) process.exit(0);
    at += n;
  }
  return bytes;
}

function writeAll(bytes) {
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(OUTPUT, bytes, at);
}

export class Channel {
  #header = new Uint8Array(HEADER);
  #view = new DataView(this.#header.buffer);
  #byte = new Uint8Array(1);

  /** Tells what happens at a time in nanoseconds. */
  tell(event, now, value = 0, payload = null) {
    this.#view.setUint8(0, event);
    this.#view.setUint8(1, value);
    this.#view.setUint16(2, payload ? payload.length : 0, true);
    this.#view.setFloat64(4, now, true);
    writeAll(payload ? Buffer.concat([this.#header, payload]) : this.#header);
  }

  /** The same for an event that is answered by a byte. */
  ask(event, now, value = 0, payload = null) {
    this.tell(event, now, value, payload);
    return readExactly(this.#byte)[0];
  }

  /** The rest of an answer: bytes, after their number. */
  bytes() {
    const length = new DataView(readExactly(new Uint8Array(4)).buffer).getUint32(0, true);
    return readExactly(new Uint8Array(length));
  }
}
