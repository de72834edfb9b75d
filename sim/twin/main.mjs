// The microcontroller of the digital twin: an emulated RP2040 that runs what is in its flash,
// wired to the rest of the board through the channel. Started by Rust (`src/twin`), not by hand.

import { ConsoleLogger, LogLevel, RP2040 } from 'rp2040js';
import { SerialHost } from './cdc.mjs';
import { Answer, Channel, Event, Reason } from './channel.mjs';
import { PicoIce } from './pico-ice.mjs';
import { installRom } from './rom.mjs';

const VECTORS = 0x100; // in flash, behind the second boot stage
const XIP = 0x10000000;
const SLICE = 100_000; // nanoseconds between turns
const FLASH = 4 << 20;
const CHUNK = 8192; // most bytes of a turn

const channel = new Channel();
/** When the microcontroller's own clock began. */
let epoch = 0;
let mcu;
let board;
let host;
/** Nobody takes bytes of the serial port. */
let hold = false;
/** Why the microcontroller is to start anew, if it is. */
let restart = null;

const now = () => epoch + mcu.clock.nanos;

/** A microcontroller that starts; `before` is the one that it was. */
function start(before, reason) {
  if (before) epoch += before.clock.nanos;
  mcu = new RP2040();
  mcu.logger = new ConsoleLogger(LogLevel.Error, false);
  if (before) {
    mcu.flash.set(before.flash.subarray(0, FLASH));
    if (reason === Reason.POWER) mcu.sram.fill(0xa5);
    else mcu.sram.set(before.sram);
  }
  const watchdog = mcu.peripherals[0x40058];
  if (before && reason === Reason.WATCHDOG) {
    const old = before.peripherals[0x40058];
    watchdog.reason = old.reason;
    watchdog.scratchData.set(old.scratchData);
  }
  watchdog.onWatchdogTrigger = () => {
    restart = Reason.WATCHDOG;
  };
  installRom(mcu, {
    bootLoader: () => {
      restart = Reason.BOOT_LOADER;
    },
  });
  // As the boot ROM and the second stage leave it.
  mcu.core.VTOR = XIP + VECTORS;
  board = new PicoIce(mcu, channel, now, { screen: process.argv.includes('--screen') });
  hold = false;
  host = new SerialHost(mcu);
  host.onUp = (device) => {
    const numbers = Buffer.from(Uint16Array.of(device.vendor, device.product).buffer);
    channel.tell(Event.USB_UP, now(), 0, Buffer.concat([numbers, Buffer.from(device.name)]));
  };
}

function jump() {
  mcu.core.SP = mcu.flashView.getUint32(VECTORS, true);
  mcu.core.PC = mcu.flashView.getUint32(VECTORS + 4, true) & ~1;
}

/** Runs for a slice of time. */
function slice() {
  const { core, clock } = mcu;
  const end = clock.nanos + SLICE;
  const cycle = 1e9 / mcu.clkSys;
  while (clock.nanos < end && restart === null) {
    if (core.waiting) {
      const left = end - clock.nanos;
      clock.tick(clock.nextAlarm ? Math.min(clock.nanosToNextAlarm, left) : left);
    } else {
      clock.tick(core.executeInstruction() * cycle);
    }
  }
}

/** Exchanges bytes with whoever has the port open, and takes orders. */
function turn() {
  board.clocks();
  const bytes = Uint8Array.from(host.read(hold ? 0 : CHUNK));
  const payload = new Uint8Array(2 + bytes.length);
  new DataView(payload.buffer).setUint16(0, host.room, true);
  payload.set(bytes, 2);
  const answer = channel.ask(Event.TURN, now(), 0, payload);
  host.open = !!(answer & Answer.OPEN);
  hold = !!(answer & Answer.HOLD);
  host.write(channel.bytes());
  if (answer & Answer.RESTART) restart = Reason.BUTTON;
  if (answer & Answer.POWER) restart = Reason.POWER;
}

function main() {
  start(null, Reason.POWER);
  channel.tell(Event.START, 0);
  mcu.flash.set(channel.bytes());
  jump();
  for (;;) {
    slice();
    turn();
    if (restart === null) continue;
    const reason = restart;
    restart = null;
    channel.tell(Event.RESTART, now(), reason);
    start(mcu, reason);
    jump();
  }
}

try {
  main();
} catch (error) {
  channel.tell(Event.FAIL, 0, 0, Buffer.from(String(error.stack ?? error)));
  process.exit(1);
}
